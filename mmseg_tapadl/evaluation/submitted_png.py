"""PNG files out of somebody's archive: read with care, and compared with the pictures that they answer."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_tapadl.utils import InputError, shown

# Where a PNG's header chunk says how many bits a channel has, and of which kind the picture is.
_BIT_DEPTH_AT, _COLOUR_TYPE_AT = 24, 25
GREY, PALETTE = 0, 3
COLOUR_TYPES = {GREY: 'grey', 2: 'RGB', PALETTE: 'palette', 4: 'grey with alpha', 6: 'RGB with alpha'}


class PngFault(ValueError):
    """Why a file is not the PNG that it should be."""


@dataclass(frozen=True)
class SubmittedPng:
    """A PNG of the right size.

    Attributes:
        bits: Of a channel.
        colour: A key of :data:`COLOUR_TYPES`.
        channels: How many.
        values: (H, W) or (H, W, channels); of a palette the indices.
    """

    bits: int
    colour: int
    channels: int
    values: np.ndarray


def read_png(data: bytes, picture: Path) -> SubmittedPng:
    """Reads a PNG that must have the size of ``picture``; one of another size is not even decoded.

    Args:
        data: The file's bytes.
        picture: The picture that it answers.

    Raises:
        PngFault: With what is wrong with the file.
        InputError: When the picture itself cannot be read.
    """
    wanted = _size_of(picture)
    try:
        with warnings.catch_warnings():
            # A picture of a size that PIL takes for an attack is none of ours.
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.format != 'PNG':
                    raise PngFault(f'is a {image.format} file, must be PNG')
                if image.size != wanted:
                    raise PngFault(
                        f'is {image.size[0]}x{image.size[1]}, its picture {wanted[0]}x{wanted[1]} (width x height)'
                    )
                return SubmittedPng(
                    data[_BIT_DEPTH_AT], data[_COLOUR_TYPE_AT], len(image.getbands()), np.asarray(image)
                )
    except PngFault:
        raise
    except Exception as error:  # decoders raise many kinds, and these files are anybody's
        raise PngFault(f'cannot be read as a picture ({" ".join(str(error).split())})') from error


def _size_of(picture: Path) -> tuple[int, int]:
    try:
        with Image.open(picture) as source:
            return source.size
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{shown(picture)}: not a readable picture ({error})') from error
