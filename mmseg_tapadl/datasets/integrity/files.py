"""What one file is: whole, decodable, how large, which ids. Facts only; what is a fault is judged elsewhere.

Facts do not depend on the data set's classes, so one cached answer serves every config.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from cityscapesscripts.helpers.labels import labels as CITYSCAPES_LABELS
from PIL import Image

from mmseg_tapadl.datasets.integrity.containers import container_fault

# Raise it when the same file would give other facts: cached facts are then not used.
FACTS_VERSION = 1

_EXIF_ORIENTATION = 0x0112
_ONE_CHANNEL = ('L', 'P', '1', 'I', 'I;16', 'I;16B', 'I;16L', 'F')
_CITYSCAPES_COLOURS = sorted({label.color for label in CITYSCAPES_LABELS})


@dataclass(frozen=True)
class Facts:
    """What a file is.

    Attributes:
        problem: Why it cannot be used at all; None when it was decoded.
        kind: ``'missing'``, ``'empty'``, ``'truncated'``, ``'damaged'``, ``'undecodable'`` or None.
        width: Pixels, as a training run would see it.
        height: Pixels.
        channels: 1, 3 or 4 (2: grey with alpha).
        bits: Bits of a channel: 1, 8, 16 or 32.
        ids: For one channel: how many pixels have each value. None for pictures and for colour.
        city_colours: For labels of several channels: share of pixels in a colour of Cityscapes' palette.
    """

    problem: str | None = None
    kind: str | None = None
    width: int = 0
    height: int = 0
    channels: int = 0
    bits: int = 8
    ids: dict[int, int] | None = None
    city_colours: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain types; the ids as a list of pairs, for JSON has no integer keys."""
        ids = None if self.ids is None else sorted(self.ids.items())
        return {**asdict(self), 'ids': ids}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> 'Facts':
        """The reverse of :meth:`to_json`."""
        ids = value['ids']
        return cls(**{**value, 'ids': None if ids is None else {int(k): int(n) for k, n in ids}})


def image_facts(path: str) -> Facts:
    """Decodes a picture whole."""
    return _facts(path, _describe_image)


def label_facts(path: str) -> Facts:
    """Decodes a label whole and counts its ids."""
    return _facts(path, _describe_label)


def _facts(path: str, describe: Callable[[Image.Image], Facts]) -> Facts:
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except FileNotFoundError:
        return Facts('does not exist (or is a link to nothing)', 'missing')
    except OSError as error:
        return Facts(f'cannot be opened: {error.strerror}', 'undecodable')
    broken = container_fault(data)
    if broken:
        return Facts(broken[1], broken[0])
    try:
        with warnings.catch_warnings():
            # Large pictures are no reason to warn here.
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                return describe(image)
    except Exception as error:  # Pillow's decoders raise many kinds
        truncated = 'truncated' in str(error)
        return Facts(f'cannot be decoded: {error}', 'truncated' if truncated else 'undecodable')


def _describe_image(image: Image.Image) -> Facts:
    width, height = image.size
    # Loading a picture turns it as its EXIF says; labels are not turned.
    if image.format != 'PNG' and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
        width, height = height, width
    return Facts(width=width, height=height, channels=len(image.getbands()))


def _describe_label(image: Image.Image) -> Facts:
    width, height = image.size
    if image.mode not in _ONE_CHANNEL:
        share = _share_of_city_colours(np.asarray(image.convert('RGB')))
        return Facts(width=width, height=height, channels=len(image.getbands()), city_colours=share)
    if image.mode in ('L', 'P'):
        # Pillow's histogram is twice as fast as bincount.
        counts = image.histogram()[:256]
        ids = {value: count for value, count in enumerate(counts) if count}
        return Facts(width=width, height=height, channels=1, ids=ids)
    values, numbers = np.unique(np.asarray(image).astype(np.int64), return_counts=True)
    bits = 1 if image.mode == '1' else 16 if '16' in image.mode else 32
    # More values than any label has: a few are enough to say so.
    few = slice(0, 1000)
    ids = dict(zip(values[few].tolist(), numbers[few].tolist(), strict=True))
    return Facts(width=width, height=height, channels=1, bits=bits, ids=ids)


def _share_of_city_colours(pixels: np.ndarray) -> float:
    """The share of (height, width, 3) RGB pixels whose colour is in Cityscapes' palette."""
    weights = np.array([1 << 16, 1 << 8, 1])
    return float(np.isin(pixels @ weights, np.array(_CITYSCAPES_COLOURS) @ weights).mean())
