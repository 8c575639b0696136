"""Keeps what attentions were computed from until a corrupted copy of the picture comes by.

A large picture's queries and keys of all layers are as much as a model: beyond some memory they go to a file.
"""

import tempfile
from collections.abc import Hashable
from dataclasses import replace
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmseg_tapadl.layers.attention_watch import AttentionInputs

MEMORY_BYTES = 64 << 20


class InputStore:
    """Queries and keys by any key; the file, where there is one, goes with the store.

    Args:
        memory_bytes: What may be kept in memory. What lies on a GPU stays there.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES):
        self.left = memory_bytes
        self._kept: dict[Hashable, tuple[AttentionInputs, list[Any]]] = {}
        self._file: IO[bytes] | None = None

    def keep(self, key: Hashable, inputs: AttentionInputs) -> None:
        """Keeps a copy of queries and keys, without the values whose memory they may share."""
        tensors = inputs.q.detach(), inputs.k.detach()
        size = sum(tensor.nbytes for tensor in tensors)
        if inputs.q.device.type == 'cpu' and size > self.left:
            places = [self._write(tensor) for tensor in tensors]
            empty = inputs.q.new_empty(0)
            self._kept[key] = replace(inputs, q=empty, k=empty), places
            return
        self.left -= size
        q, k = (tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
        self._kept[key] = replace(inputs, q=q, k=k), []

    def get(self, key: Hashable) -> AttentionInputs:
        """What was kept, bit for bit."""
        inputs, places = self._kept[key]
        if not places:
            return inputs
        q, k = (self._read(*place) for place in places)
        return replace(inputs, q=q, k=k)

    def _write(self, tensor: Tensor) -> tuple[int, torch.Size, torch.dtype]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the store
        start = self._file.seek(0, 2)
        self._file.write(tensor.contiguous().view(torch.uint8).numpy().data)
        return start, tensor.shape, tensor.dtype

    def _read(self, start: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        assert self._file is not None
        self._file.seek(start)
        values = np.empty(shape.numel() * dtype.itemsize, dtype=np.uint8)
        self._file.readinto(values)  # type: ignore[attr-defined]
        return torch.from_numpy(values).view(dtype).view(shape)
