"""Turning what a run wants to store into plain data, and back.

A checkpoint holds tensors, numbers, strings and containers of them. Such a file opens with plain
``torch.load(weights_only=True)``, today and with any later version of the libraries.
"""

import argparse
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from mmseg_tapadl.engine.checkpoint_guards import CheckpointError, InertObject

_SCALARS = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device, torch.Size)
_MAX_DEPTH = 100


def to_plain(value: Any, where: str = 'checkpoint', depth: int = 0) -> Any:
    """A copy of ``value`` in which only plain data is left; tensors are shared, not copied.

    Numpy numbers become Python's, numpy arrays tensors, subclasses of ``dict``, ``list`` and ``str``
    their plain base (``OrderedDict`` keeps its ``_metadata``, which ``load_state_dict`` reads).

    Args:
        value: What is to be stored.
        where: The place within the checkpoint, for the message.
        depth: How deep ``value`` lies.

    Raises:
        CheckpointError: Naming the place of an object that is not plain data.
    """
    if depth > _MAX_DEPTH:
        raise CheckpointError(f'{where}: nested too deeply')
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return (
            torch.from_numpy(np.ascontiguousarray(value))
            if value.dtype.kind in 'biuf'
            else to_plain(value.tolist(), where, depth)
        )
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        plain: Any = {}
        if isinstance(value, OrderedDict):
            plain = OrderedDict()
        for key, item in value.items():
            plain[key if isinstance(key, (int, tuple)) else str(key)] = to_plain(
                item, f'{where}.{key}', depth + 1
            )
        metadata = getattr(value, '_metadata', None)
        if metadata is not None and isinstance(plain, OrderedDict):
            plain._metadata = to_plain(metadata, f'{where}._metadata', depth + 1)
        return plain
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [to_plain(item, f'{where}[{index}]', depth + 1) for index, item in enumerate(value)]
        return (
            tuple(items)
            if isinstance(value, tuple)
            else set(items)
            if isinstance(value, (set, frozenset))
            else items
        )
    raise CheckpointError(
        f'{where} is a {type(value).__module__}.{type(value).__name__}; a checkpoint holds plain data only'
    )


def from_file(value: Any, path: str, limit: int, seen: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """Cleans what a reader returned: foreign log objects become dicts, claims of size are checked.

    Args:
        value: What the file held.
        path: The file's name, for messages.
        limit: The most bytes one tensor may claim (it may view its storage many times over).
        seen: Containers already cleaned; a small file can refer to one list a billion times.
        depth: How deep ``value`` lies.

    Raises:
        CheckpointError: For tensors that claim more than ``limit``, objects, or nesting without end.
    """
    seen = {} if seen is None else seen
    if depth > _MAX_DEPTH:
        raise CheckpointError(f'{path}: refused, nested too deeply')
    if isinstance(value, (torch.Tensor, np.ndarray)):
        count = value.numel() if isinstance(value, torch.Tensor) else value.size
        width = value.element_size() if isinstance(value, torch.Tensor) else value.itemsize
        if count * width > limit or getattr(value, 'is_meta', False):
            raise CheckpointError(
                f'{path}: refused, a tensor of shape {tuple(value.shape)} claims {count * width} bytes'
            )
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, _SCALARS):
        return value
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value
    if isinstance(value, dict):
        for key, item in list(value.items()):
            value[key] = from_file(item, path, limit, seen, depth + 1)
        return value
    if isinstance(value, list):
        value[:] = [from_file(item, path, limit, seen, depth + 1) for item in value]
        return value
    if isinstance(value, (tuple, set)):
        cleaned: Any = type(value)(from_file(item, path, limit, seen, depth + 1) for item in value)
        seen[id(value)] = cleaned
        return cleaned
    if isinstance(value, (InertObject, argparse.Namespace)):
        fields = {
            key: item
            for key, item in vars(value).items()
            if key != 'args' or isinstance(value, argparse.Namespace)
        }
        return from_file(fields, path, limit, seen, depth + 1)
    raise CheckpointError(
        f'{path}: refused, it holds an object of type {type(value).__module__}.{type(value).__name__}'
    )
