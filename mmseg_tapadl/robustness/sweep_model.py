"""The model of a sweep: any mmseg config's, built once, with every weight from the checkpoint."""

import torch
from mmengine.config import Config

from mmseg_tapadl.checkpoints.loaded_model import build_loaded_model


def build_model(config: Config, checkpoint: str, *, device: str | None = None) -> torch.nn.Module:
    """The model of :func:`~mmseg_tapadl.checkpoints.loaded_model.build_loaded_model` alone."""
    return build_loaded_model(config, checkpoint, device=device)[0]
