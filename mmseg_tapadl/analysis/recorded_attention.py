"""Where a picture's tokens look: attention kept after one pass, to be asked about any point.

Legend: H heads, M' patch keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmseg_tapadl.analysis.listener import AttentionListener, HeardAttention
from mmseg_tapadl.analysis.row_blocks import row_of
from mmseg_tapadl.analysis.token_places import TokenPlaces, places_of
from mmseg_tapadl.layers.attention_watch import AttentionInputs
from mmseg_tapadl.utils import InputError


@dataclass(frozen=True)
class RecordedAttention:
    """One attention of a picture.

    Attributes:
        number: In the order of the forward pass, from 0.
        name: Of its module within the encoder.
        inputs: What it is computed from.
        places: Where its tokens lie; ``None`` where they lie on no grid.
        size: Height and width of the picture as the encoder got it.
        branch_weights: (K, rows, columns) of the TAP before it; ``None`` without one.
    """

    number: int
    name: str
    inputs: AttentionInputs
    places: TokenPlaces | None
    size: tuple[int, int]
    branch_weights: Tensor | None

    @property
    def num_heads(self) -> int:
        """H."""
        return self.inputs.q.shape[1]

    def look(self, x: float, y: float, head: int | None = None) -> Tensor:
        """Where the token at a pixel looks: its attention times M', so that 1 is even.

        Args:
            x: Column of a pixel of the encoder's picture.
            y: Its row.
            head: One head; ``None`` is the mean over all.

        Returns:
            (rows, columns) of the grid of keys; 0 outside the token's window.

        Raises:
            InputError: A pixel outside the picture, a head that there is not, or tokens on no grid.
        """
        check_point(x, y, self.size)
        if head is not None and not 0 <= head < self.num_heads:
            raise InputError(
                f'head {head}: layer {self.number} has {self.num_heads} heads, 0 to {self.num_heads - 1}'
            )
        looks = self.looks(x, y)
        return looks.mean(0) if head is None else looks[head]

    def looks(self, x: float, y: float) -> Tensor:
        """:meth:`look` of every head: (H, rows, columns)."""
        if self.places is None:
            raise InputError(f'layer {self.number} ({self.name}): its tokens lie on no known grid')
        entry, query = self.places.query_at(x, y)
        row = row_of(self.inputs, entry, query)[:, self.inputs.num_prefix :]
        values = row.new_zeros(self.places.windows, *row.shape)
        values[entry] = row * row.shape[1]
        return self.places.key_maps(values)

    def at_picture_size(self, key_map: Tensor) -> Tensor:
        """A map (..., rows, columns) of keys at the resolution of the encoder's picture (..., height, width)."""
        assert self.places is not None
        return at_picture_size(key_map, self.places.key_stride, self.size)


def record_attention(
    encoder: nn.Module, picture: Tensor, layers: Sequence[int] | None = None
) -> list[RecordedAttention]:
    """Passes one picture through an encoder and keeps what each attention was computed from.

    Args:
        encoder: With attention that can be watched; its mode stays.
        picture: (1, channels, H, W), as the encoder takes it.
        layers: Numbers of the attentions to keep, in the order of the forward pass; ``None``: all.

    Raises:
        InputError: An encoder without such attention, or a layer that the picture does not pass.
    """
    kept: list[RecordedAttention] = []

    def keep(heard: HeardAttention) -> None:
        if layers is None or heard.number in layers:
            kept.append(recorded(encoder, heard))

    listener = AttentionListener(encoder, keep)
    with torch.no_grad(), listener.listening():
        encoder(picture)
    check_layers(layers, listener.passes[0], encoder)
    return kept


def recorded(encoder: nn.Module, heard: HeardAttention) -> RecordedAttention:
    """An attention that was heard, with queries and keys of its own."""
    weights = heard.branch_weights
    return RecordedAttention(
        heard.number,
        heard.name,
        # Copies, without the memory that queries and keys share with values.
        replace(heard.inputs, q=heard.inputs.q.detach().clone(), k=heard.inputs.k.detach().clone()),
        places_of(encoder, heard.name, heard.inputs, pictures=heard.pictures, size=heard.size),
        heard.size,
        None if weights is None else weights[0],
    )


def at_picture_size(cells: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Values of cells (..., rows, columns) for each pixel (..., height, width); beyond the last cell that one's."""
    rows, columns = (
        (torch.arange(pixels, device=cells.device) // stride).clamp_(max=count - 1)
        for pixels, count in zip(size, cells.shape[-2:], strict=True)
    )
    return cells[..., rows[:, None], columns]


def check_point(x: float, y: float, size: tuple[int, int], name: str = 'the picture') -> None:
    """Raises ``InputError`` for a pixel outside a picture of ``size`` (height, width)."""
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise InputError(
            f'the point {x:g} {y:g} lies outside {name}: x must be from 0 to {size[1] - 1}, y from 0 to {size[0] - 1}'
        )


def check_layers(layers: Sequence[int] | None, count: int, encoder: nn.Module) -> None:
    """Raises ``InputError`` for a layer that a picture does not pass."""
    wrong = [layer for layer in layers or () if not 0 <= layer < count]
    if wrong:
        raise InputError(
            f'layer {wrong[0]}: the picture passes {count} attentions of {type(encoder).__name__}, numbered 0 to {count - 1}'
        )
