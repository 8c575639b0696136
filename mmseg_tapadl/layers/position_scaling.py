"""Position-aware attention scaling (PAAS): a learned factor of each score, from the places of query and key.

Source: Mao et al., Towards Robust Vision Transformer, CVPR 2022 (arXiv 2105.07926). It is learned on one grid; how
it is carried to another grid is this project's own rule.

Legend: H heads, S x S the grid on which it was learned, N tokens on a grid of h x w, n of them as queries.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def position_gain(att_mask: Tensor, grid: tuple[int, int]) -> Callable[[slice], Tensor]:
    """The factor ``G = sigmoid(A W_head A^T)`` of the scores on a grid, row by row, as attention wants a gain.

    A (N x S*S) are bilinear weights (pixel centres, border repeated, as ``F.interpolate(align_corners=False)``), once
    over the query's place and once over the key's. On the learned grid A is the identity: ``sigmoid(W)``.

    Args:
        att_mask: W (H, S*S, S*S): queries, then keys, both row by row over the learned grid.
        grid: h and w.

    Returns:
        A function that maps a slice of the N queries to the gain (H, n, N), from 0 to 1. Nothing of N x N is made.

    Raises:
        ValueError: ``att_mask`` is not over a square grid.
    """
    side = grid_side(att_mask)
    # In an export for any size the grid is not known, and need not be: there A is the identity, too.
    if not any(isinstance(size, torch.SymInt) for size in grid) and grid == (side, side):
        return lambda rows: att_mask[:, rows].sigmoid()
    over_rows, over_columns = (bilinear_weights(size, side).to(att_mask) for size in grid)
    weights = (over_rows[:, None, :, None] * over_columns[:, None, :]).flatten(2).flatten(0, 1)  # A

    def gain(rows: slice) -> Tensor:
        by_key = (weights[rows] @ att_mask).unflatten(2, (side, side))  # (H, n, S, S)
        # Rows first, then columns: 14 times fewer steps than one product with A, each one large product.
        by_key_row = (by_key.mT @ over_rows.T).mT  # (H, n, h, S)
        return (by_key_row @ over_columns.T).flatten(2).sigmoid()

    return gain


def bilinear_weights(size: int, side: int) -> Tensor:
    """The weights (size, side) in float64 with which ``side`` samples of a line are resampled to ``size``."""
    unit = torch.eye(side, dtype=torch.float64)[None]
    return F.interpolate(unit, size=size, mode='linear', align_corners=False)[0].T


def grid_side(att_mask: Tensor) -> int:
    """S, the side of the grid on which (H, S*S, S*S) was learned.

    Raises:
        ValueError: It is over no square grid.
    """
    places = att_mask.shape[-1]
    side = round(places**0.5)
    if att_mask.dim() != 3 or att_mask.shape[1] != places or side * side != places:
        raise ValueError(
            f'att_mask must be (heads, S*S, S*S) for a grid of S x S, got {tuple(att_mask.shape)}'
        )
    return side
