"""The paper's formulas written as they stand there: slow, large, and easy to read.

Nothing of the product calls them; tests hold the fast forms against them, benchmarks measure both.
"""

import torch
from torch import Tensor


def textbook_diversified_attention(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, threshold: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Attention and its diversity with every N x M matrix in memory (paper, section 3.2).

    Args:
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        v: Values (B, H, M, D).
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        threshold: tau; attention above ``tau / M`` counts.

    Returns:
        The attended values (B, H, N, D) and the diversity of each image (B,), from 0 (no two tokens
        attend alike) to 1 (all attend to the same few).
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    attention = torch.softmax(scale * q @ k.transpose(-2, -1), dim=-1)  # (B, H, N, M)
    out = attention @ v
    rows = attention.mean(dim=1)  # a_i: (B, N, M)
    limit = threshold / k.shape[-2]
    mean = rows.mean(dim=1, keepdim=True)  # abar, of the unthresholded rows: (B, 1, M)
    kept_mean = torch.where(mean > limit, mean, 0.0)
    kept_rows = torch.where(rows > limit, rows, 0.0)
    # normalize() of a zero vector is zero, so the cosine with it is zero, as the paper wants it.
    cosine = (unit(kept_rows) * unit(kept_mean)).sum(dim=-1)  # (B, N)
    return out, cosine.mean(dim=-1)


def unit(x: Tensor) -> Tensor:
    """``x`` divided by its length along the last axis; a zero vector stays zero, with zero gradient."""
    square = x.square().sum(dim=-1, keepdim=True)
    is_zero = square == 0
    return torch.where(is_zero, 0.0, x / torch.where(is_zero, 1.0, square).sqrt())
