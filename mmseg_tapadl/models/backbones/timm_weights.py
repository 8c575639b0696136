"""Weights in timm's keys: fetched by timm or read from a file, and fitted to a model of another grid."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain_local
from mmseg_tapadl.utils.errors import InputError

_SHOWN = 4


def fetch_weights(name: str, tag: str | None) -> dict[str, Tensor]:
    """timm's weights of a model, in its keys.

    Raises:
        InputError: They cannot be fetched: no such tag, no network, a licence that was not accepted.
    """
    full = f'{name.partition(".")[0]}.{tag}' if tag else name
    try:
        return timm.create_model(full, pretrained=True).state_dict()
    except Exception as error:  # the hub, the network and timm raise many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the weights of '{full}' cannot be fetched by timm ({reason}). Without a network download the file "
            'elsewhere and give pretrained=FILE'
        ) from error


def read_weights(path: str, prefix: str = '') -> dict[str, Tensor]:
    """The weights in a file, as data; ``prefix`` chooses a part of it and is taken off.

    Raises:
        InputError: No such file, or not one of weights.
    """
    if not os.path.isfile(os.path.expanduser(path)):
        raise InputError(f'pretrained={path!r}: no such file (and no tag of timm)')
    weights: Any = load_plain_local(path)
    for key in ('state_dict', 'model'):
        if isinstance(weights.get(key), Mapping):
            weights = weights[key]
            break
    return {
        key.removeprefix(prefix).removeprefix('model.'): value
        for key, value in weights.items()
        if isinstance(value, Tensor) and key.startswith(prefix)
    }


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Loads weights in timm's keys; positions are resampled to the model's grid as timm does.

    Args:
        model: timm's model; what it no longer has (classifier, later blocks, final norm) is left in the file.
        weights: By timm's keys.
        source: Names them in errors.

    Raises:
        InputError: Weights of another architecture: with the keys that are missing or of another shape.
    """
    adapt = getattr(importlib.import_module(type(model).__mro__[0].__module__), 'checkpoint_filter_fn', None)
    fitted = dict(adapt(dict(weights), model)) if adapt is not None else dict(weights)
    own = model.state_dict()
    wanted = [key for key in own if '.dilation_predictor.' not in key and '.core.' not in key]
    missing = [key for key in wanted if key not in fitted]
    misshapen = [
        f'{key} {tuple(fitted[key].shape)} for {tuple(own[key].shape)}'
        for key in wanted
        if key in fitted and fitted[key].shape != own[key].shape
    ]
    if missing or misshapen:
        faults = [f'{len(missing)} missing: {", ".join(missing[:_SHOWN])}'] if missing else []
        faults += [f'{len(misshapen)} of another shape: {", ".join(misshapen[:_SHOWN])}'] if misshapen else []
        raise InputError(f'{source}: weights of another model: {"; ".join(faults)}')
    with torch.no_grad():
        model.load_state_dict({key: value for key, value in fitted.items() if key in own}, strict=False)
