"""Turning what a run wants to store into plain data, and back.

A checkpoint holds tensors, numbers, strings and containers of them. Such a file opens with plain
``torch.load(weights_only=True)``, today and with any later version of the libraries.
"""

import argparse
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmseg_tapadl.checkpoints.checkpoint_guards import CheckpointError, InertObject

_SCALARS = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device, torch.Size)
_MAX_DEPTH = 100
_MAX_VALUES = 50_000_000
_KEPT_LOG_VALUES = 1000


def to_plain(value: Any, where: str = 'checkpoint', depth: int = 0) -> Any:
    """A copy of ``value`` in which only plain data is left; tensors are shared, not copied.

    Numpy numbers become Python's, numpy arrays and mmengine's log buffers tensors, subclasses of ``dict``, ``list`` and ``str``
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
    if isinstance(value, HistoryBuffer):
        return _buffer_to_plain(value)
    if isinstance(value, dict):
        ordered = isinstance(value, OrderedDict)
        plain: Any = OrderedDict() if ordered else {}
        for key, item in value.items():
            plain[key if isinstance(key, (int, tuple)) else str(key)] = to_plain(
                item, f'{where}.{key}', depth + 1
            )
        metadata = getattr(value, '_metadata', None)
        if metadata is not None and ordered:
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


def from_file(value: Any, path: str, limit: int) -> Any:
    """Cleans what a reader returned: foreign log objects become dicts, claims of size are checked.

    Args:
        value: What the file held.
        path: The file's name, for messages.
        limit: The most bytes one tensor may claim (it may view its storage many times over).

    Raises:
        CheckpointError: For tensors that claim more than ``limit``, objects, nesting or repetition without end.
    """
    return _Cleaner(path, limit).clean(value, 0)[0]


class _Cleaner:
    """One pass over a checkpoint; every container is visited once, however often it is referred to."""

    def __init__(self, path: str, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._done: dict[int, tuple[Any, int]] = {}
        # Keeps every original alive: the identity of a freed one could come back as another's.
        self._originals: list[Any] = []

    def clean(self, value: Any, depth: int) -> tuple[Any, int]:
        """The cleaned value, and how many values it holds for someone who follows every reference."""
        if depth > _MAX_DEPTH:
            raise CheckpointError(f'{self.path}: refused, nested too deeply')
        if isinstance(value, (torch.Tensor, np.ndarray)):
            self._check_claim(value)
            return value, 1
        if isinstance(value, np.generic):
            return value.item(), 1
        if isinstance(value, _SCALARS):
            return value, 1
        if id(value) not in self._done:
            self._originals.append(value)
            self._done[id(value)] = value, 1
            self._done[id(value)] = self._container(value, depth)
        return self._done[id(value)]

    def _container(self, value: Any, depth: int) -> tuple[Any, int]:
        cleaned: Any
        if isinstance(value, dict):
            parts = {key: self.clean(item, depth + 1) for key, item in value.items()}
            for key, (item, _) in parts.items():
                value[key] = item
            cleaned, total = value, sum(count for _, count in parts.values())
        elif isinstance(value, (list, tuple, set)):
            items = [self.clean(item, depth + 1) for item in value]
            cleaned, total = type(value)(item for item, _ in items), sum(count for _, count in items)
        elif isinstance(value, argparse.Namespace):
            return self.clean(vars(value), depth + 1)
        elif isinstance(value, InertObject):
            return self.clean({key: item for key, item in vars(value).items() if key != 'args'}, depth + 1)
        else:
            kind = f'{type(value).__module__}.{type(value).__name__}'
            raise CheckpointError(f'{self.path}: refused, it holds an object of type {kind}')
        if total > _MAX_VALUES:
            raise CheckpointError(
                f'{self.path}: refused, a few lists that refer to each other {total} times (a bomb)'
            )
        return cleaned, total + 1

    def _check_claim(self, value: Any) -> None:
        is_tensor = isinstance(value, torch.Tensor)
        claimed = value.numel() * value.element_size() if is_tensor else value.nbytes
        if claimed > self.limit or getattr(value, 'is_meta', False):
            raise CheckpointError(
                f'{self.path}: refused, a tensor of shape {tuple(value.shape)} claims {claimed} bytes'
            )


def _buffer_to_plain(buffer: HistoryBuffer) -> dict[str, torch.Tensor]:
    values, counts = buffer.data
    return {
        'values': torch.from_numpy(np.asarray(values[-_KEPT_LOG_VALUES:], dtype=np.float64)),
        'counts': torch.from_numpy(np.asarray(counts[-_KEPT_LOG_VALUES:], dtype=np.int64)),
    }


def restore_log_buffers(checkpoint: dict) -> None:
    """Makes mmengine's log buffers again of what :func:`to_plain` made of them, so that averages in the log go on.

    Args:
        checkpoint: Changed in place; log values of another form are left out.
    """
    hub = checkpoint.get('message_hub')
    if not isinstance(hub, dict):
        return
    hub['log_scalars'] = {
        name: HistoryBuffer(value['values'].tolist(), value['counts'].tolist())
        for name, value in hub.get('log_scalars', {}).items()
        if isinstance(value, dict) and {'values', 'counts'} <= set(value)
    }
