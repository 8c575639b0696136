"""Attention and the similarity of its rows in one pass over blocks, forward and backward.

The legend and the formulas are those of ``layers/diversified_attention.py``. Nothing of size N x M outlives a
block, and the matrix products are those of plain attention.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_tapadl.layers.attention_blocks import (
    AttentionBlocks,
    AttentionOptions,
    BlockPlan,
    product_dtype,
    statistics_dtype,
    write_product,
)
from mmseg_tapadl.layers.attention_gradients import AttentionGradients
from mmseg_tapadl.layers.row_similarity import RowMeans, SimilarityGradient, SimilaritySums


class BlockwiseAttention(torch.autograd.Function):
    """``(q, k, v, bias, gain, options, *parameters) -> (out, similarity)``; see ``diversified_attention``.

    ``bias`` and ``gain`` are (1|B, 1|H, 1|N, 1|M) or ``None``; ``parameters`` are those of a gain that is a
    function. Kept for the backward pass: the inputs, and two vectors of M' entries a batch entry. P is
    computed again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        options: AttentionOptions,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        out, similarity, kept_mean, unit_sum = attend(q, k, v, bias, gain, options)
        ctx.save_for_backward(q, k, v, bias, gain, kept_mean, unit_sum, *parameters)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return out, similarity

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor | None, grad_similarity: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        q, k, v, bias, gain, kept_mean, unit_sum, *parameters = ctx.saved_tensors
        grads = AttentionGradients(q, k, v, bias, gain, parameters, ctx.needs_input_grad[:5])
        gather(grads, ctx.options, kept_mean, unit_sum, grad_out, grad_similarity)
        q_grad, k_grad, v_grad, bias_grad, gain_grad, *parameter_grads = grads.results()
        return q_grad, k_grad, v_grad, bias_grad, gain_grad, None, *parameter_grads


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, gain: Tensor | None, options: AttentionOptions
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The attended values and the similarity, and s and u (B, M'), from which the gradient of the latter follows.

    Without a threshold the last three are empty.
    """
    num_entries, num_heads, num_queries, _ = q.shape
    # In memory token by token, so that joining the heads afterwards copies nothing.
    out = q.new_empty(num_entries, num_queries, num_heads, v.shape[-1]).transpose(1, 2)
    # Statistics are summed in float32 at least, whatever the inputs and autocast are.
    similarity = kept_mean = unit_sum = q.new_empty(0, dtype=statistics_dtype(q))
    sums = None
    if options.threshold is not None:
        num_keys = k.shape[2] - options.num_prefix
        sums = SimilaritySums(
            similarity,
            num_entries,
            num_queries - options.num_prefix,
            num_keys,
            options.threshold / num_keys,
        )
    plan = BlockPlan(q, k.shape[2])
    means = RowMeans(q.shape[1], options.num_prefix)
    with torch.autocast(q.device.type, enabled=False):
        blocks = AttentionBlocks(plan, q, k, bias, gain, options)
        for entries in plan.groups():
            blocks.start_group(entries)
            values = v[entries].to(product_dtype(v)).contiguous()
            for rows in plan.blocks():
                blocks.start_block(rows)
                for heads in plan.heads():
                    p = blocks.attend(heads)
                    attended = p.flatten(0, 1).to(values.dtype) @ values[:, heads].flatten(0, 1)
                    out[entries, heads, rows] = attended.unflatten(0, p.shape[:2])
                    if sums is not None:
                        means.add(p, heads, rows)
                if sums is not None:
                    sums.add(means.rows, entries)
        if sums is not None:
            similarity, kept_mean, unit_sum = sums.finish()
    return out, similarity, kept_mean, unit_sum


def gather(
    grads: AttentionGradients,
    options: AttentionOptions,
    kept_mean: Tensor,
    unit_sum: Tensor,
    grad_out: Tensor | None,
    grad_similarity: Tensor | None,
) -> None:
    """Gathers the gradients block by block.

    Args:
        grads: Of the inputs of :func:`attend`.
        options: As it was given.
        kept_mean: s, as it returned it.
        unit_sum: u.
        grad_out: The gradient of the attended values; ``None`` is zero, here and below.
        grad_similarity: That of the similarity.
    """
    q, k, v, bias, gain = grads.like
    plan = BlockPlan(q, k.shape[2])
    means = RowMeans(q.shape[1], options.num_prefix)
    with torch.autocast(q.device.type, enabled=False):
        blocks = AttentionBlocks(
            plan, q, k, bias, gain, options, keeps_heads=True, keeps_scores=grads.needs_gain
        )
        grad_room = plan.room(q, plan.heads_at_once)
        for entries in plan.groups():
            blocks.start_group(entries)
            v_transposed = v[entries].mT.to(product_dtype(v)).contiguous()
            similarity_gradient = None
            if grad_similarity is not None and options.threshold is not None:
                similarity_gradient = SimilarityGradient(
                    kept_mean[entries],
                    unit_sum[entries],
                    grad_similarity[entries],
                    limit=options.threshold / kept_mean.shape[1],
                    num_heads=q.shape[1],
                    num_queries=q.shape[2] - options.num_prefix,
                )
            for rows in plan.blocks():
                with torch.set_grad_enabled(options.row_gain is not None):
                    blocks.start_block(rows)
                grads.check_gain(blocks)
                grad_rows = None if grad_out is None else grad_out[entries, :, rows].to(v_transposed.dtype)
                for heads in plan.heads():
                    p = blocks.attend(heads)
                    if grad_rows is not None:
                        grads.add_values(p, grad_rows[:, heads].flatten(0, 1), entries, heads)
                    if similarity_gradient is not None:
                        means.add(p, heads, rows)
                if not grads.needs_scores:
                    continue
                if similarity_gradient is not None:
                    grad_means = similarity_gradient.of_rows(means.rows)[:, None]
                for heads in plan.heads():
                    p = blocks.p(heads)
                    grad_p = plan.view(grad_room, entries, heads, rows)
                    if grad_rows is None:
                        grad_p.zero_()
                    else:
                        factors = (x[:, heads].flatten(0, 1) for x in (grad_rows, v_transposed))
                        write_product(grad_p.flatten(0, 1), *factors)
                    if similarity_gradient is not None:
                        patches = means.patches(grad_p, rows)
                        patches += grad_means
                    # The softmax backward, fused: grad_p becomes the gradient of the scores, in place.
                    torch.ops.aten._softmax_backward_data.out(grad_p, p, -1, p.dtype, grad_input=grad_p)
                    grads.add_scores(grad_p, blocks, heads)
                grads.add_gain(blocks)
