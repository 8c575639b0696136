"""The model of a sweep: any mmseg config's, built once, with every weight from the checkpoint."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_tapadl.engine.checkpoint_io import CheckpointError, read_checkpoint

_SHOWN = 3


def build_model(config: Config, checkpoint: str, *, device: str | None = None) -> torch.nn.Module:
    """Builds the config's segmentor and fills it from the checkpoint.

    Every process runs its own copy: nothing is exchanged in evaluation, so no wrapper is needed, and
    synchronised batch norm is the plain one.

    Args:
        config: Any mmseg 1.x config.
        checkpoint: Path of the weights; must cover every weight of the model.
        device: Where to run; by default what mmengine finds.

    Raises:
        CheckpointError: When the file cannot be read, a weight is missing or has another shape.
    """
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope(config.get('default_scope', 'mmseg'))
    # Weights come from the checkpoint alone; the encoder's own would only be downloaded to be overwritten.
    model = revert_sync_batchnorm(MODELS.build(config.model))
    load_every_weight(model, read_checkpoint(checkpoint), checkpoint)
    return model.to(device or get_device()).eval()


def load_every_weight(model: torch.nn.Module, checkpoint: dict, name: str) -> None:
    """Loads weights that must cover the model; left-over weights of the file are of no use and allowed.

    Raises:
        CheckpointError: Naming the weights that are missing or have another shape.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    wanted = model.state_dict()
    faults = [f'{key} is missing' for key in wanted if key not in weights]
    faults += [
        f'{key} has shape {tuple(weights[key].shape)}, the model {tuple(value.shape)}'
        for key, value in wanted.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if faults:
        more = f', and {len(faults) - _SHOWN} more' if len(faults) > _SHOWN else ''
        raise CheckpointError(
            f'{name} does not fit the config: {"; ".join(faults[:_SHOWN])}{more} (of {len(wanted)} weights)'
        )
    model.load_state_dict({key: weights[key] for key in wanted})
