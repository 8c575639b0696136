"""What an encoder tells of where the tokens of one of its attentions lie."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AttentionGrid:
    """Of one attention, by its name in the encoder: what an encoder's ``attention_grid(name)`` returns.

    Queries lie on a grid of ceil(H / stride) x ceil(W / stride), row by row.

    Attributes:
        stride: Pixels of the encoder's picture between two queries.
        window_size: Side of the windows that attention stays within; ``None``: it looks over the whole grid. The grid
            is filled up at the right and the bottom to whole windows.
        shift: How far the grid was rolled up and to the left before the windows were cut.
        key_ratio: Queries along each side of a key's cell. A cell cut off at the edge makes no key; a grid smaller
            than a cell is filled up to it.
    """

    stride: int
    window_size: int | None = None
    shift: int = 0
    key_ratio: int = 1
