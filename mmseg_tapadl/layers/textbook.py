"""The paper's formulas written as they stand there: slow, large, and easy to read.

Nothing of the product calls them; tests hold the fast forms against them, benchmarks measure both.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def textbook_diversified_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    threshold: float = 2.0,
    bias: Tensor | None = None,
    gain: Tensor | Callable[[slice], Tensor] | None = None,
    num_prefix: int = 0,
) -> tuple[Tensor, Tensor]:
    """Attention and the similarity of its rows with every N x M matrix in memory (paper, section 3.2).

    Args:
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        v: Values (B, H, M, D).
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        threshold: tau; attention above ``tau`` / patch keys counts.
        bias: Added to the scores; broadcasts to (B, H, N, M).
        gain: Multiplies the scaled scores; broadcasts to (B, H, N, M), or a function of a slice of queries.
        num_prefix: How many of the first queries and keys are no patches.

    Returns:
        The attended values (B, H, N, D) and the similarity of each batch entry (B,), from 0 (no two tokens
        attend alike) to 1 (all attend to the same few).
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = scale * q @ k.transpose(-2, -1)  # (B, H, N, M)
    if gain is not None:
        scores = scores * (gain if isinstance(gain, Tensor) else gain(slice(0, q.shape[2])))
    forbidden = torch.zeros((), dtype=torch.bool, device=q.device)
    if bias is not None:
        scores = scores + bias
        forbidden = (bias == float('-inf')).expand_as(scores).all(dim=-1, keepdim=True)
    attention = torch.softmax(scores.masked_fill(forbidden, 0.0), dim=-1).masked_fill(forbidden, 0.0)
    out = attention @ v
    rows = attention[:, :, num_prefix:, num_prefix:].mean(dim=1)  # a_i of patches over patches
    limit = threshold / rows.shape[-1]
    mean = rows.mean(dim=1, keepdim=True)  # abar, of the unthresholded rows: (B, 1, M)
    kept_mean = torch.where(mean > limit, mean, 0.0)
    kept_rows = torch.where(rows > limit, rows, 0.0)
    # The unit of a zero vector is zero, so the cosine with it is zero, as the paper wants it.
    cosine = (unit(kept_rows) * unit(kept_mean)).sum(dim=-1)  # (B, N)
    return out, cosine.mean(dim=-1)


def unit(x: Tensor) -> Tensor:
    """``x`` divided by its length along the last axis; a zero vector stays zero, with zero gradient."""
    square = x.square().sum(dim=-1, keepdim=True)
    is_zero = square == 0
    return torch.where(is_zero, 0.0, x / torch.where(is_zero, 1.0, square).sqrt())


def textbook_token_aware_avg_pool(x: Tensor, weights: Tensor) -> Tensor:
    """Token-aware average pooling by unfolding: 9 copies of the tokens for each branch (section 3.1).

    Args:
        x: Tokens on their grid (B, C, H, W).
        weights: Weights of the branches (B, K, H, W); branch 0 is the identity.

    Returns:
        The pooled tokens (B, C, H, W).
    """
    branches = [x]
    for dilation in range(1, weights.shape[1]):
        neighbours = F.unfold(x, kernel_size=3, dilation=dilation, padding=dilation)  # (B, C * 9, H * W)
        branches.append(neighbours.unflatten(1, (-1, 9)).mean(dim=2).view_as(x))
    return (torch.stack(branches, dim=1) * weights.unsqueeze(2)).sum(dim=1)


def textbook_fuse_levels(
    features: Sequence[Tensor], projections: Sequence[tuple[Tensor, Tensor | None]], fuse_weight: Tensor
) -> Tensor:
    """The fusion of a decode head as it is drawn: project, upsample, concatenate (last first), convolve.

    Args:
        features: One (B, C_i, H_i, W_i) a level; the first sets the size of the result.
        projections: For each level the weight (E_i, C_i) and bias (E_i,) or ``None`` of its projection.
        fuse_weight: Weight (E, sum of E_i, 1, 1) of the 1x1 convolution.

    Returns:
        The fused features (B, E, H_1, W_1).
    """
    size = features[0].shape[2:]
    levels = []
    for feature, (weight, bias) in zip(features, projections, strict=True):
        projected = F.linear(feature.flatten(2).transpose(1, 2), weight, bias).transpose(1, 2)
        projected = projected.unflatten(2, feature.shape[2:])
        levels.append(F.interpolate(projected, size, mode='bilinear', align_corners=False))
    return F.conv2d(torch.cat(levels[::-1], dim=1), fuse_weight)
