"""A person's own small data set for tests of the data check: images/, labels/, three classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_tapadl.datasets.integrity import Report, check_dataset

SIZE = (24, 16)  # width, height
CLASSES = ('road', 'car', 'sky')


def make_own_set(root: Path, names: tuple[str, ...] = ('p00', 'p01'), suffix: str = '.png') -> None:
    """Writes pictures and labels; every label shows all classes and void."""
    rng = np.random.default_rng(3)
    width, height = SIZE
    for name in names:
        image, label = root / f'images/{name}{suffix}', root / f'labels/{name}.png'
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
        ids = np.resize(np.array([0, 1, 2, 255], np.uint8), width * height)
        Image.fromarray(ids.reshape(height, width)).save(label)


def own_config(root: Path, suffix: str = '.png', image: Any = None, label: Any = None, **more: Any) -> dict:
    """The config of the set; ``image`` and ``label`` replace the loading transforms."""
    return dict(
        type='BaseSegDataset',
        metainfo=dict(classes=CLASSES),
        data_root=str(root),
        img_suffix=suffix,
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            image or dict(type='LoadImageFromFile'),
            label or dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
        **more,
    )


def check_own(root: Path, suffix: str = '.png', **more: Any) -> Report:
    """The report of the set."""
    return check_dataset(own_config(root, suffix, **more), split='train', progress=False)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replaces a file's bytes."""
    path.write_bytes(change(path.read_bytes()))


def told(report: Report) -> list[tuple[str, str]]:
    """Kind and file name of each fault."""
    return sorted((fault.kind, Path(fault.path).name) for fault in report.faults)
