"""What the values of masks mean: ids or colours to classes, by one look into a table.

Legend: H rows, W columns. A *value* is an id, 0 to 255, or a colour packed into one number (red + 256 green + 65536 blue).
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from PIL import Image

from mmseg_tapadl.utils import InputError

IGNORED = 255
UNLISTED = 254
MOST_CLASSES = UNLISTED
_PNG = b'\x89PNG\r\n\x1a\n'
_DEEP_MODES = ('I', 'F')
_SHOWN = 4


class MaskError(InputError):
    """A mask of another kind than the file of data says.

    Attributes:
        kind: ``'bits'`` or ``'channels'``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class LabelCoding:
    """Turns masks into classes.

    Args:
        classes: The values of each class.
        ignore: The values of pixels that do not count.
        colors: Whether values are colours; else they are ids.
    """

    def __init__(
        self, classes: Sequence[Sequence[int]], ignore: Sequence[int] = (), *, colors: bool = False
    ) -> None:
        self.classes, self.ignore, self.colors = classes, ignore, colors

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def table(self) -> np.ndarray:
        """The class of every value, uint8: 256 entries, or 2 ** 24 (16 MB) for colours."""
        table = np.full(1 << 24 if self.colors else 256, UNLISTED, dtype=np.uint8)
        for number, values in enumerate(self.classes):
            table[list(values)] = number
        table[list(self.ignore)] = IGNORED
        return table

    def stored(self, data: bytes) -> np.ndarray:
        """The values of a mask file's pixels, (H, W), as the file is stored: uint8 ids, or uint32 packed colours.

        Args:
            data: The file's bytes.

        Raises:
            MaskError: More than 8 bits a channel, or colours where ids belong.
            Exception: What Pillow raises for a file that it cannot read.
        """
        depth = data[24] if data.startswith(_PNG) and len(data) > 25 else 8
        with Image.open(io.BytesIO(data)) as image:
            if depth == 16 or image.mode.startswith(_DEEP_MODES):
                raise MaskError(
                    'bits', f'has 16 bits or more a channel, where masks have 8 (Pillow mode {image.mode})'
                )
            if self.colors:
                # Four bytes a pixel are one number.
                packed = np.asarray(image.convert('RGB').convert('RGBX')).view('<u4')[..., 0]
                return packed & np.uint32(0xFFFFFF)
            ids = np.asarray(image)
            if ids.dtype == bool:
                return ids.astype(np.uint8)
            if image.mode in ('LA', 'La', 'PA'):
                return np.ascontiguousarray(ids[..., 0])
            if ids.ndim == 3:
                first = ids[..., 0]
                if image.mode not in ('RGB', 'RGBA') or any(
                    (ids[..., other] != first).any() for other in (1, 2)
                ):
                    raise MaskError('channels', f'holds colours ({image.mode}), where the classes have ids')
                return np.ascontiguousarray(first)
            if depth in (2, 4) and image.mode == 'L':
                # Pillow stretches grey of 2 or 4 bits to 0..255.
                ids = ids // np.uint8(255 // ((1 << depth) - 1))
            return ids

    def classes_of(self, stored: np.ndarray) -> np.ndarray:
        """The classes (H, W), uint8; 255 where a pixel does not count.

        Args:
            stored: Of :meth:`stored`.

        Raises:
            InputError: Values in no list, with the number of their pixels.
        """
        labels = self.table.take(stored)
        unlisted = labels == UNLISTED
        if unlisted.any():
            values, counts = np.unique(stored[unlisted], return_counts=True)
            raise InputError(self.unlisted(dict(zip(values.tolist(), counts.tolist(), strict=True))))
        return labels

    def class_of(self, value: int) -> int:
        """The class of one value, :data:`IGNORED` or :data:`UNLISTED`."""
        return int(self.table[value])

    def unlisted(self, counts: Mapping[int, int]) -> str:
        """Says which values are in no list: ``2 colours in 120 pixels are in no list: (1, 2, 3) in 100, ...``."""
        one, what = ('a', 'colour') if self.colors else ('an', 'id')
        most = sorted(counts, key=lambda value: -counts[value])
        named = ', '.join(
            f'{value_text(value, colors=self.colors)} in {counts[value]}' for value in most[:_SHOWN]
        )
        more = ', ...' if len(most) > _SHOWN else ''
        number = f'{len(most)} {what}s' if len(most) > 1 else f'{one} {what}'
        verb = 'are' if len(most) > 1 else 'is'
        return f'{number} in {sum(counts.values())} pixels {verb} in no list: {named}{more}'


def value_text(value: int, *, colors: bool) -> str:
    """``7``, or ``[128, 64, 128]``, as a file of data writes it."""
    return str(list(unpacked(value))) if colors else str(value)


def packed(colour: Sequence[int]) -> int:
    """A colour's red, green and blue as one value."""
    red, green, blue = colour
    return red | green << 8 | blue << 16


def unpacked(value: int) -> tuple[int, int, int]:
    """The reverse of :func:`packed`."""
    return value & 255, value >> 8 & 255, value >> 16


def coding_of(labels: Mapping[str, Any]) -> LabelCoding:
    """The coding that a data set's ``labels`` describe; equal ones are one object, and have one table.

    Args:
        labels: ``ids`` or ``colors``: a list of values for each class; ``ignore``: values that do not count.

    Raises:
        InputError: Neither or both of ``ids`` and ``colors``.
    """
    if ('ids' in labels) == ('colors' in labels):
        raise InputError(f'labels must hold either ids or colors, not {", ".join(labels) or "nothing"}')
    colors = 'colors' in labels

    def values(items: Iterable[Any]) -> tuple[int, ...]:
        return tuple(packed(item) if colors else int(item) for item in items)

    classes = tuple(values(items) for items in labels['colors' if colors else 'ids'])
    return _coding(classes, values(labels.get('ignore') or ()), colors)


@lru_cache(maxsize=8)
def _coding(classes: tuple[tuple[int, ...], ...], ignore: tuple[int, ...], colors: bool) -> LabelCoding:
    return LabelCoding(classes, ignore, colors=colors)
