"""Starting the encoder from a file, and saying how much of it the file covered."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.checkpoint_loader import hand_over, load_plain
from mmseg_tapadl.checkpoints.wrapper_names import as_named_in, prefix_before, weights_of
from mmseg_tapadl.utils import first_few


def start_encoder_from(cfg: Config, path: str) -> None:
    """Sets ``model.backbone.init_cfg`` to the weights in ``path``.

    A file of a whole segmenter is taken too: then only its encoder's part is used, as :func:`check_encoder_coverage`
    finds it.

    Args:
        cfg: Changed in place.
        path: File or address, read as data.

    Raises:
        CheckpointError: When the file is not a checkpoint.
    """
    load_plain(path)
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)


def check_encoder_coverage(runner: Any, path: str) -> None:
    """Finds the encoder in the file, has it start from what was found, and logs which of its tensors that covers.

    Names may stand behind what wrappers leave (``backbone.``, ``module.``, ``_orig_mod.``, also several, also within
    the encoder), and the weights under ``state_dict``, ``model`` or ``model_state_dict``.

    An encoder that reads files by itself says what it takes of one: ``own_weights(checkpoint, source)`` maps what the
    file holds to weights under the encoder's own names, and raises ``InputError`` for those of another model.

    Args:
        runner: Built, not yet started.
        path: As given to :func:`start_encoder_from`.

    Raises:
        CheckpointError: When it covers none.
        InputError: What the encoder's ``own_weights`` refuses.
    """
    encoder = runner.bare_model.backbone
    checkpoint = load_plain(path)
    own = encoder.state_dict()
    if hasattr(encoder, 'own_weights'):
        held = encoder.own_weights(checkpoint, f'--pretrained {path}')
    else:
        weights = weights_of(checkpoint)
        prefix = prefix_before(weights, own)
        bare = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        # What is loaded is what is counted here: mmengine's reading of the file would see through less.
        held = as_named_in(bare, own)
        encoder.init_cfg['checkpoint'] = hand_over(held)
    taken = fitting(held, own)
    if all(_counts_only(key) for key in taken):
        raise CheckpointError(
            f'--pretrained {path}: none of its tensors ({first_few(weights_of(checkpoint))}) fits the encoder (it has '
            f'{first_few(own)}); convert the file with tools/model_converters first'
        )
    random = [key for key in own if key not in set(taken) and not _counts_only(key)]
    more = f'; {len(random)} stay random: {first_few(random)}' if random else ''
    runner.logger.info(f'encoder: {len(taken)} of {len(own)} tensors from {path}{more}')


def fitting(held: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of an encoder under which there is a tensor of the same shape."""
    return [key for key, value in own.items() if key in held and held[key].shape == value.shape]


def _counts_only(key: str) -> bool:
    """Whether it is BatchNorm's counter of batches, which old files lack and which changes nothing."""
    return key.endswith('num_batches_tracked')
