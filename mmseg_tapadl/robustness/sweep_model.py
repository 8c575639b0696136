"""The model of a sweep: any mmseg config's, built once, with every weight from the checkpoint."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_tapadl.checkpoints.weights import load_all_weights


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
    load_all_weights(model, checkpoint)
    return model.to(device or get_device()).eval()
