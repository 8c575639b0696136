"""Attention that also says how much its queries attend alike: the heart of the diversification loss.

Legend: B images, H heads, N queries, M keys, D channels of a head, E channels of a value's head.
P is the attention (B, H, N, M), a_i the mean over the heads of its row i, and T(x) keeps the entries
of x above ``threshold / M``. With abar the mean of the a_i, the similarity of an image is

    L = 1/N sum_i cos(T(abar), T(a_i)),    0 where either is a zero vector.

Low is diverse. The formula as it stands is in ``layers/textbook.py``; it needs all of P. Written as
L = 1/N s^ . u, where s^ is T(abar) at length 1 and u is the sum of the T(a_i) at length 1, it needs
two sums over the queries, which ``layers/blockwise_attention.py`` takes on one pass over P.
"""

import torch
from torch import Tensor

from mmseg_tapadl.layers.blockwise_attention import BlockwiseAttention


def diversified_attention(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, threshold: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Softmax attention and its similarity, exact, without an N x M matrix in memory.

    Args:
        q: Queries (B, H, N, D), floating point, on any device.
        k: Keys (B, H, M, D); M may differ from N.
        v: Values (B, H, M, E); E is D as a rule.
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        threshold: tau of the paper, above 0; attention above ``tau / M`` counts.

    Returns:
        The attended values (B, H, N, E) in the dtype of q (under autocast, in autocast's), and the similarity of each image (B,), from 0
        (no two queries attend alike) to 1 (all attend to the same few keys), in float32, or float64
        if q is. Both carry gradients; the similarity's is exact wherever no entry equals the threshold.

    Raises:
        ValueError: Shapes, dtypes or devices that do not agree, an empty axis, a threshold that is not
            positive.
    """
    q, k, v = (to_autocast_dtype(x) for x in (q, k, v))
    check_attention_inputs(q, k, v, threshold)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return BlockwiseAttention.apply(q, k, v, scale, threshold)


def to_autocast_dtype(x: Tensor) -> Tensor:
    """Casts as ``scaled_dot_product_attention`` would under autocast: all but float64."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.is_floating_point() and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(device))
    return x


def check_attention_inputs(q: Tensor, k: Tensor, v: Tensor, threshold: float) -> None:
    """Raises ``ValueError`` naming the argument that does not fit, and what was given."""
    for name, tensor in (('q', q), ('k', k), ('v', v)):
        if not tensor.is_floating_point():
            raise ValueError(f'{name} must be floating point, got {tensor.dtype}')
        if tensor.dim() != 4:
            raise ValueError(
                f'{name} must be (images, heads, tokens, channels), got shape {tuple(tensor.shape)}'
            )
        if 0 in tensor.shape:
            raise ValueError(f'{name} must have no empty axis, got shape {tuple(tensor.shape)}')
        if tensor.dtype != q.dtype:
            raise ValueError(f'{name} must have the dtype of q, {q.dtype}, got {tensor.dtype}')
        if tensor.device != q.device:
            raise ValueError(f'{name} must be on the device of q, {q.device}, got {tensor.device}')
    if k.shape[:2] != q.shape[:2] or k.shape[-1] != q.shape[-1]:
        raise ValueError(
            f'k must agree with q in images, heads and channels: q is {tuple(q.shape)}, got {tuple(k.shape)}'
        )
    if v.shape[:3] != k.shape[:3]:
        raise ValueError(
            f'v must agree with k in images, heads and tokens: k is {tuple(k.shape)}, got {tuple(v.shape)}'
        )
    if not threshold > 0:
        raise ValueError(f'threshold must be above 0, got {threshold}')
