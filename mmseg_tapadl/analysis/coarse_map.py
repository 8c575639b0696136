"""The N x N map of an attention, small enough to look at: cells of tokens in place of tokens.

Legend: N' and M' patches among queries and keys, n', m' the cells that they are gathered in.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mmseg_tapadl.analysis.row_blocks import RowBlock
from mmseg_tapadl.analysis.token_places import Grid

MOST_CELLS = 200
"""Along each side of the map: that of the paper's 14 x 14 tokens is shown as it is."""


class CoarseMap:
    """The mean attention of the queries of a cell to the keys of a cell, over M': 1 is even.

    Cells are squares of neighbouring tokens, row by row as tokens are.

    Args:
        entry: The batch entry that is looked at.
        query_grid: Rows and columns of its patch queries.
        key_grid: Rows and columns of its patch keys.
        num_heads: H.
        by_head: Whether each head has a map of its own, beside that of their mean.
    """

    def __init__(self, entry: int, query_grid: Grid, key_grid: Grid, *, num_heads: int, by_head: bool):
        self.entry = entry
        self.by_head = by_head
        self.key_grid = key_grid
        self.key_side = cell_side(key_grid)
        self.query_cells, counts = cells_of(query_grid, cell_side(query_grid))
        self.counts = counts
        maps = 1 + (num_heads if by_head else 0)
        keys = math.prod(-(-length // self.key_side) for length in key_grid)
        self.sums = torch.zeros(maps, len(counts), keys, dtype=torch.float64)

    def add(self, block: RowBlock, means: Tensor) -> None:
        """Adds a block: P, and its rows a_i (g, n', M')."""
        if not block.entries.start <= self.entry < block.entries.stop or means.shape[1] == 0:
            return
        place = self.entry - block.entries.start
        rows = means[place][None]
        if self.by_head:
            rows = torch.cat((rows, block.patches[place]))
        pooled = F.avg_pool2d(
            rows.unflatten(-1, self.key_grid), self.key_side, ceil_mode=True, count_include_pad=False
        ).flatten(2)
        cells = self.query_cells[block.patch_rows].to(pooled.device)
        self.sums = self.sums.to(pooled.device)
        self.sums.index_add_(1, cells, pooled.double())

    def finish(self) -> Tensor:
        """The maps (1 or 1 + H, n', m'), that of the heads' mean first."""
        maps = self.sums / self.counts.to(self.sums)[:, None]
        return maps * math.prod(self.key_grid)


def cell_side(grid: Grid) -> int:
    """Tokens along a cell's side, so that there are at most :data:`MOST_CELLS`."""
    side = 1
    while math.prod(-(-length // side) for length in grid) > MOST_CELLS:
        side += 1
    return side


def cells_of(grid: Grid, side: int) -> tuple[Tensor, Tensor]:
    """The cell of each token, and how many tokens each cell has."""
    columns = -(-grid[1] // side)
    cells = (torch.arange(grid[0])[:, None] // side * columns + torch.arange(grid[1]) // side).flatten()
    return cells, torch.bincount(cells)
