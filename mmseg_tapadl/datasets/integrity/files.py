"""What one file is: whole, loadable, how large, which ids. Facts only; what is a fault is judged elsewhere.

Facts depend on the file and on how the pipeline loads it, not on the data set's classes: one cached answer serves
every config that loads alike.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import labels as CITYSCAPES_LABELS
from PIL import Image

from mmseg_tapadl.datasets.data_yaml.coding import MaskError
from mmseg_tapadl.datasets.integrity.containers import cut_off, not_a_picture
from mmseg_tapadl.datasets.integrity.headers import Header, read_header
from mmseg_tapadl.datasets.integrity.loaders import ImageLoader, LabelLoader, LoadedPicture, UncheckableError
from mmseg_tapadl.datasets.transforms.deep_loading import decode_deep

# Raise it when the same file would give other facts: cached facts are then not used.
FACTS_VERSION = 3

_CITYSCAPES_COLOURS = sorted({label.color for label in CITYSCAPES_LABELS})
# More values than any label has: a few are enough to say so.
_MOST_IDS = 1000


@dataclass(frozen=True)
class Facts:
    """What a file is.

    Attributes:
        problem: Why it cannot be used at all; None when it was loaded.
        kind: ``'missing'``, ``'empty'``, ``'truncated'``, ``'damaged'``, ``'undecodable'``, ``'too_large'``,
            ``'bits'``, ``'channels'`` or None.
        hint: What to do about the problem.
        unchecked: Why nothing is known of it: its loader cannot run here.
        width: Pixels, as loaded.
        height: Pixels, as loaded.
        channels: Of the file, for pictures; of what was loaded, for labels.
        bits: Bits of a channel as stored: 1, 8, 16 or 32.
        peak: For pictures of more than 8 bits: the largest stored value.
        loaded_peak: Largest value that loading makes of such a picture.
        orientation: The EXIF tag that says how to turn it; 1 leaves it.
        turned: Whether loading turns it so.
        ids: For labels of one channel: how many pixels have each value; packed colours where a ``data.yaml`` tells what
            they stand for. None for pictures and for other colours.
        mapped: Whether the ids are those after the data set's mapping.
        city_colours: For labels of several channels: share of pixels in a colour of Cityscapes' palette.
    """

    problem: str | None = None
    kind: str | None = None
    hint: str = ''
    unchecked: str | None = None
    width: int = 0
    height: int = 0
    channels: int = 0
    bits: int = 8
    peak: float | None = None
    loaded_peak: float | None = None
    orientation: int = 1
    turned: bool = False
    ids: dict[int, int] | None = None
    mapped: bool = False
    city_colours: float = 0.0

    @property
    def loaded(self) -> bool:
        """Whether its size is known."""
        return self.kind is None and self.unchecked is None

    def to_json(self) -> dict[str, Any]:
        """Plain types; the ids as a list of pairs, for JSON has no integer keys."""
        ids = None if self.ids is None else sorted(self.ids.items())
        return {**asdict(self), 'ids': ids}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> 'Facts':
        """The reverse of :meth:`to_json`."""
        ids = value['ids']
        return cls(**{**value, 'ids': None if ids is None else {int(k): int(n) for k, n in ids}})


def image_facts(entry: Mapping[str, Any], loader: ImageLoader) -> Facts:
    """Loads the picture of an entry of a data set's list as the pipeline does, and looks at what comes out."""
    path = entry['img_path']
    try:
        picture = loader.load(entry)
    except UncheckableError as error:
        return _absent(path) or Facts(unchecked=str(error))
    except Exception as error:  # decoders raise many kinds
        return _refused(path, error, loader.name)
    try:
        data = _read(picture.path or path)
    except OSError:
        data = b''  # the loader has its own way to find it
    broken = cut_off(data, picture.pixels if loader.is_plain else None)
    if broken:
        return Facts(broken[1], broken[0])
    return _describe_picture(picture, read_header(data), data, loader)


def label_facts(entry: Mapping[str, Any], loader: LabelLoader) -> Facts:
    """Loads the label of an entry of a data set's list as the pipeline does, and counts its ids."""
    path = entry['seg_map_path']
    try:
        data = _read(path)
        label = loader.load(entry, data)
    except UncheckableError as error:
        return Facts(unchecked=str(error))
    except MaskError as error:
        return Facts(str(error), error.kind)
    except Exception as error:
        facts = _refused(path, error, loader.name)
        unknown = loader.assumed and facts.kind == 'undecodable' and os.path.isfile(path)
        if unknown and not not_a_picture(_read(path)):
            return Facts(unchecked='the pipeline has no transform that is known to load labels')
        return facts
    broken = cut_off(data)
    if broken:
        return Facts(broken[1], broken[0])
    return _describe_label(label, read_header(data), loader)


def _read(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read()


def _absent(path: str) -> Facts | None:
    """The fault of a file that cannot be opened, None for one that can."""
    try:
        with open(path, 'rb'):
            return None
    except FileNotFoundError:
        return Facts('does not exist (or is a link to nothing)', 'missing')
    except OSError as error:
        return Facts(f'cannot be opened: {error.strerror}', 'undecodable')


def _refused(path: str, error: Exception, loader: str) -> Facts:
    """Why a file cannot be loaded, as well as its bytes tell."""
    absent = _absent(path)
    if absent is not None:
        return absent
    data = _read(path)
    broken = not_a_picture(data) or cut_off(data)
    if broken:
        return Facts(broken[1], broken[0])
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    text = str(error).strip()
    limit = _limit_hint(error, text)
    if limit:
        return Facts(f'has more pixels than {loader} takes ({_plain(text)})', 'too_large', hint=limit)
    header = read_header(data)
    deep = _decoded_deep(data)
    if deep is not None and deep.dtype != np.uint8:
        peak = _peak(deep)
        return Facts(
            f'has {_depth(deep)} values up to {peak:g}, which {loader} does not load',
            'bits',
            bits=deep.dtype.itemsize * 8,
            peak=peak,
        )
    what = f', a {header.format} of {header.width}x{header.height}' if header else ''
    if isinstance(error, AssertionError) or not text:
        text = ''  # mmcv only repeats the path
    reason = f': {_plain(text)}' if text and text != 'cannot be decoded' else ''
    kind = 'truncated' if 'truncated' in text else 'undecodable'
    return Facts(f'cannot be loaded by {loader}{what}{reason}', kind)


def _limit_hint(error: Exception, text: str) -> str:
    """How to raise the limit of size that an error speaks of; empty for other errors."""
    if isinstance(error, Image.DecompressionBombError):
        return (
            "the limit is Pillow's, not one of the data: read with imdecode_backend='cv2', or set PIL.Image.MAX_IMAGE_PIXELS "
            '= None in a module that the config names in custom_imports'
        )
    found = (
        re.search(r'CV_IO_MAX_IMAGE_(PIXELS|WIDTH|HEIGHT)', text) if isinstance(error, cv2.error) else None
    )
    if found:
        return (
            "the limit is OpenCV's, not one of the data: raise it with the environment variable "
            f'OPENCV_IO_MAX_IMAGE_{found[1]}, set before Python starts'
        )
    return ''


def _plain(text: str) -> str:
    """An error's text in one line, without the addresses of objects."""
    text = re.sub(r'<_io\.BytesIO object at 0x\w+>', 'the file', ' '.join(text.split()))
    return text if len(text) <= 200 else text[:200] + '...'


def _describe_picture(
    picture: LoadedPicture, header: Header | None, data: bytes, loader: ImageLoader
) -> Facts:
    known: dict[str, Any] = dict(width=picture.width, height=picture.height)
    if (header is None or header.bits != 8) and (loader.is_plain or loader.scale):
        known |= _depth_facts(picture.pixels, data)
    if header is None:
        channels = picture.pixels.shape[-1] if picture.pixels.ndim == 3 else 1
        return Facts(**known, channels=channels)
    turned = False
    if header.orientation != 1:
        answer = loader.turns(header.format, header.orientation)
        sides = (header.height, header.width)
        turned = answer if answer is not None else sides == (picture.width, picture.height)
    return Facts(**known, channels=header.channels, orientation=header.orientation, turned=turned)


def _depth_facts(loaded: np.ndarray, data: bytes) -> dict[str, Any]:
    """What loading made of a picture of more than 8 bits; nothing for one that it left as deep as it is."""
    stored = _decoded_deep(data)
    if stored is None or stored.dtype == np.uint8:
        return {}
    peak, loaded_peak = _peak(stored), _peak(loaded)
    if loaded.dtype != np.uint8 and loaded_peak >= peak:
        return {}
    return dict(bits=stored.dtype.itemsize * 8, peak=peak, loaded_peak=loaded_peak)


def _describe_label(label: np.ndarray, header: Header | None, loader: LabelLoader) -> Facts:
    height, width = label.shape[:2]
    known: dict[str, Any] = dict(width=width, height=height, mapped=not loader.keeps_stored_ids)
    if header and header.orientation != 1:
        known |= dict(
            orientation=header.orientation, turned=bool(loader.turns(header.format, header.orientation))
        )
    if label.ndim != 2:
        hint = ''
        if header and header.palette:
            hint = "a palette of colours, which this loading expands; imdecode_backend='pillow' reads the ids"
        return Facts(
            **known, channels=label.shape[-1], hint=hint, city_colours=_share_of_city_colours(label[..., :3])
        )
    if label.dtype == np.uint8:
        # Pillow's histogram is twice as fast as bincount.
        counts = Image.fromarray(label).histogram()
        return Facts(**known, channels=1, ids={value: count for value, count in enumerate(counts) if count})
    if loader.is_coded:
        return Facts(**known, channels=1, ids=_colour_counts(label))
    values, numbers = np.unique(label.astype(np.int64), return_counts=True)
    few = slice(0, _MOST_IDS)
    ids = dict(zip(values[few].tolist(), numbers[few].tolist(), strict=True))
    return Facts(**known, channels=1, bits=1 if label.dtype == bool else label.dtype.itemsize * 8, ids=ids)


def _colour_counts(label: np.ndarray) -> dict[int, int]:
    """How many pixels have each packed colour, (H, W), uint32; of very many colours the smallest numbers."""
    pixels = np.ascontiguousarray(label).view(np.uint8).reshape(*label.shape, 4)
    # Pillow counts in one pass; sorting all pixels takes ten times as long.
    counted = Image.fromarray(pixels, 'RGBA').getcolors(_MOST_IDS)
    if counted is not None:
        return {red | green << 8 | blue << 16: count for count, (red, green, blue, _) in counted}
    values, counts = np.unique(label, return_counts=True)
    return dict(zip(values[:_MOST_IDS].tolist(), counts[:_MOST_IDS].tolist(), strict=True))


def _decoded_deep(data: bytes) -> np.ndarray | None:
    try:
        return decode_deep(data)
    except Exception:
        return None


def _peak(pixels: np.ndarray) -> float:
    return float(np.nanmax(pixels, initial=0)) if pixels.size else 0.0


def _depth(pixels: np.ndarray) -> str:
    bits = pixels.dtype.itemsize * 8
    return f'{bits}-bit float' if pixels.dtype.kind == 'f' else f'{bits}-bit'


def _share_of_city_colours(pixels: np.ndarray) -> float:
    """The share of (height, width, 3) BGR pixels whose colour is in Cityscapes' palette."""
    if pixels.shape[-1] != 3:
        return 0.0
    weights = np.array([1 << 16, 1 << 8, 1])
    return float(np.isin(pixels[..., ::-1] @ weights, np.array(_CITYSCAPES_COLOURS) @ weights).mean())
