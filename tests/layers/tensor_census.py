"""Counts what a computation makes and keeps: the sizes of its tensors and its matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.baddbmm, torch.ops.aten.baddbmm_}


class TensorCensus(TorchDispatchMode):
    """While entered, notes the largest tensor that any operation returns and the work of matrix products.

    Attributes:
        largest: Elements of the largest tensor.
        multiplications: Scalar multiplications of all matrix products.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.multiplications = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.largest = max(self.largest, tensor.numel())
        if func.overloadpacket in PRODUCTS:
            right = args[-1]
            self.multiplications += result.numel() * right.shape[-2]
        return result


@contextmanager
def kept_for_backward() -> Iterator[list[Tensor]]:
    """Yields a list of the tensors that autograd keeps meanwhile; views of one storage count once."""
    kept: dict[int, Tensor] = {}
    tensors: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            kept[storage.data_ptr()] = tensor
            tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield tensors


def num_bytes(tensors: list[Tensor]) -> int:
    """Bytes of the tensors together."""
    return sum(t.numel() * t.element_size() for t in tensors)
