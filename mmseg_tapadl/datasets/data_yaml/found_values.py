"""Counts the values of masks and guesses what they are called."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as CITYSCAPES_LABELS
from PIL import Image

from mmseg_tapadl.datasets.data_yaml.coding import IGNORED, packed, unpacked
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.colours import distinct_colours

# More values are no classes.
MOST_CLASSES = 100
_BLACK = 0


@dataclass(frozen=True)
class FoundValue:
    """One value of the masks.

    Attributes:
        value: An id, or a packed colour.
        pixels: How many have it.
        masks: How many masks show it.
        colour: To paint it with, RGB.
        name: What it may be called.
    """

    value: int
    pixels: int
    masks: int
    colour: tuple[int, int, int]
    name: str


@dataclass(frozen=True)
class FoundValues:
    """All values.

    Attributes:
        colors: Whether masks hold colours, else ids.
        classes: Those that are taken for classes, in their order.
        ignore: Those that are taken for pixels that do not count.
        masks: Masks that were read.
        pixels: Of all of them.
    """

    colors: bool
    classes: list[FoundValue]
    ignore: list[FoundValue]
    masks: int
    pixels: int


def find_values(paths: Sequence[Path]) -> FoundValues:
    """Reads masks and counts their values.

    Raises:
        InputError: A mask of more than 8 bits, or more values than there are classes.
    """
    pixels: Counter[int] = Counter()
    shown_in: Counter[int] = Counter()
    palette: dict[int, tuple[int, int, int]] = {}
    colors = any(_holds_colours(path) for path in paths)
    for path in paths:
        counts = _counts(path, colors=colors, palette=palette)
        pixels.update(counts)
        shown_in.update(counts.keys())
    if len(pixels) > MOST_CLASSES:
        what = 'colours' if colors else 'ids'
        raise InputError(
            f'{shown(paths[0])} and its like hold {len(pixels)} {what}, more than there are classes: masks must be PNG, without '
            'smooth edges, and resized with nearest neighbour only'
        )
    void = (
        {_BLACK}
        if colors and len(pixels) > 1
        else {IGNORED}
        if not colors and set(pixels) != {0, IGNORED}
        else set()
    )
    names = _names(pixels, colors=colors, palette=palette, files=paths)
    made = distinct_colours(256)
    found = [
        FoundValue(
            value,
            pixels[value],
            shown_in[value],
            unpacked(value) if colors else palette.get(value, tuple(made[value])),  # type: ignore[arg-type]
            names[value],
        )
        for value in sorted(pixels, key=(lambda value: -pixels[value]) if colors else None)
    ]
    return FoundValues(
        colors=colors,
        classes=[item for item in found if item.value not in void],
        ignore=[item for item in found if item.value in void],
        masks=len(paths),
        pixels=pixels.total(),
    )


def _holds_colours(path: Path) -> bool:
    """Whether a mask has channels that differ; a palette's pixels are ids."""
    with Image.open(path) as image:
        if image.mode not in ('RGB', 'RGBA'):
            return False
        pixels = np.asarray(image.convert('RGB'))
    return bool((pixels[..., :1] != pixels[..., 1:]).any())


def _counts(path: Path, *, colors: bool, palette: dict[int, tuple[int, int, int]]) -> dict[int, int]:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith(('I', 'F')):
            raise InputError(f'{shown(path)}: has 16 bits or more a channel, where masks have 8')
        if colors:
            counted = image.convert('RGB').getcolors(1 << 24) or []
            return {packed(colour): count for count, colour in counted}
        if image.mode == 'P':
            table = image.getpalette() or []
            for start in range(0, len(table) - 2, 3):
                palette.setdefault(start // 3, (table[start], table[start + 1], table[start + 2]))
        plain = image if image.mode in ('L', 'P', '1') else image.convert('L')
        counts = (image.convert('L') if image.mode == '1' else plain).histogram()
        scale = 255 if image.mode == '1' else 1
        return {value // scale: count for value, count in enumerate(counts) if count}


def _names(
    values: Iterable[int],
    *,
    colors: bool,
    palette: dict[int, tuple[int, int, int]],
    files: Sequence[Path],
) -> dict[int, str]:
    """Names of Cityscapes where values are its colours or its ids; else numbers."""
    values = list(values)
    by_colour = {label.color: label.name for label in reversed(CITYSCAPES_LABELS)}
    colours = {value: unpacked(value) if colors else palette.get(value) for value in values}
    if all(colour in by_colour or colour in (None, (0, 0, 0)) for colour in colours.values()) and any(
        colours.values()
    ):
        named = {value: by_colour.get(colour or (0, 0, 0), '') for value, colour in colours.items()}
        if len(set(named.values())) == len(named):
            return named
    ends = {'labelTrainIds': 'trainId', 'labelIds': 'id'}
    kind = next((key for end, key in ends.items() if all(file.stem.endswith(end) for file in files)), None)
    if kind and not colors:
        by_id = {getattr(label, kind) % 256: label.name for label in reversed(CITYSCAPES_LABELS)}
        return {value: by_id.get(value, f'id {value}') for value in values}
    order = sorted(values, key=lambda value: value)
    return {value: f'colour {order.index(value) + 1}' if colors else f'id {value}' for value in values}
