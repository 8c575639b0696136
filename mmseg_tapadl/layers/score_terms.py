"""What is added to the scores of attention or multiplies them: bias and gain, given whole or row by row.

The legend is that of ``layers/diversified_attention.py``; n are the queries of one block.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge


def as_score_tensor(name: str, tensor: Tensor, shape: Sequence[int], device: torch.device) -> Tensor:
    """The bias or gain ``name`` with four axes, each of size 1 or that of ``shape`` (B, H, N, M).

    Raises:
        ValueError: It is no floating-point tensor, lies on another device, or does not broadcast.
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f'{name} must be a tensor, got {type(tensor).__name__}')
    if not tensor.is_floating_point():
        hint = (
            '; a mask of allowed keys becomes one by torch.where(mask, 0.0, -inf)' if name == 'bias' else ''
        )
        raise ValueError(f'{name} must be floating point, got {tensor.dtype}{hint}')
    if tensor.device != device:
        raise ValueError(f'{name} must be on the device of q, {device}, got {tensor.device}')
    fits = tensor.dim() <= 4 and all(
        own in (1, full) for own, full in zip(reversed(tensor.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f'{name} must broadcast to (images, heads, queries, keys) = {tuple(shape)}, '
            f'got shape {tuple(tensor.shape)}'
        )
    return tensor[(None,) * (4 - tensor.dim())]


def part_of(tensor: Tensor, entries: slice, heads: slice, rows: slice) -> Tensor:
    """The part of a bias or gain (1|B, 1|H, 1|N, 1|M) for some batch entries, heads and queries."""
    for axis, part in enumerate((entries, heads, rows)):
        if tensor.shape[axis] > 1:
            tensor = tensor.narrow(axis, part.start, part.stop - part.start)
    return tensor


def add_to_part(total: Tensor, entries: slice, heads: slice, rows: slice, values: Tensor) -> None:
    """Adds the values (g, h, n, M) of a block to the gradient of a bias or gain, summed over what was broadcast."""
    part = part_of(total, entries, heads, rows)
    part += values.sum_to_size(part.shape)


class RowGain:
    """A gain given as a function of a range of query rows.

    Args:
        function: Maps a slice of the queries to the gain (1|B, 1|H, 1|n, 1|M) of these rows.
        q: Queries (B, H, N, D), of which the gain's shape, dtype and device follow.
        num_keys: M.
    """

    def __init__(self, function: Callable[[slice], Tensor], q: Tensor, num_keys: int):
        self.function = function
        self.shape = (*q.shape[:3], num_keys)
        self.device = q.device

    def __call__(self, rows: slice) -> Tensor:
        """The gain of these rows, with four axes.

        Raises:
            ValueError: The function returns no tensor, or one that does not broadcast to (B, H, n, M).
        """
        shape = (*self.shape[:2], rows.stop - rows.start, self.shape[3])
        return as_score_tensor('gain(rows)', self.function(rows), shape, self.device)

    def parameters(self, rows: slice) -> list[Tensor]:
        """The leaves of autograd from which the gain of these rows is computed, and that ask for a gradient."""
        return leaves_of(self(rows)) if torch.is_grad_enabled() else []


def same_leaves(tensor: Tensor, leaves: Sequence[Tensor]) -> bool:
    """Whether every leaf of autograd from which a tensor was computed is among these."""
    # A leaf that was saved for the backward pass may come back as another object with the same node.
    known = {get_gradient_edge(leaf).node for leaf in leaves}
    return all(get_gradient_edge(leaf).node in known for leaf in leaves_of(tensor))


def leaves_of(tensor: Tensor) -> list[Tensor]:
    """The leaves of autograd from which a tensor was computed and that ask for a gradient, each once."""
    if tensor.grad_fn is None:
        return [tensor] if tensor.requires_grad else []
    leaves: dict[int, Tensor] = {}
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            leaves[id(node.variable)] = node.variable
        waiting += [parent for parent, _ in node.next_functions if parent is not None]
    return list(leaves.values())
