"""Attention and its similarity on one pass over blocks of queries, forward and backward.

Legend: B images, H heads, N queries, M keys, D channels of a head, n queries of one block; t the limit
``threshold / M``. One image at a time: P is the attention of a block (H, n, M), a_i its mean over the
heads of row i (M,), m_i = T(a_i) keeps the entries above t, s = T(abar) those of the mean row abar (M,),
x^ is x at length 1, u = sum_i m^_i (M,), and the similarity is L = 1/N s^ . u.

With g the gradient of L, the gradient of a row is

    e_i = g/N [ 1(a_i > t) (s^ - (s^ . m^_i) m^_i) / |m_i|  +  1(abar > t) (u - (s^ . u) s^) / (N |s|) ]

and joins that of the attention, dP^h_i = dO^h_i V^h^T + e_i / H, before the softmax backward. Nothing of
size N x M outlives a block, and the matrix products are those of plain attention.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmseg_tapadl.layers.budget import budget_for


class BlockwiseAttention(torch.autograd.Function):
    """``(q, k, v, scale, threshold) -> (out, similarity)``; see ``diversified_attention``.

    Kept for the backward pass: q, k, v and two vectors of M entries an image. P is computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, threshold: float
    ) -> tuple[Tensor, Tensor]:
        num_images, _, num_keys, _ = k.shape
        limit = threshold / num_keys
        # In memory token by token, so that joining the heads afterwards copies nothing.
        out = q.new_empty(num_images, q.shape[2], q.shape[1], v.shape[-1]).transpose(1, 2)
        # Statistics are summed in float32 at least, whatever the inputs and autocast are.
        mean_row, unit_sum = q.new_zeros(2, num_images, num_keys, dtype=statistics_dtype(q))
        with torch.autocast(q.device.type, enabled=False):
            for b in range(num_images):
                attend_image(q[b], k[b], v[b], scale, limit, out[b], mean_row[b], unit_sum[b])
            kept_mean = F.threshold(mean_row, limit, 0.0)
            unit_mean = kept_mean * inverse_length(kept_mean)
            similarity = (unit_mean * unit_sum).sum(-1) / q.shape[2]
        ctx.save_for_backward(q, k, v, kept_mean, unit_sum)
        ctx.scale, ctx.limit = scale, limit
        ctx.set_materialize_grads(False)
        return out, similarity

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor | None, grad_similarity: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        q, k, v, kept_mean, unit_sum = ctx.saved_tensors
        needs_q, needs_k, needs_v = ctx.needs_input_grad[:3]
        dtype = statistics_dtype(q)
        grad_q = torch.empty_like(q) if needs_q else None
        # k and v gather gradient from every block, so theirs is summed in the accurate dtype, and channel by
        # channel: so the sum's matrix product is nearly twice as fast.
        grad_k, grad_v = (
            torch.zeros_like(x.mT, dtype=dtype, memory_format=torch.contiguous_format) if needed else None
            for x, needed in ((k, needs_k), (v, needs_v))
        )
        with torch.autocast(q.device.type, enabled=False):
            for b in range(len(q)):
                out_b, q_b, k_b, v_b = (
                    None if x is None else x[b] for x in (grad_out, grad_q, grad_k, grad_v)
                )
                similarity_gradient = None
                if grad_similarity is not None:
                    similarity_gradient = SimilarityGradient(
                        kept_mean[b], unit_sum[b], grad_similarity[b], ctx.limit, *q.shape[1:3]
                    )
                backpropagate_image(q[b], k[b], v[b], ctx.scale, out_b, similarity_gradient, q_b, k_b, v_b)
        grad_k, grad_v = (None if x is None else x.mT.to(q.dtype) for x in (grad_k, grad_v))
        return grad_q, grad_k, grad_v, None, None


def attend_image(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    limit: float,
    out: Tensor,
    mean_row: Tensor,
    unit_sum: Tensor,
) -> None:
    """One image: writes the attended values into ``out``, adds abar to ``mean_row`` and u to ``unit_sum``."""
    dtype = product_dtype(q)
    # Products with the same matrix for every block are faster where its rows lie in a piece.
    q, k_transposed, v = (q * scale).to(dtype), k.mT.to(dtype).contiguous(), v.to(dtype).contiguous()
    buffer = BlockBuffer(q, k.shape[1])
    for block in buffer.blocks():
        p = buffer.attend(q[:, block], k_transposed)
        out[:, block] = p.to(dtype) @ v
        kept = buffer.mean_over_heads(p)
        mean_row += kept.sum(0)
        torch.threshold_(kept, limit, 0.0)
        unit_sum.addmv_(kept.mT, inverse_length(kept)[:, 0])
    mean_row /= q.shape[1]


def backpropagate_image(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    grad_out: Tensor | None,
    similarity_gradient: 'SimilarityGradient | None',
    grad_q: Tensor | None,
    grad_k: Tensor | None,
    grad_v: Tensor | None,
) -> None:
    """One image: writes the gradient of q, adds those of k and v to ``grad_k`` and ``grad_v``, where asked.

    Unlike the others, ``grad_k`` and ``grad_v`` are (H, D, M) and (H, E, M).

    ``grad_out`` and ``similarity_gradient`` are what reaches the attended values and the similarity; ``None`` is nothing.
    """
    dtype = product_dtype(q)
    q, k = (q * scale).to(dtype), k.to(dtype).contiguous()
    k_transposed, v_transposed = k.mT.contiguous(), v.mT.to(dtype).contiguous()
    p_buffer, grad_buffer = BlockBuffer(q, k.shape[1]), BlockBuffer(q, k.shape[1])
    for block in p_buffer.blocks():
        p = p_buffer.attend(q[:, block], k_transposed)
        grad_p = grad_buffer.view(p.shape[1])
        if grad_out is None:
            grad_p.zero_()
        else:
            grad_block = grad_out[:, block].to(dtype)
            write_product(grad_p, grad_block, v_transposed)
            if grad_v is not None:
                add_product(grad_v, grad_block.mT, p.to(dtype))
        if grad_q is None and grad_k is None:
            continue
        if similarity_gradient is not None:
            grad_p += similarity_gradient.on_rows(p_buffer.mean_over_heads(p))
        # The softmax backward, fused: grad_p becomes the gradient of the scores, in place.
        torch.ops.aten._softmax_backward_data.out(grad_p, p, -1, p.dtype, grad_input=grad_p)
        grad_scores = grad_p.to(dtype)
        if grad_q is not None:
            grad_q[:, block] = (grad_scores @ k).mul_(scale)
        if grad_k is not None:
            add_product(grad_k, q[:, block].mT, grad_scores)


class SimilarityGradient:
    """What the gradient of one image's similarity adds to each row's gradient of P, the same for all heads."""

    def __init__(
        self,
        kept_mean: Tensor,
        unit_sum: Tensor,
        grad: Tensor,
        limit: float,
        num_heads: int,
        num_queries: int,
    ):
        inverse = inverse_length(kept_mean)
        self.limit = limit
        self.factor = grad / (num_heads * num_queries)
        self.unit_mean = kept_mean * inverse
        cosine = self.unit_mean @ unit_sum
        through_mean = (unit_sum - cosine * self.unit_mean) * (inverse / num_queries)
        self.through_mean = self.factor * torch.where(kept_mean > 0, through_mean, 0.0)

    def on_rows(self, rows: Tensor) -> Tensor:
        """e_i / H for rows a_i (n, M), which are overwritten."""
        kept = torch.threshold_(rows, self.limit, 0.0)
        inverse = inverse_length(kept)
        cosine = (kept @ self.unit_mean)[:, None] * inverse
        # The kept entries of s^, at 1 / |m_i|, less the part along m^_i.
        similarity_gradient = kept.sign()
        similarity_gradient.mul_(self.unit_mean).sub_(kept.mul_(cosine * inverse)).mul_(inverse * self.factor)
        return similarity_gradient.add_(self.through_mean)


class BlockBuffer:
    """Room for the attention of one block of one image's queries, in float32 at least, used again for each block.

    Args:
        q: Queries (H, N, D): how many there are, and on which device.
        num_keys: M.
    """

    def __init__(self, q: Tensor, num_keys: int):
        self.num_heads, self.num_queries, _ = q.shape
        self.num_keys = num_keys
        dtype = statistics_dtype(q)
        row_bytes = self.num_heads * num_keys * dtype.itemsize
        fitting = budget_for(q.device).attention_block_bytes // row_bytes
        self.block = min(self.num_queries, max(1, fitting))
        self.flat = q.new_empty(self.num_heads * self.block * num_keys, dtype=dtype)
        self.rows = q.new_empty(self.block, num_keys, dtype=dtype)

    def blocks(self) -> Iterator[slice]:
        """The ranges of queries, in order."""
        for start in range(0, self.num_queries, self.block):
            yield slice(start, min(start + self.block, self.num_queries))

    def view(self, num_rows: int) -> Tensor:
        """The buffer as (H, n, M) for n = ``num_rows``, contiguous also for a shorter last block."""
        shape = (self.num_heads, num_rows, self.num_keys)
        return self.flat[: self.num_heads * num_rows * self.num_keys].view(shape)

    def attend(self, q: Tensor, k_transposed: Tensor) -> Tensor:
        """P of a block (H, n, M), in the buffer, from its scaled queries (H, n, D) and the keys (H, D, M)."""
        p = self.view(q.shape[1])
        scores = torch.bmm(q, k_transposed, out=p if q.dtype == p.dtype else None)
        return torch.softmax(scores, -1, p.dtype, out=p)

    def mean_over_heads(self, p: Tensor) -> Tensor:
        """The rows a_i (n, M) of a block of P (H, n, M), in room of their own."""
        return torch.mean(p, 0, out=self.rows[: p.shape[1]])


def write_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """``out = a @ b``, also into a wider dtype than theirs."""
    if out.dtype == a.dtype:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a, b))


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total += a @ b``, also into a wider dtype than theirs."""
    if total.dtype == a.dtype:
        total.baddbmm_(a, b)
    else:
        total += torch.bmm(a, b)


def inverse_length(x: Tensor) -> Tensor:
    """1 / |x| along the last axis, which is kept; 0 for a zero vector."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.where(length == 0, 0.0, 1.0 / length)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype of x, but float32 at least: that of P and of all that is summed."""
    return torch.promote_types(x.dtype, torch.float32)


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the factors of matrix products: that of x where the device gains by it, else the wider one."""
    return x.dtype if budget_for(x.device).half_products else statistics_dtype(x)
