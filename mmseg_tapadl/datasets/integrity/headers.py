"""What a picture file says of itself in its head, without decoding its pixels."""

import io
import warnings
from dataclasses import dataclass, replace

from PIL import Image

from mmseg_tapadl.datasets.integrity.containers import PNG, png_parts

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 0x0102
# Formats whose head may say how the picture is to be turned
_TURNABLE = ('JPEG', 'MPO', 'TIFF', 'WEBP', 'AVIF')
_NEVER_DEEP = ('JPEG', 'MPO', 'WEBP', 'GIF', 'BMP')
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        format: As Pillow calls it: ``'PNG'``, ``'JPEG'``, ``'TIFF'``, ...
        width: Pixels, as stored.
        height: Pixels, as stored.
        channels: Of the pixels; a palette has the three of its colours.
        palette: Whether pixels are numbers of colours.
        bits: Of a channel; None where the head does not say.
        orientation: The EXIF tag that says how to turn the picture, 1 to 8; 1 leaves it.
    """

    format: str
    width: int
    height: int
    channels: int
    palette: bool = False
    bits: int | None = 8
    orientation: int = 1


def read_header(data: bytes) -> Header | None:
    """The head of a file, or None for what neither Pillow nor this module knows."""
    try:
        return _read_png(data) if data.startswith(PNG) else _read_other(data)
    except Exception:  # a head says more than is needed here, and decoders raise many kinds
        return None


def _read_png(data: bytes) -> Header | None:
    header: Header | None = None
    for part in png_parts(data):
        if part.kind == b'IHDR':
            width, height = (int.from_bytes(part.content[i : i + 4], 'big') for i in (0, 4))
            bits, colour = part.content[8], part.content[9]
            header = Header('PNG', width, height, _PNG_CHANNELS.get(colour, 3), colour == 3, bits)
        elif part.kind == b'eXIf' and part.is_right and header is not None:
            header = replace(header, orientation=_orientation(part.content))
    return header


def _read_other(data: bytes) -> Header:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a large picture is no reason to warn here
        with Image.open(io.BytesIO(data)) as image:
            name = str(image.format)
            orientation = image.getexif().get(_ORIENTATION, 1) if name in _TURNABLE else 1
            bits: int | None = 8 if name in _NEVER_DEEP else None
            if name == 'TIFF':
                stored = getattr(image, 'tag_v2', {}).get(_BITS_PER_SAMPLE, 1)
                bits = max(stored) if isinstance(stored, tuple) else int(stored)
            palette = image.mode == 'P'
            channels = 3 if palette else len(image.getbands())
            width, height = image.size
            return Header(name, width, height, channels, palette, bits, _valid(orientation))


def _orientation(exif: bytes) -> int:
    tags = Image.Exif()
    tags.load(exif)
    return _valid(tags.get(_ORIENTATION, 1))


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
