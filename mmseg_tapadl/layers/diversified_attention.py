"""Attention that also says how much its queries attend alike: the heart of the diversification loss.

Legend, here and in the files that compute it:

    B        batch entries: images, or windows of images
    H        heads
    N, M     queries and keys; N', M' the patches among them, without the prefix tokens
    D, E     channels of a head of q and k, and of v
    C, G     bias and gain, which broadcast to (B, H, N, M)
    P        the attention (B, H, N, M) = softmax_j(S), S = G R + C, R = scale q k^T
    a_i      the mean over the heads of row i of P, patches only: (M',)
    abar     the mean of the a_i over the patches
    T(x)     keeps the entries of x above t = threshold / M' and sets the others to 0
    m_i, s   T(a_i) and T(abar)
    x^       x at length 1; of a zero vector, zero

The similarity of a batch entry is

    L = 1/N' sum_i s^ . m^_i  =  1/N' s^ . u,    u = sum_i m^_i.

The first form, in ``layers/textbook.py``, needs all of P. The second needs two sums over the queries, which
``layers/blockwise_attention.py`` takes in one pass over blocks of P. With g the gradient of L, that of row i is

    e_i = g/N' [ 1(a_i > t) (s^ - (s^ . m^_i) m^_i) / |m_i|  +  1(abar > t) (u - (s^ . u) s^) / (N' |s|) ],

zero outside the patches, and the backward pass is

    dP^h = dO^h V^h^T + e / H      dS = P (dP - rowsum(P dP))      dR = dS G
    dq = scale dR k    dk = scale dR^T q    dv = P^T dO    dC = dS    dG = dS R,

the last two summed over what was broadcast. A row whose C is -inf throughout has no allowed key: its P is zero.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from timm.layers import is_exporting
from torch import Tensor

from mmseg_tapadl.layers.attention_blocks import AttentionOptions, BlockPlan, statistics_dtype
from mmseg_tapadl.layers.blockwise_attention import BlockwiseAttention
from mmseg_tapadl.layers.compiled_attention import compiled_attention
from mmseg_tapadl.layers.score_terms import RowGain, as_score_tensor

Gain: TypeAlias = Tensor | Callable[[slice], Tensor]
"""A factor of the scores: a tensor, or a function of a range of query rows; see :func:`diversified_attention`."""


def diversified_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    threshold: float = 2.0,
    bias: Tensor | None = None,
    gain: Gain | None = None,
    num_prefix: int = 0,
) -> tuple[Tensor, Tensor]:
    """Softmax attention and the similarity of its rows, exact, without an N x M matrix in memory.

    Args:
        q: Queries (B, H, N, D), floating point, on any device.
        k: Keys (B, H, M, D); M may differ from N.
        v: Values (B, H, M, E); E is D as a rule.
        scale: Factor of the scores; ``None`` is ``D ** -0.5``.
        threshold: tau of the paper, above 0; attention above ``tau / M'`` counts, M' being the patch keys.
        bias: Added to the scores; any shape that broadcasts to (B, H, N, M). A mask is a bias of -inf, or of a
            large negative number. A query without any allowed key (-inf throughout) gets zeros, and counts
            among the N with cosine 0. It may be learned.
        gain: Multiplies the scaled scores before the bias is added; any shape that broadcasts to (B, H, N, M). It
            may be learned. Or a function ``gain(rows)`` of a slice of the N queries that returns that part,
            broadcastable to (B, H, n, M): it is called block by block, and again in the backward pass, so it
            must return the same each time; gradients reach every parameter (any leaf of autograd) from which it
            computes what it returns. These must be the same for all rows; others end the backward pass with an error.
        num_prefix: How many of the first queries and of the first keys are no patches (class token, registers).
            They attend and are attended to as ever, but the similarity is that of the patch queries over
            the patch keys, from P as it is.

    Returns:
        The attended values (B, H, N, E) in the dtype of q (under autocast, in autocast's), and the similarity of
        each batch entry (B,), from 0 (no two queries attend alike) to 1 (all attend to the same few keys), in
        float32, or float64 if q is. Both carry gradients; the similarity's is exact wherever no entry equals
        the threshold.

    Raises:
        ValueError: Shapes, dtypes or devices that do not agree, an empty axis, a threshold that is not positive,
            a bias or gain that does not broadcast, a ``num_prefix`` that leaves no patch.
    """
    q, k, v = checked_inputs(q, k, v, num_prefix)
    if not threshold > 0:
        raise ValueError(f'threshold must be above 0, got {threshold}')
    return blockwise_attention(
        q, k, v, scale=scale, bias=bias, gain=gain, threshold=threshold, num_prefix=num_prefix
    )


def blockwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None,
    bias: Tensor | None,
    gain: Gain | None,
    threshold: float | None = None,
    num_prefix: int = 0,
) -> tuple[Tensor, Tensor]:
    """Both results for q, k and v of :func:`checked_inputs`; without a threshold the similarity is empty."""
    shape = (*q.shape[:3], k.shape[2])
    bias = None if bias is None else as_score_tensor('bias', bias, shape, q.device)
    row_gain = None
    parameters: list[Tensor] = []
    if isinstance(gain, Tensor):
        gain = as_score_tensor('gain', gain, shape, q.device)
    elif gain is not None:
        if not callable(gain):
            raise ValueError(
                f'gain must be a tensor or a function of a slice of the queries, got {type(gain).__name__}'
            )
        row_gain = RowGain(gain, q, k.shape[2])
        parameters = row_gain.parameters(slice(0, BlockPlan(q, k.shape[2]).rows_at_once))
        gain = None
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if torch.compiler.is_compiling() and not is_exporting() and row_gain is None:
        return compiled_attention(q, k, v, bias, gain, scale, threshold, num_prefix)[:2]
    options = AttentionOptions(
        scale=scale,
        threshold=threshold,
        num_prefix=num_prefix,
        row_gain=row_gain,
    )
    return BlockwiseAttention.apply(q, k, v, bias, gain, options, *parameters)


def whole_attention(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None, bias: Tensor | None, gain: Gain
) -> Tensor:
    """The attended values for q, k and v of :func:`checked_inputs`, from P in full: few operations, N x M numbers a head."""
    shape = (*q.shape[:3], k.shape[2])
    if not isinstance(gain, Tensor):
        gain = RowGain(gain, q, k.shape[2])(slice(0, q.shape[2]))
    scores = (q @ k.mT).to(statistics_dtype(q)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = scores * as_score_tensor('gain', gain, shape, q.device)
    if bias is None:
        return scores.softmax(dim=-1).to(v.dtype) @ v
    bias = as_score_tensor('bias', bias, shape, q.device)
    p = (scores + bias).softmax(dim=-1)
    return torch.where((bias == float('-inf')).all(dim=-1, keepdim=True), 0.0, p).to(v.dtype) @ v


def checked_inputs(q: Tensor, k: Tensor, v: Tensor, num_prefix: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v, cast as autocast would cast them.

    Raises:
        ValueError: They do not fit together, or so many prefix tokens leave no patch.
    """
    q, k, v = (to_autocast_dtype(x) for x in (q, k, v))
    check_attention_inputs(q, k, v)
    check_num_prefix(num_prefix, q, k)
    return q, k, v


def to_autocast_dtype(x: Tensor) -> Tensor:
    """Casts as ``scaled_dot_product_attention`` would under autocast: all but float64."""
    device = x.device.type
    is_cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if is_cast and x.is_floating_point() and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(device))
    return x


def check_attention_inputs(q: Tensor, k: Tensor, v: Tensor) -> None:
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


def check_num_prefix(num_prefix: int, q: Tensor, k: Tensor) -> None:
    """Raises ``ValueError`` where so many prefix tokens leave no patch among the queries or the keys."""
    tokens = min(q.shape[2], k.shape[2])
    if isinstance(num_prefix, bool) or not isinstance(num_prefix, int) or not 0 <= num_prefix < tokens:
        raise ValueError(
            f'num_prefix must be from 0 to {tokens - 1}, so that patches are left among {q.shape[2]} queries '
            f'and {k.shape[2]} keys, got {num_prefix!r}'
        )
