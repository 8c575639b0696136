"""Filling a model with weights that must fit it, and saying which do not."""

import os

import torch

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain
from mmseg_tapadl.checkpoints.wrapper_names import as_named_in, weights_of

_SHOWN = 5


def load_all_weights(model: torch.nn.Module, path: str | os.PathLike) -> dict:
    """Fills a model that stands alone, outside a runner; every key of model and file must fit.

    Args:
        model: Takes the weights.
        path: A checkpoint of mmengine, or a plain dict of weights (``.pth`` or ``.safetensors``); or its address.

    Returns:
        The checkpoint's metadata.

    Raises:
        CheckpointError: The file is unreadable, holds a program, or does not fit: with the keys.
    """
    checkpoint = load_plain(path)
    faults = load_weights(model, checkpoint)
    if faults:
        raise CheckpointError(f'{path}: does not fit the model: {"; ".join(faults)}')
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, dict) else {}


def load_weights(model: torch.nn.Module, checkpoint: dict) -> list[str]:
    """Loads what fits and tells what does not.

    Args:
        model: Takes the weights.
        checkpoint: A checkpoint or a bare dict of weights; prefixes that wrappers leave are seen through,
            unless two weights would then share a name.

    Returns:
        Sentences that list missing, unexpected and misshapen keys; empty when all fit.
    """
    own = model.state_dict()
    state = as_named_in(weights_of(checkpoint), own)
    misshapen = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    shapes = [f'{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}' for key in misshapen]
    for key in misshapen:
        del state[key]
    result = model.load_state_dict(state, strict=False)
    # The counter of BatchNorm is a newcomer that changes nothing; old files lack it.
    missing = [
        key for key in result.missing_keys if key not in misshapen and not key.endswith('num_batches_tracked')
    ]
    faults = []
    for word, keys in (
        ('missing', missing),
        ('unexpected', list(result.unexpected_keys)),
        ('of another shape', shapes),
    ):
        if keys:
            more = f' and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
            faults.append(f'{len(keys)} {word}: {", ".join(keys[:_SHOWN])}{more}')
    return faults
