"""Where the queries and keys of an attention lie in the picture that the encoder got.

Legend: B pictures, W windows of a picture (1 where attention looks over the whole grid), N' and M' patches among the
queries and keys of a window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_tapadl.layers import AttentionGrid
from mmseg_tapadl.layers.attention_watch import AttentionInputs

Grid = tuple[int, int]


@dataclass(frozen=True)
class TokenPlaces:
    """The places of an attention's patches.

    Attributes:
        query_grid: Rows and columns of queries, filled up to whole windows.
        key_grid: Rows and columns of keys, filled up likewise.
        query_stride: Pixels between queries.
        key_stride: Pixels between keys.
        query_cells: (W, N') the cell of each query in its grid, counted row by row.
        key_cells: (W, M') the cell of each key.
    """

    query_grid: Grid
    key_grid: Grid
    query_stride: int
    key_stride: int
    query_cells: Tensor
    key_cells: Tensor

    @property
    def windows(self) -> int:
        """W."""
        return len(self.query_cells)

    def query_centres(self) -> Tensor:
        """(W, N', 2) float64: y and x of the middle of each query's cell, in pixels of the encoder's picture."""
        return centres(self.query_cells, self.query_grid, self.query_stride)

    def key_centres(self) -> Tensor:
        """(W, M', 2), likewise of the keys."""
        return centres(self.key_cells, self.key_grid, self.key_stride)

    def query_at(self, x: float, y: float) -> tuple[int, int]:
        """The window, and the query within it, whose cell holds a pixel of the encoder's picture."""
        row, column = (
            min(int(place // self.query_stride), size - 1)
            for place, size in zip((y, x), self.query_grid, strict=True)
        )
        window, query = (self.query_cells == row * self.query_grid[1] + column).nonzero()[0].tolist()
        return window, query

    def key_maps(self, values: Tensor) -> Tensor:
        """Values of the keys (W, ..., M') on the grid of keys (..., rows, columns)."""
        inner = values.shape[1:-1]
        flat = values.new_zeros(*inner, self.key_grid[0] * self.key_grid[1])
        for window, cells in enumerate(self.key_cells):
            flat[..., cells] = values[window]
        return flat.unflatten(-1, self.key_grid)


def centres(cells: Tensor, grid: Grid, stride: int) -> Tensor:
    """y and x of the middle of each cell, in pixels: (..., 2), float64."""
    rows, columns = cells // grid[1], cells % grid[1]
    return (torch.stack((rows, columns), dim=-1).double() + 0.5) * stride


def places_of(
    encoder: nn.Module, name: str, inputs: AttentionInputs, *, pictures: int, size: tuple[int, int]
) -> TokenPlaces | None:
    """Finds where the tokens of an attention lie.

    Encoders of this project tell it (``attention_grid``); for others see :func:`guessed_grid`.

    Args:
        encoder: Holds the attention.
        name: Of the attention within it.
        inputs: What the attention was computed from.
        pictures: B, of which the attention's entries are made.
        size: Height and width of the picture as the encoder got it.

    Returns:
        ``None`` where the tokens lie on no such grid.
    """
    tell = getattr(encoder, 'attention_grid', None)
    queries, keys = (tensor.shape[2] - inputs.num_prefix for tensor in (inputs.q, inputs.k))
    entries = inputs.q.shape[0]
    grid = tell(name) if tell is not None else guessed_grid(size, queries, keys)
    if grid is None or entries % pictures:
        return None
    if grid.window_size is not None:
        return places_in_windows(grid, size, queries=queries, keys=keys, windows=entries // pictures)
    rows, columns = (-(-side // grid.stride) for side in size)
    key_grid = reduced((rows, columns), grid.key_ratio)
    if entries != pictures or (rows * columns, key_grid[0] * key_grid[1]) != (queries, keys):
        return None
    return TokenPlaces(
        (rows, columns),
        key_grid,
        grid.stride,
        grid.stride * grid.key_ratio,
        torch.arange(queries)[None],
        torch.arange(keys)[None],
    )


def places_in_windows(
    grid: AttentionGrid, size: tuple[int, int], *, queries: int, keys: int, windows: int
) -> TokenPlaces | None:
    """The places of tokens in windows, which were cut row by row out of the rolled grid."""
    side = grid.window_size or 1
    rows, columns = (-(-length // (grid.stride * side)) for length in size)
    if queries != side * side or keys != queries or windows != rows * columns:
        return None
    padded = (rows * side, columns * side)
    cells = torch.arange(padded[0] * padded[1]).view(padded).roll((-grid.shift, -grid.shift), (0, 1))
    cells = cells.view(rows, side, columns, side).transpose(1, 2).reshape(windows, queries)
    return TokenPlaces(padded, padded, grid.stride, grid.stride, cells, cells)


def guessed_grid(size: tuple[int, int], queries: int, keys: int) -> AttentionGrid | None:
    """The grid of an encoder that tells none: one of as many cells as there are queries, and reduced keys.

    Several strides may fit: the first is taken that divides the sides, else a power of two, else the smallest.
    """
    fitting = [
        stride
        for stride in range(1, max(size) + 1)
        if -(-size[0] // stride) * -(-size[1] // stride) == queries
    ]
    dividing = [stride for stride in fitting if size[0] % stride == 0 and size[1] % stride == 0]
    powers = [stride for stride in fitting if stride & (stride - 1) == 0]
    for stride in (*dividing[:1], *powers[:1], *fitting[:1]):
        grid = -(-size[0] // stride), -(-size[1] // stride)
        for ratio in range(1, max(grid) + 1):
            rows, columns = reduced(grid, ratio)
            if rows * columns == keys:
                return AttentionGrid(stride=stride, key_ratio=ratio)
    return None


def reduced(grid: Grid, ratio: int) -> Grid:
    """The grid of keys of ratio x ratio queries each."""
    return max(1, grid[0] // ratio), max(1, grid[1] // ratio)
