"""Filling a model that stands alone, outside a runner, from a checkpoint that must cover it."""

import os

import torch

from mmseg_tapadl.engine.checkpoint_io import CheckpointError
from mmseg_tapadl.engine.checkpoint_loader import load_plain_local
from mmseg_tapadl.engine.runner import load_weights


def load_all_weights(model: torch.nn.Module, path: str | os.PathLike) -> dict:
    """Loads a checkpoint's weights into a model; every key of both must fit.

    Args:
        model: Takes the weights.
        path: A checkpoint of mmengine, or a plain dict of weights (``.pth`` or ``.safetensors``).

    Returns:
        The checkpoint's metadata.

    Raises:
        CheckpointError: The file is unreadable, holds a program, or does not fit: with the keys.
    """
    checkpoint = load_plain_local(os.fspath(path))
    faults = load_weights(model, checkpoint.get('state_dict', checkpoint))
    if faults:
        raise CheckpointError(f'{path}: does not fit the model: {"; ".join(faults)}')
    return checkpoint.get('meta') or {}
