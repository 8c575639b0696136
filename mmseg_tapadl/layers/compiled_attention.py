"""Blockwise attention as one operator of torch, for compiled code.

A compiler would unroll the blocks of every layer into its graph. It sees this operator and its gradient as one step each;
they compute what :class:`BlockwiseAttention` computes. A gain that is a function of the rows has no such form.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from mmseg_tapadl.layers.attention_blocks import AttentionOptions, statistics_dtype
from mmseg_tapadl.layers.attention_gradients import AttentionGradients
from mmseg_tapadl.layers.blockwise_attention import attend, gather

# The schema of an operator is read from annotations, in their older spelling.
MaybeTensor = Optional[Tensor]  # noqa: UP045
MaybeFloat = Optional[float]  # noqa: UP045


@torch.library.custom_op('mmseg_tapadl::blockwise_attention', mutates_args=())
def compiled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: MaybeTensor,
    gain: MaybeTensor,
    scale: float,
    threshold: MaybeFloat,
    num_prefix: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What :func:`attend` returns, each in memory of its own."""
    out, *statistics = attend(q, k, v, bias, gain, AttentionOptions(scale, threshold, num_prefix, None))
    similarity, kept_mean, unit_sum = (x.clone() for x in statistics)
    return out, similarity, kept_mean, unit_sum


@compiled_attention.register_fake
def _shapes(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    gain: Tensor | None,
    scale: float,
    threshold: float | None,
    num_prefix: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    entries, heads, queries, _ = q.shape
    out = q.new_empty(entries, queries, heads, v.shape[-1]).transpose(1, 2)
    dtype = statistics_dtype(q)
    if threshold is None:
        similarity, kept_mean, unit_sum = (q.new_empty(0, dtype=dtype) for _ in range(3))
        return out, similarity, kept_mean, unit_sum
    kept_mean, unit_sum = (q.new_empty(entries, k.shape[2] - num_prefix, dtype=dtype) for _ in range(2))
    return out, q.new_empty(entries, dtype=dtype), kept_mean, unit_sum


@torch.library.custom_op('mmseg_tapadl::blockwise_attention_backward', mutates_args=())
def _gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: MaybeTensor,
    gain: MaybeTensor,
    kept_mean: Tensor,
    unit_sum: Tensor,
    grad_out: MaybeTensor,
    grad_similarity: MaybeTensor,
    scale: float,
    threshold: MaybeFloat,
    num_prefix: int,
    needed: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of q, k, v, bias and gain; empty where not needed."""
    grads = AttentionGradients(q, k, v, bias, gain, (), needed)
    options = AttentionOptions(scale, threshold, num_prefix, None)
    gather(grads, options, kept_mean, unit_sum, grad_out, grad_similarity)
    found = [q.new_empty(0) if grad is None else grad.contiguous() for grad in grads.results()]
    return found[0], found[1], found[2], found[3], found[4]


@_gradients.register_fake
def _shapes_of_gradients(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, gain: Tensor | None, *others: Any
) -> tuple[Tensor, ...]:
    inputs = zip((q, k, v, bias, gain), others[-1], strict=True)
    return tuple(x.new_empty(x.shape) if x is not None and need else q.new_empty(0) for x, need in inputs)


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    q, k, v, bias, gain, *ctx.options = inputs
    _, _, kept_mean, unit_sum = output
    ctx.save_for_backward(q, k, v, bias, gain, kept_mean, unit_sum)


def _backward(
    ctx: Any, grad_out: Tensor | None, grad_similarity: Tensor | None, *_: Any
) -> tuple[Tensor | None, ...]:
    needed = list(ctx.needs_input_grad[:5])
    if ctx.options[1] is None:
        grad_similarity = None
    grads = _gradients(*ctx.saved_tensors, grad_out, grad_similarity, *ctx.options, needed)
    return (*(grad if need else None for grad, need in zip(grads, needed, strict=True)), None, None, None)


compiled_attention.register_autograd(_backward, setup_context=_keep)
