"""Small data sets in layouts of a person's own, with a ``data.yaml`` each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# The file of the issue, word by word.
WRITTEN = """\
path: street pictures            # relative to this file
train: train/images
val: val/images
masks: "{split}/masks/{stem}_mask.png"
classes:
  - {name: road, colors: [[128, 64, 128], [60, 40, 222]]}
  - {name: sky, colors: [[128, 128, 128]]}
ignore: {colors: [[0, 0, 0]]}
"""
# Values in the masks of WRITTEN, and the classes they are.
COLOURS = [(128, 64, 128), (60, 40, 222), (128, 128, 128), (0, 0, 0)]
CLASSES = [0, 0, 1, 255]
SIZE = (64, 48)  # width, height


def blocks(count: int, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Squares of 8 pixels of the numbers below ``count``, (H, W); every number is there."""
    width, height = size
    cells = np.random.default_rng(seed).integers(0, count, (-(-height // 8), -(-width // 8)))
    cells.flat[:count] = range(count)
    return cells.repeat(8, 0).repeat(8, 1)[:height, :width]


def paint(
    picture: Path, mask: Path, values: Sequence, seed: int = 0, size: tuple[int, int] = SIZE
) -> np.ndarray:
    """Writes a picture and its mask of ids or colours; returns the places in ``values``, (H, W)."""
    numbers = blocks(len(values), seed, size)
    noise = np.random.default_rng(seed).normal(0, 8, (*numbers.shape, 3))
    tones = 255 * (numbers + 1) / (len(values) + 1)
    for path in (picture, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(tones[..., None] + noise, 0, 255).astype(np.uint8)).save(picture)
    Image.fromarray(np.array(values, np.uint8)[numbers]).save(mask)
    return numbers


def paint_written(root: Path, train: int = 3, val: int = 2) -> Path:
    """The data set of :data:`WRITTEN`, its names with spaces and letters of other scripts; returns its ``data.yaml``."""
    folder = root / 'street pictures'
    for split, count in (('train', train), ('val', val)):
        for number in range(count):
            stem = f'Straße {split} 街{number}'
            paint(
                folder / split / 'images' / f'{stem}.png',
                folder / split / 'masks' / f'{stem}_mask.png',
                COLOURS,
                seed=number,
            )
    file = root / 'data.yaml'
    file.write_text(WRITTEN, encoding='utf-8')
    return file


def write(file: Path, text: str) -> Path:
    """Writes a ``data.yaml``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding='utf-8')
    return file
