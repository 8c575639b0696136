"""Starting the encoder from a file, and saying how much of it the file covered."""

from typing import Any

import torch
from mmengine.config import Config

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain

_PREFIX = 'backbone.'
_SHOWN = 4


def start_encoder_from(cfg: Config, path: str) -> None:
    """Sets ``model.backbone.init_cfg`` to the weights in ``path``.

    A file of a whole segmenter is taken too: then only its ``backbone.`` part is used.

    Args:
        cfg: Changed in place.
        path: File or address, read as data.

    Raises:
        CheckpointError: When the file is not a checkpoint.
    """
    init = dict(type='Pretrained', checkpoint=path)
    if any(key.startswith(_PREFIX) for key in _weights(path)):
        init['prefix'] = _PREFIX
    cfg.model.backbone.init_cfg = init


def check_encoder_coverage(runner: Any, path: str) -> None:
    """Logs which of the encoder's tensors the file covers; mmengine itself would skip the rest silently.

    Args:
        runner: Built, not yet started.
        path: As given to :func:`start_encoder_from`.

    Raises:
        CheckpointError: When it covers none.
    """
    weights = {key.removeprefix(_PREFIX): value for key, value in _weights(path).items()}
    own = runner.bare_model.backbone.state_dict()
    random = [key for key, value in own.items() if key not in weights or weights[key].shape != value.shape]
    random = [key for key in random if not key.endswith('num_batches_tracked')]
    if len(random) == len(own):
        theirs = ', '.join(list(weights)[:_SHOWN])
        raise CheckpointError(
            f'--pretrained {path}: none of its tensors ({theirs}, ...) fits the encoder (it has {", ".join(list(own)[:_SHOWN])}, '
            '...); convert the file with tools/model_converters first'
        )
    more = (
        f'; {len(random)} stay random: {", ".join(random[:_SHOWN])}{", ..." if len(random) > _SHOWN else ""}'
        if random
        else ''
    )
    runner.logger.info(f'encoder: {len(own) - len(random)} of {len(own)} tensors from {path}{more}')


def _weights(path: str) -> dict[str, torch.Tensor]:
    checkpoint = load_plain(path)
    weights = checkpoint.get('state_dict', checkpoint)
    return {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
