"""Blocks of attention: how the batch and its queries are cut, and P of one block from q, k, bias and gain.

The legend is that of ``layers/diversified_attention.py``; g are the batch entries and n the queries of one block,
h some of its heads. Matrix products take batch entries and heads as one axis, gh.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_tapadl.layers.budget import budget_for
from mmseg_tapadl.layers.score_terms import RowGain, part_of


@dataclass(frozen=True)
class AttentionOptions:
    """What attention is asked for, besides its tensors.

    Attributes:
        scale: Factor of the scores.
        threshold: tau; ``None`` computes no similarity.
        num_prefix: How many of the first queries and keys are no patches.
        row_gain: The gain, where it is given as a function.
    """

    scale: float
    threshold: float | None
    num_prefix: int
    row_gain: RowGain | None


class BlockPlan:
    """How attention is cut into blocks that fit the device's budget.

    Where the attention of one batch entry is small (windows), a block takes whole entries, several together;
    where it is large, some of the queries of one, and passes over it take some of its heads at a time.

    Args:
        q: Queries (B, H, N, D).
        num_keys: M.
    """

    def __init__(self, q: Tensor, num_keys: int):
        self.num_entries, self.num_heads, self.num_queries, _ = q.shape
        self.num_keys = num_keys
        self.dtype = statistics_dtype(q)
        budget = budget_for(q.device)
        row_bytes = self.num_heads * num_keys * self.dtype.itemsize
        fitting_rows = max(budget.attention_block_rows, budget.attention_block_bytes // row_bytes)
        self.rows_at_once = min(self.num_queries, fitting_rows)
        group_rows = min(fitting_rows, budget.attention_group_bytes // row_bytes)
        self.entries_at_once = min(self.num_entries, max(1, group_rows // self.num_queries))
        self.heads_at_once = self.num_heads
        if self.entries_at_once == 1 and budget.attention_heads_per_thread is not None:
            several = budget.attention_heads_per_thread * torch.get_num_threads()
            self.heads_at_once = min(self.num_heads, several)

    def groups(self) -> Iterator[slice]:
        """Ranges of the batch, in order."""
        return ranges(self.num_entries, self.entries_at_once)

    def blocks(self) -> Iterator[slice]:
        """Ranges of the queries of a group, in order."""
        return ranges(self.num_queries, self.rows_at_once)

    def heads(self) -> Iterator[slice]:
        """Ranges of the heads of a block, in order."""
        return ranges(self.num_heads, self.heads_at_once)

    def room(self, q: Tensor, num_heads: int) -> Tensor:
        """Room for so many heads of one block, in the dtype of P."""
        size = self.entries_at_once * num_heads * self.rows_at_once * self.num_keys
        return q.new_empty(size, dtype=self.dtype)

    def view(self, room: Tensor, entries: slice, heads: slice, rows: slice) -> Tensor:
        """The room as (g, h, n, M), contiguous also for a smaller last block."""
        shape = (*(part.stop - part.start for part in (entries, heads, rows)), self.num_keys)
        return room[: math.prod(shape)].view(shape)


class AttentionBlocks:
    """Computes P block by block, in room that is used again for each block.

    Args:
        plan: The blocks.
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        bias: (1|B, 1|H, 1|N, 1|M) or ``None``.
        gain: The same, or ``None``.
        options: The scale, and the gain as a function.
        keeps_heads: Whether P of all heads of a block is wanted together; otherwise only of the heads just computed.
        keeps_scores: Whether R is wanted beside it.
    """

    def __init__(
        self,
        plan: BlockPlan,
        q: Tensor,
        k: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        options: AttentionOptions,
        *,
        keeps_heads: bool = False,
        keeps_scores: bool = False,
    ):
        self.plan = plan
        self.q, self.k, self.bias, self.gain = q, k, bias, gain
        self.scale = options.scale
        self.row_gain = options.row_gain
        self.forbidden = None
        if bias is not None:
            forbidden = bias.detach().amax(-1, keepdim=True) == float('-inf')
            self.forbidden = forbidden if forbidden.any() else None
        self.keeps_heads = keeps_heads
        num_heads = plan.num_heads if keeps_heads else plan.heads_at_once
        self.p_room = plan.room(q, num_heads)
        self.scores_room = plan.room(q, num_heads) if keeps_scores else self.p_room

    def start_group(self, entries: slice) -> None:
        """Prepares what all blocks of these batch entries share."""
        self.entries = entries
        dtype = product_dtype(self.q)
        self.queries = self.q[entries].to(dtype)
        # Products with the same matrix for every block are faster where its rows lie in a piece.
        self.k_transposed = self.k[entries].mT.to(dtype).contiguous()

    def start_block(self, rows: slice) -> None:
        """Evaluates the gain of these queries, broadcastable to (g, H, n, M), with its graph if one is recorded."""
        self.rows = rows
        every_head = slice(0, self.plan.num_heads)
        self.block_gain = None
        if self.row_gain is not None:
            every_row = slice(0, rows.stop - rows.start)
            self.block_gain = part_of(self.row_gain(rows), self.entries, every_head, every_row)
        elif self.gain is not None:
            self.block_gain = part_of(self.gain, self.entries, every_head, rows)

    def queries_of(self, heads: slice) -> Tensor:
        """The queries (g h, n, D) of a block."""
        return self.queries[:, heads, self.rows].flatten(0, 1)

    def gain_of(self, heads: slice) -> Tensor | None:
        """The values of the block's gain for some heads, broadcastable to (g, h, n, M)."""
        if self.block_gain is None or self.block_gain.shape[1] == 1:
            return self.block_gain
        return self.block_gain[:, heads]

    def p(self, heads: slice) -> Tensor:
        """P (g, h, n, M) of some heads, as last computed."""
        return self._view(self.p_room, heads)

    def scores(self, heads: slice) -> Tensor:
        """R of some heads, as last computed, if it is kept."""
        return self._view(self.scores_room, heads)

    def attend(self, heads: slice) -> Tensor:
        """Computes P (g, h, n, M) of some heads of the block."""
        scores, p = self.scores(heads), self.p(heads)
        k_transposed = self.k_transposed[:, heads].flatten(0, 1)
        write_product(scores.flatten(0, 1), self.queries_of(heads), k_transposed, self.scale)
        gain = self.gain_of(heads)
        if gain is not None:
            torch.mul(scores, gain.detach(), out=p)
        if self.bias is not None:
            p += part_of(self.bias, self.entries, heads, self.rows)
        torch.softmax(p, -1, out=p)
        if self.forbidden is not None:
            p.masked_fill_(part_of(self.forbidden, self.entries, heads, self.rows), 0.0)
        return p

    def _view(self, room: Tensor, heads: slice) -> Tensor:
        if not self.keeps_heads:
            return self.plan.view(room, self.entries, heads, self.rows)
        return self.plan.view(room, self.entries, slice(0, self.plan.num_heads), self.rows)[:, heads]


def ranges(total: int, at_once: int) -> Iterator[slice]:
    """``range(total)`` in slices of at most ``at_once``."""
    for start in range(0, total, at_once):
        yield slice(start, min(start + at_once, total))


def write_product(out: Tensor, a: Tensor, b: Tensor, factor: float = 1.0) -> None:
    """``out = factor * (a @ b)``, also into a wider dtype than theirs."""
    if out.dtype == a.dtype:
        torch.baddbmm(out, a, b, beta=0, alpha=factor, out=out)
    else:
        torch.mul(torch.bmm(a, b), factor, out=out)


def add_product(total: Tensor, a: Tensor, b: Tensor, factor: float = 1.0) -> None:
    """``total += factor * (a @ b)``, also into a wider dtype than theirs."""
    if total.dtype == a.dtype:
        total.baddbmm_(a, b, alpha=factor)
    else:
        total.add_(torch.bmm(a, b), alpha=factor)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype of x, but float32 at least: that of P and of all that is summed."""
    return torch.promote_types(x.dtype, torch.float32)


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the factors of matrix products: that of x where the device gains by it, else the wider one."""
    return x.dtype if budget_for(x.device).half_products else statistics_dtype(x)
