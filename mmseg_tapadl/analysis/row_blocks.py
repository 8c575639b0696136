"""Attention, a block of queries at a time: nothing of size N x M outlives a block.

The legend is that of ``layers/diversified_attention.py``; g are the batch entries and n the queries of one block.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_tapadl.layers.attention_blocks import AttentionBlocks, AttentionOptions, BlockPlan
from mmseg_tapadl.layers.attention_watch import AttentionInputs
from mmseg_tapadl.layers.diversified_attention import check_attention_inputs, check_num_prefix
from mmseg_tapadl.layers.score_terms import RowGain, as_score_tensor


@dataclass(frozen=True)
class RowBlock:
    """Attention of some queries of some batch entries.

    Attributes:
        entries: Which batch entries.
        rows: Which queries, prefix tokens counted.
        p: P (g, H, n, M); the next block may be written into the same memory.
        num_prefix: How many of the first queries and keys are no patches.
    """

    entries: slice
    rows: slice
    p: Tensor
    num_prefix: int

    @property
    def patch_queries(self) -> slice:
        """Which of the n queries are patches; may be empty."""
        return slice(max(0, self.num_prefix - self.rows.start), self.rows.stop - self.rows.start)

    @property
    def patch_rows(self) -> slice:
        """Which of the N' patch queries these are."""
        return slice(max(0, self.rows.start - self.num_prefix), max(0, self.rows.stop - self.num_prefix))

    @property
    def patches(self) -> Tensor:
        """P of the patch queries over the patch keys, (g, H, n', M')."""
        return self.p[:, :, self.patch_queries, self.num_prefix :]


def row_blocks(inputs: AttentionInputs) -> Iterator[RowBlock]:
    """Goes over all of P once.

    Raises:
        ValueError: Shapes, dtypes or devices that do not agree, or a ``num_prefix`` that leaves no patch.
    """
    q, k = inputs.q, inputs.k
    check_attention_inputs(q, k, k)
    check_num_prefix(inputs.num_prefix, q, k)
    plan = BlockPlan(q, k.shape[2])
    every_head = slice(0, q.shape[1])
    with torch.autocast(q.device.type, enabled=False):
        blocks = attention_blocks(inputs, plan)
        for entries in plan.groups():
            blocks.start_group(entries)
            for rows in plan.blocks():
                blocks.start_block(rows)
                for heads in plan.heads():
                    blocks.attend(heads)
                yield RowBlock(entries, rows, blocks.p(every_head), inputs.num_prefix)


def attention_blocks(inputs: AttentionInputs, plan: BlockPlan) -> AttentionBlocks:
    """What computes P of these inputs by a plan."""
    q, k = inputs.q, inputs.k
    shape = (*q.shape[:3], k.shape[2])
    bias = None if inputs.bias is None else as_score_tensor('bias', inputs.bias, shape, q.device)
    gain = row_gain = None
    if isinstance(inputs.gain, Tensor):
        gain = as_score_tensor('gain', inputs.gain, shape, q.device)
    elif inputs.gain is not None:
        row_gain = RowGain(inputs.gain, q, k.shape[2])
    options = AttentionOptions(
        scale=q.shape[-1] ** -0.5 if inputs.scale is None else inputs.scale,
        threshold=None,
        num_prefix=inputs.num_prefix,
        row_gain=row_gain,
    )
    return AttentionBlocks(plan, q, k, bias, gain, options, keeps_heads=True)


def row_of(inputs: AttentionInputs, entry: int, query: int) -> Tensor:
    """P of one patch query of one batch entry over all keys, by head: (H, M).

    Args:
        inputs: The attention.
        entry: Which of the B.
        query: Which of the N' patch queries.
    """
    row = query + inputs.num_prefix
    one = slice(row, row + 1)
    q = inputs.q[entry : entry + 1, :, one]
    bias, gain = inputs.bias, inputs.gain
    shape = (*inputs.q.shape[:3], inputs.k.shape[2])
    if bias is not None:
        bias = part_for(as_score_tensor('bias', bias, shape, q.device), entry, one)
    if isinstance(gain, Tensor):
        gain = part_for(as_score_tensor('gain', gain, shape, q.device), entry, one)
    elif gain is not None:
        gain = part_for(RowGain(gain, inputs.q, shape[3])(one), entry, slice(0, 1))
    (block,) = row_blocks(AttentionInputs(q, inputs.k[entry : entry + 1], inputs.scale, bias, gain))
    return block.p[0, :, 0].clone()


def part_for(tensor: Tensor, entry: int, rows: slice) -> Tensor:
    """The part of a bias or gain (1|B, 1|H, 1|N, 1|M) for one entry and some rows."""
    if tensor.shape[0] > 1:
        tensor = tensor[entry : entry + 1]
    return tensor[:, :, rows] if tensor.shape[2] > 1 else tensor
