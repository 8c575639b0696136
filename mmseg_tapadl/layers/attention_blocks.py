"""Blocks of attention: how the batch and its queries are cut, and P of one block from q, k, bias and gain.

The legend is that of ``layers/diversified_attention.py``; g are the batch entries and n the queries of one block.
Matrix products take batch entries and heads as one axis, gH.
"""

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
    where it is large, some of the queries of one.

    Args:
        q: Queries (B, H, N, D).
        num_keys: M.
    """

    def __init__(self, q: Tensor, num_keys: int):
        self.num_entries, self.num_heads, self.num_queries, _ = q.shape
        self.num_keys = num_keys
        row_bytes = self.num_heads * num_keys * statistics_dtype(q).itemsize
        fitting_rows = max(1, budget_for(q.device).attention_block_bytes // row_bytes)
        self.rows_at_once = min(self.num_queries, fitting_rows)
        self.entries_at_once = min(self.num_entries, max(1, fitting_rows // self.num_queries))

    def groups(self) -> Iterator[slice]:
        """Ranges of the batch, in order."""
        return ranges(self.num_entries, self.entries_at_once)

    def blocks(self) -> Iterator[slice]:
        """Ranges of the queries of a group, in order."""
        return ranges(self.num_queries, self.rows_at_once)

    def room(self, q: Tensor) -> Tensor:
        """Room for one block, in the dtype of P."""
        size = self.entries_at_once * self.num_heads * self.rows_at_once * self.num_keys
        return q.new_empty(size, dtype=statistics_dtype(q))

    def view(self, room: Tensor, entries: slice, rows: slice) -> Tensor:
        """The room as (g, H, n, M), contiguous also for a smaller last block."""
        shape = (entries.stop - entries.start, self.num_heads, rows.stop - rows.start, self.num_keys)
        return room[: shape[0] * shape[1] * shape[2] * shape[3]].view(shape)


class AttentionBlocks:
    """Computes P block by block, in room that is used again for each block.

    Args:
        plan: The blocks.
        q: Queries (B, H, N, D).
        k: Keys (B, H, M, D).
        bias: (1|B, 1|H, 1|N, 1|M) or ``None``.
        gain: The same, or ``None``.
        options: The scale, and the gain as a function.
        keeps_scores: Whether R is wanted beside P.
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
        self.room = plan.room(q)
        self.scores_room = plan.room(q) if keeps_scores else self.room

    def start_group(self, entries: slice) -> None:
        """Prepares what all blocks of these batch entries share."""
        self.entries = entries
        dtype = product_dtype(self.q)
        self.scaled_q = (self.q[entries] * self.scale).to(dtype).flatten(0, 1)
        # Products with the same matrix for every block are faster where its rows lie in a piece.
        self.k_transposed = self.k[entries].mT.to(dtype).contiguous().flatten(0, 1)

    def gain_of_block(self, rows: slice) -> Tensor | None:
        """G of a block, broadcastable to (g, H, n, M); with a gradient where one is wanted of a function."""
        if self.row_gain is not None:
            return part_of(self.row_gain(rows), self.entries, slice(None))
        return None if self.gain is None else part_of(self.gain, self.entries, rows)

    def attend(self, rows: slice, gain: Tensor | None) -> tuple[Tensor, Tensor]:
        """P and R (g, H, n, M) of a block with that gain, until the next call; one overwrites the other as a rule."""
        scores = self.plan.view(self.scores_room, self.entries, rows)
        write_product(scores.flatten(0, 1), self.scaled_q[:, rows], self.k_transposed)
        p = self.plan.view(self.room, self.entries, rows)
        if gain is not None:
            torch.mul(scores, gain.detach(), out=p)
        if self.bias is not None:
            p += part_of(self.bias, self.entries, rows)
        torch.softmax(p, -1, out=p)
        if self.forbidden is not None:
            p.masked_fill_(part_of(self.forbidden, self.entries, rows), 0.0)
        return p, scores


def ranges(total: int, at_once: int) -> Iterator[slice]:
    """``range(total)`` in slices of at most ``at_once``."""
    for start in range(0, total, at_once):
        yield slice(start, min(start + at_once, total))


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


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The dtype of x, but float32 at least: that of P and of all that is summed."""
    return torch.promote_types(x.dtype, torch.float32)


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of the factors of matrix products: that of x where the device gains by it, else the wider one."""
    return x.dtype if budget_for(x.device).half_products else statistics_dtype(x)
