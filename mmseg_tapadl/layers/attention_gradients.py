"""The gradients of attention, gathered from its blocks.

The legend and the formulas are those of ``layers/diversified_attention.py``; g are the batch entries and n the
queries of one block, h some of its heads. Matrix products take batch entries and heads as one axis, gh.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_tapadl.layers.attention_blocks import AttentionBlocks, add_product, statistics_dtype
from mmseg_tapadl.layers.score_terms import add_to_part, same_leaves


class AttentionGradients:
    """Sums the share of each block in the gradients that are asked for.

    Args:
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        v: Values (B, H, M, E).
        bias: (1|B, 1|H, 1|N, 1|M) or ``None``.
        gain: The same, or ``None``.
        parameters: Those of a gain that is a function.
        needed: Whether each of q, k, v, bias, gain needs a gradient.
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        parameters: Sequence[Tensor],
        needed: Sequence[bool],
    ):
        needs_q, needs_k, needs_v, needs_bias, needs_gain = needed
        dtype = statistics_dtype(q)
        self.q_grad = torch.empty_like(q) if needs_q else None
        # k and v gather gradient from every block, so theirs is summed in the accurate dtype, and channel by
        # channel: so the sum's matrix product is nearly twice as fast.
        self.k_sum, self.v_sum = (
            torch.zeros_like(x.mT, dtype=dtype, memory_format=torch.contiguous_format) if needed else None
            for x, needed in ((k, needs_k), (v, needs_v))
        )
        self.bias_sum, self.gain_sum = (
            torch.zeros_like(x, dtype=dtype) if x is not None and needed else None
            for x, needed in ((bias, needs_bias), (gain, needs_gain))
        )
        self.like = (q, k, v, bias, gain)
        self.parameters = parameters
        self.parameter_sums = [torch.zeros_like(parameter) for parameter in parameters]

    @property
    def needs_gain(self) -> bool:
        """Whether a gain, or what it is computed from, needs a gradient."""
        return self.gain_sum is not None or bool(self.parameters)

    @property
    def needs_scores(self) -> bool:
        """Whether anything but v needs a gradient."""
        return self.needs_gain or any(x is not None for x in (self.q_grad, self.k_sum, self.bias_sum))

    def check_gain(self, blocks: AttentionBlocks) -> None:
        """Raises ``ValueError`` for a gain by rows that depends on parameters of which the first rows' did not."""
        if blocks.row_gain is not None and not same_leaves(blocks.block_gain, self.parameters):
            raise ValueError(
                f'gain(rows) of queries {blocks.rows.start} to {blocks.rows.stop - 1} depends on parameters that the '
                'first rows do not depend on, and their gradient would be lost: compute all rows from the same'
            )

    def add_values(self, p: Tensor, grad_rows: Tensor, entries: slice, heads: slice) -> None:
        """Adds a block's share in the gradient of v: P (g, h, n, M), and dO (gh, n, E) of its rows."""
        if self.v_sum is not None:
            total = self.v_sum[entries, heads].flatten(0, 1)
            add_product(total, grad_rows.mT, p.flatten(0, 1).to(grad_rows.dtype))

    def add_scores(self, grad_scores: Tensor, blocks: AttentionBlocks, heads: slice) -> None:
        """Adds a block's share in the gradients of bias, q and k; where the gain needs one, R becomes dG.

        Args:
            grad_scores: dS (g, h, n, M); overwritten.
            blocks: The block.
            heads: Its heads of which dS is given.
        """
        entries, rows = blocks.entries, blocks.rows
        if self.bias_sum is not None:
            add_to_part(self.bias_sum, entries, heads, rows, grad_scores)
        gain = blocks.gain_of(heads)
        if gain is not None:
            if self.needs_gain:
                blocks.scores(heads).mul_(grad_scores)
            grad_scores.mul_(gain.detach())
        k_transposed = blocks.k_transposed[:, heads].flatten(0, 1)
        factor = grad_scores.flatten(0, 1).to(k_transposed.dtype)
        if self.q_grad is not None:
            product = (factor @ k_transposed.mT).mul_(blocks.scale)
            self.q_grad[entries, heads, rows] = product.unflatten(0, grad_scores.shape[:2])
        if self.k_sum is not None:
            total = self.k_sum[entries, heads].flatten(0, 1)
            add_product(total, blocks.queries_of(heads).mT, factor, blocks.scale)

    def add_gain(self, blocks: AttentionBlocks) -> None:
        """Adds a block's share in the gradient of the gain, after that of all its heads has become dG."""
        if not self.needs_gain or blocks.block_gain is None:
            return
        every_head = slice(0, blocks.plan.num_heads)
        grad_gain = blocks.scores(every_head)
        if self.gain_sum is not None:
            add_to_part(self.gain_sum, blocks.entries, every_head, blocks.rows, grad_gain)
        elif blocks.block_gain.requires_grad:
            grad_gain = grad_gain.sum_to_size(blocks.block_gain.shape)
            # What the function computed before the block stays for the next one.
            grads = torch.autograd.grad(
                blocks.block_gain, self.parameters, grad_gain, retain_graph=True, allow_unused=True
            )
            for total, grad in zip(self.parameter_sums, grads, strict=True):
                if grad is not None:
                    total += grad

    def results(self) -> tuple[Tensor | None, ...]:
        """The gradients of q, k, v, bias and gain, in their dtypes, ``None`` where not asked for, and the parameters'."""
        k_grad, v_grad = (None if x is None else x.mT for x in (self.k_sum, self.v_sum))
        grads = (self.q_grad, k_grad, v_grad, self.bias_sum, self.gain_sum)
        return (
            *(None if g is None else g.to(x.dtype) for g, x in zip(grads, self.like, strict=True)),
            *self.parameter_sums,
        )
