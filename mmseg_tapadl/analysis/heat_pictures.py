"""Maps of attention as small pictures in a page; one colour scale for all of them.

Values are attention times the number of keys: 1 is even. The scale is that of powers of two, from 1 (nothing to see) to
64 and more, the same in every figure, so that any two can be compared. Its colours grow lighter all the way, and are
told apart with any colour vision.
"""

import base64
import io
import math

import numpy as np
from matplotlib import colormaps
from PIL import Image

OCTAVES = 6
"""The scale ends at 2 ** OCTAVES times the even part."""
LEVELS = 36
BRANCH_COLOURS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00')
"""Of TAP's branches, Okabe and Ito's; further ones begin again."""


def level_of(values: np.ndarray) -> np.ndarray:
    """The level of the scale, 0 to LEVELS, of values times even."""
    with np.errstate(divide='ignore', invalid='ignore'):
        octaves = np.log2(np.maximum(values.astype(np.float64), 1e-9)) / OCTAVES
    return np.rint(np.clip(octaves, 0.0, 1.0) * LEVELS).astype(np.uint8)


def ramp() -> np.ndarray:
    """The colours (LEVELS + 1, 3) of the scale."""
    # Most of what is to be seen lies between twice and ten times even: there the colours change most.
    places = 0.06 + 0.94 * np.linspace(0.0, 1.0, LEVELS + 1) ** 0.6
    return (colormaps['magma'](places)[:, :3] * 255).round().astype(np.uint8)


def heat_colours(values: np.ndarray, *, overlay: bool = False) -> np.ndarray:
    """The colours (rows, columns, 3) of a map; an overlay has a fourth, clear where attention is even or less."""
    colours = ramp()
    if overlay:
        alpha = [round(235 * min(1.0, 4 * level / LEVELS)) for level in range(LEVELS + 1)]
        colours = np.column_stack((colours, np.array(alpha, dtype=np.uint8)))
    return colours[level_of(values)]


def heat_uri(values: np.ndarray, *, overlay: bool = False) -> str:
    """:func:`heat_colours` as a picture of a pixel a cell."""
    return lossless_uri(heat_colours(values, overlay=overlay))


def heads_uri(maps: np.ndarray, width: int = 32) -> str:
    """Maps of heads (H, rows, columns) side by side, a column between them; large ones are averaged down."""
    side = -(-maps.shape[2] // width)
    small = [pooled(one, side) for one in maps.astype(np.float64)]
    gap = np.zeros((small[0].shape[0], 1))
    row = [part for one in small for part in (one, gap)][:-1]
    return heat_uri(np.concatenate(row, axis=1))


def branch_colours(branches: np.ndarray) -> np.ndarray:
    """The preferred branch (rows, columns) of each token in the branches' colours (rows, columns, 4), half clear."""
    palette = [
        [int(colour[place : place + 2], 16) for place in (1, 3, 5)] + [170] for colour in BRANCH_COLOURS
    ]
    return np.array(palette, dtype=np.uint8)[branches % len(BRANCH_COLOURS)]


def branch_uri(branches: np.ndarray) -> str:
    """:func:`branch_colours` as a picture of a pixel a token."""
    return lossless_uri(branch_colours(branches))


def picture_uri(picture: np.ndarray, width: int = 800) -> str:
    """A BGR picture as WebP, at most so many pixels wide."""
    image = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]).astype(np.uint8))
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, 'WEBP', quality=60, method=4)
    return webp_uri(buffer)


def scale_stops() -> str:
    """The scale as CSS gradient stops."""
    colours = ramp()[:: LEVELS // 12]
    return ', '.join(f'rgb({r},{g},{b})' for r, g, b in colours)


def pooled(values: np.ndarray, side: int) -> np.ndarray:
    """Means of cells of side x side."""
    if side == 1:
        return values
    rows, columns = (math.ceil(length / side) for length in values.shape)
    padded = np.full((rows * side, columns * side), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    return np.nanmean(padded.reshape(rows, side, columns, side), axis=(1, 3))


def lossless_uri(colours: np.ndarray) -> str:
    """A picture (rows, columns, 3 or 4) as a data address: WebP, a third smaller here than PNG."""
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, 'WEBP', lossless=True, quality=60, method=4, exact=True)
    return webp_uri(buffer)


def webp_uri(buffer: io.BytesIO) -> str:
    """The address of what was written."""
    return f'data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
