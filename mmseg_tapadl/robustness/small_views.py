"""Small copies of pictures and label maps as a page shows them: data URIs, no file beside the page.

Legend: label maps (h, w) of whole numbers.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmseg_tapadl.robustness.small_pictures import SmallPicture

# Right, wrong, not counted: told apart by lightness alone, whatever one's colour vision.
_VERDICTS = ((222, 228, 234), (184, 67, 0), (40, 48, 56))
RIGHT_COLOUR, WRONG_COLOUR, VOID_COLOUR = (f'rgb({r},{g},{b})' for r, g, b in _VERDICTS)


def picture_uri(small: SmallPicture) -> str:
    """The picture as the model saw it."""
    return _uri(small.picture, 'webp')


def label_uri(png: bytes, palette: Sequence[Sequence[int]]) -> str:
    """A label map in its classes' colours; what is no class is black.

    Args:
        png: Of class ids.
        palette: RGB of each class.
    """
    ids = read_ids(png)
    colours = np.vstack([np.asarray(palette, dtype=np.uint8).reshape(-1, 3), np.zeros((1, 3), np.uint8)])
    return _painted(np.minimum(ids, len(colours) - 1), colours)


def wrong_uri(small: SmallPicture, num_classes: int) -> str:
    """Where a prediction is wrong."""
    prediction, label = read_ids(small.prediction), read_ids(small.label)
    verdict = np.where(label >= num_classes, 2, (prediction != label).astype(np.uint8))
    return _painted(verdict, np.array(_VERDICTS, dtype=np.uint8))


def read_ids(png: bytes) -> np.ndarray:
    """(h, w) class ids."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).astype(np.int64)


def _painted(numbers: np.ndarray, colours: np.ndarray) -> str:
    buffer = io.BytesIO()
    if len(colours) <= 256:
        image = Image.fromarray(numbers.astype(np.uint8), mode='P')
        image.putpalette(colours.tobytes())
    else:
        image = Image.fromarray(colours[numbers])
    image.save(buffer, 'PNG', optimize=True)
    return _uri(buffer.getvalue(), 'png')


def _uri(data: bytes, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}'
