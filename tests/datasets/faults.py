"""A catalogue of faults in data: how to plant each, and what the data check must say of it.

Used by the tests of the data check, and by the benchmark that counts faults found of faults planted.
"""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import trainId2label
from PIL import Image

SIZE = (48, 24)  # width, height


@dataclass(frozen=True)
class PlantedFault:
    """One way to break a pair.

    Attributes:
        name: Unique, for test ids and tables.
        kind: The kind under which the check must report it.
        plant: Breaks the pair (image path, label path) and returns the path that must be reported.
        hint: Words that the guess at the cause must contain; empty when no guess is asked for.
    """

    name: str
    kind: str
    plant: Callable[[Path, Path], Path]
    hint: str = ''


def make_root(root: Path, *, count: int, splits: tuple[str, ...] = ('train', 'val')) -> None:
    """Writes a small faultless Cityscapes root; every label shows all 19 classes and void."""
    rng = np.random.default_rng(5)
    for split in splits:
        for index in range(count):
            image, label = pair_paths(root, split, index)
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            width, height = SIZE
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
            ids = np.resize(np.array([*range(19), 255], dtype=np.uint8), width * height)
            Image.fromarray(rng.permutation(ids).reshape(height, width)).save(label)


def pair_paths(root: Path, split: str, index: int) -> tuple[Path, Path]:
    """Image and label number ``index`` of a split."""
    stem = f'{split}/town/town_{index:06d}_000019'
    return root / f'leftImg8bit/{stem}_leftImg8bit.png', root / f'gtFine/{stem}_gtFine_labelTrainIds.png'


def _image(change: Callable[[Path], object]) -> Callable[[Path, Path], Path]:
    def plant(image: Path, label: Path) -> Path:
        change(image)
        return image

    return plant


def _label(change: Callable[[Path], object]) -> Callable[[Path, Path], Path]:
    def plant(image: Path, label: Path) -> Path:
        change(label)
        return label

    return plant


def _empty(path: Path) -> None:
    path.write_bytes(b'')


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12])


def _flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def _content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name('gone.png'))


def _pixels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Rewrites a label through a function of its array."""

    def rewrite(path: Path) -> None:
        with Image.open(path) as image:
            pixels = np.array(image)
        Image.fromarray(change(pixels)).save(path)

    return rewrite


def _as_colours(ids: np.ndarray) -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    for train_id in range(19):
        colours[train_id] = trainId2label[train_id].color
    return colours[ids]


def _as_label_ids(ids: np.ndarray) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for train_id in range(19):
        table[train_id] = trainId2label[train_id].id
    return table[ids]


def _with_alpha(ids: np.ndarray) -> np.ndarray:
    return np.dstack([_as_colours(ids), np.full(ids.shape, 255, np.uint8)])


def _one_pixel(value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(ids: np.ndarray) -> np.ndarray:
        ids[3, 4] = value
        return ids

    return change


def _as_instance_ids(ids: np.ndarray) -> np.ndarray:
    return (_as_label_ids(ids).astype(np.uint16) * 1000 + 1).astype(np.uint16)


def _resized(width: int, height: int) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with Image.open(path) as image:
            small = image.resize((width, height), Image.Resampling.NEAREST)
        small.save(path)

    return rewrite


def _picture_for_label(image: Path, label: Path) -> Path:
    shutil.copy(image, label)
    return label


def _grey_picture_for_label(image: Path, label: Path) -> Path:
    with Image.open(image) as picture:
        grey = picture.convert('L')
    grey.save(label)
    return label


def _only_label_ids(image: Path, label: Path) -> Path:
    label.rename(label.with_name(label.name.replace('labelTrainIds', 'labelIds')))
    return label


def _jpeg_cut(path: Path) -> None:
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert('RGB').save(buffer, format='JPEG')
    path.write_bytes(buffer.getvalue()[:-200])


_W, _H = SIZE
_LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'
_HTML = b'<!DOCTYPE html><html><body>404</body></html>'

CATALOGUE: tuple[PlantedFault, ...] = (
    PlantedFault('image missing', 'image_missing', _image(Path.unlink)),
    PlantedFault('image a link to nothing', 'image_missing', _image(_dangling)),
    PlantedFault('image empty', 'image_empty', _image(_empty)),
    PlantedFault('image cut in half', 'image_truncated', _image(_half)),
    PlantedFault('image without its end', 'image_truncated', _image(_without_end)),
    PlantedFault('image a cut JPEG', 'image_truncated', _image(_jpeg_cut)),
    PlantedFault('image with a flipped bit', 'image_damaged', _image(_flip_bit)),
    PlantedFault('image is text', 'image_undecodable', _image(_content(b'not a picture\n'))),
    PlantedFault('image is a web page', 'image_undecodable', _image(_content(_HTML))),
    PlantedFault('image is a Git LFS pointer', 'image_undecodable', _image(_content(_LFS))),
    PlantedFault('image is all zeros', 'image_undecodable', _image(_content(bytes(3000)))),
    PlantedFault('label missing', 'label_missing', _label(Path.unlink)),
    PlantedFault('label a link to nothing', 'label_missing', _label(_dangling)),
    PlantedFault('only labelIds there', 'label_missing', _only_label_ids, 'createTrainIdLabelImgs'),
    PlantedFault('label empty', 'label_empty', _label(_empty)),
    PlantedFault('label cut in half', 'label_truncated', _label(_half)),
    PlantedFault('label without its end', 'label_truncated', _label(_without_end)),
    PlantedFault('label with a flipped bit', 'label_damaged', _label(_flip_bit)),
    PlantedFault('label is text', 'label_undecodable', _label(_content(b'0 1 2\n'))),
    PlantedFault('label of half the size', 'label_size', _label(_resized(_W // 2, _H // 2))),
    PlantedFault('label of another aspect', 'label_size', _label(_resized(_W - 1, _H))),
    PlantedFault('label on its side', 'label_size', _label(_pixels(lambda ids: np.ascontiguousarray(ids.T)))),
    PlantedFault('colour label', 'label_channels', _label(_pixels(_as_colours)), 'colour labels'),
    PlantedFault('colour label with alpha', 'label_channels', _label(_pixels(_with_alpha)), 'colour labels'),
    PlantedFault('picture in place of a label', 'label_channels', _picture_for_label, 'picture'),
    PlantedFault('grey picture in place of a label', 'label_ids', _grey_picture_for_label, 'saved in grey'),
    PlantedFault('labelIds for trainIds', 'label_ids', _label(_pixels(_as_label_ids)), 'labelIds'),
    PlantedFault(
        'ids shifted by one',
        'label_ids',
        _label(_pixels(lambda ids: np.where(ids < 255, ids + 1, 255).astype(np.uint8))),
        'shifted by one',
    ),
    PlantedFault('one pixel with id 33', 'label_ids', _label(_pixels(_one_pixel(33)))),
    PlantedFault('one pixel with id 254', 'label_ids', _label(_pixels(_one_pixel(254)))),
    PlantedFault('instanceIds of 16 bits', 'label_bits', _label(_pixels(_as_instance_ids)), 'instanceIds'),
    PlantedFault('label all void', 'label_void', _label(_pixels(lambda ids: np.full_like(ids, 255)))),
)
