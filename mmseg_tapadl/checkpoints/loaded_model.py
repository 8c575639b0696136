"""A config's model that stands alone, outside a runner, with every weight from a checkpoint."""

import copy
import os

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_tapadl.checkpoints.weights import load_all_weights


def build_loaded_model(
    config: Config, checkpoint: str | os.PathLike, *, device: str | None = None
) -> tuple[torch.nn.Module, dict]:
    """Builds a config's model as a runner does and fills it from the checkpoint.

    Every process runs its own copy: nothing is exchanged in evaluation, so no wrapper is needed, and
    synchronised batch norm is the plain one.

    Args:
        config: Any mmseg 1.x config; a ``data_preprocessor`` beside the model counts where the model has none.
        checkpoint: Path of the weights; must cover every weight of the model.
        device: Where to run; by default what mmengine finds.

    Returns:
        The model in evaluation mode, and the checkpoint's metadata.

    Raises:
        CheckpointError: When the file cannot be read, a weight is missing or has another shape.
    """
    register_all_modules(init_default_scope=False)
    init_default_scope(config.get('default_scope', 'mmseg'))
    described = copy.deepcopy(config.model)
    if config.get('data_preprocessor') is not None:
        described.setdefault('data_preprocessor', config.data_preprocessor)
    # Weights come from the checkpoint alone; the encoder's own would only be downloaded to be overwritten.
    model = revert_sync_batchnorm(MODELS.build(described))
    meta = load_all_weights(model, checkpoint)
    return model.to(device or get_device()).eval(), meta
