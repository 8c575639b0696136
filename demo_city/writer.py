"""Writes the demo city: clear streets as Cityscapes, the same kind in bad weather as ACDC, one root.

Every picture has random streams of its own, keyed by (seed, split, condition, index): its bytes do not
depend on how many others are painted, in which order, or by how many processes.
"""

import json
import multiprocessing
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from demo_city.scene import paint_scene
from demo_city.weather import CONDITIONS, render
from mmseg_tapadl.utils import InputError, atomic_write, write_json

# Raise it when the same parameters paint something else: painted cities are then not taken for current.
VERSION = 1
MANIFEST = 'demo_city.json'
UNFINISHED = '.demo_city_unfinished.json'
FOLDERS = ('leftImg8bit', 'gtFine', 'rgb_anon', 'gt')
ADVERSE = tuple(condition for condition in CONDITIONS if condition != 'clear')

_SPLITS = ('train', 'val', 'test', 'val_ref')
_CITIES = {'train': ('lindental', 'nordhafen', 'seeburg'), 'val': ('altmarkt', 'brunnwies')}
_SUPERSAMPLE = 2
# Fewer are painted sooner than a second process has started
_WORTH_PROCESSES = 32


class DemoCityError(InputError):
    """The target holds something else than this city, or the parameters make no city."""


@dataclass(frozen=True)
class DemoCityOptions:
    """What to paint.

    Attributes:
        train: Clear training pictures (Cityscapes layout).
        val: Clear validation pictures.
        adverse_train: Training pictures of each of fog, night, rain and snow (ACDC layout).
        adverse_val: Validation pictures of each.
        adverse_test: Test pictures of each; they get no labels.
        width: Pixels.
        height: Pixels.
        seed: Another seed, another city.
    """

    train: int = 64
    val: int = 16
    adverse_train: int = 4
    adverse_val: int = 4
    adverse_test: int = 2
    width: int = 512
    height: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 64 or self.height < 32:
            raise DemoCityError(f'size {self.width}x{self.height}: at least 64x32')
        for name in ('train', 'val', 'adverse_train', 'adverse_val', 'adverse_test', 'seed'):
            if getattr(self, name) < 0:
                raise DemoCityError(f'{name} is {getattr(self, name)}: at least 0')


@dataclass(frozen=True)
class Picture:
    """One picture to paint; paths are relative to the city's root, ``label`` is None in test splits."""

    image: str
    label: str | None
    split: str
    condition: str
    index: int


def list_pictures(options: DemoCityOptions) -> list[Picture]:
    """Everything a city with these options consists of, in a fixed order."""
    pictures = []
    for split, count in (('train', options.train), ('val', options.val)):
        for index in range(count):
            city = _CITIES[split][index % len(_CITIES[split])]
            stem = f'{split}/{city}/{city}_{index:06d}_000019'
            pictures.append(
                Picture(
                    f'leftImg8bit/{stem}_leftImg8bit.png',
                    f'gtFine/{stem}_gtFine_labelTrainIds.png',
                    split,
                    'clear',
                    index,
                )
            )
    counts = {
        'train': options.adverse_train,
        'val': options.adverse_val,
        'test': options.adverse_test,
        # The clear twin of the first validation picture, without a label: never to be counted.
        'val_ref': min(1, options.adverse_val),
    }
    for number, condition in enumerate(ADVERSE):
        for split, count in counts.items():
            for index in range(count):
                sequence = f'DEMO{number + 1:02d}{_SPLITS.index(split):02d}'
                stem = f'{condition}/{split}/{sequence}/{sequence}_frame_{index + 1:06d}'
                reference = split.endswith('_ref')
                labelled = split in ('train', 'val')
                pictures.append(
                    Picture(
                        f'rgb_anon/{stem}_rgb{"_ref" if reference else ""}_anon.png',
                        f'gt/{stem}_gt_labelTrainIds.png' if labelled else None,
                        split,
                        condition,
                        index,
                    )
                )
    return pictures


def paint_picture(picture: Picture, options: DemoCityOptions) -> tuple[np.ndarray, np.ndarray]:
    """Paints one picture.

    Returns:
        The image (height, width, 3) uint8 BGR and its label (height, width) uint8 trainIds.
    """
    reference = picture.split.endswith('_ref')
    split = picture.split.removesuffix('_ref')
    key = (_SPLITS.index(split), CONDITIONS.index(picture.condition), picture.index)
    scene_rng, weather_rng = (
        np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(*key, stream)))
        for stream in (0, 1)
    )
    scene = paint_scene(scene_rng, options.width * _SUPERSAMPLE, options.height * _SUPERSAMPLE)
    scene.canvas = scene.canvas.shrunk(_SUPERSAMPLE)
    image = render(scene, weather_rng, 'clear' if reference else picture.condition)
    return np.round(image).astype(np.uint8), scene.canvas.label


def write_demo_city(
    target: str | Path,
    options: DemoCityOptions,
    *,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: bool = True,
) -> Counter | None:
    """Paints the city into ``target``, or leaves it when it is already there.

    Args:
        target: Root of the city, used as ``data_root``.
        options: What to paint.
        overwrite: Replace a city that was painted with other options.
        jobs: Processes; None for one per core, or only this one for a small city.
        progress: Show a bar.

    Returns:
        Pictures by 'split' and 'condition/split', or None when the city was already there.

    Raises:
        DemoCityError: ``target`` holds a city of other options (without ``overwrite``) or data that this
            function did not write.
    """
    root = Path(target)
    pictures = list_pictures(options)
    if not pictures:
        raise DemoCityError('no pictures asked for: all counts are 0')
    wanted = {'version': VERSION, **asdict(options)}
    if _is_there(root, wanted, pictures, overwrite=overwrite):
        return None
    for folder in FOLDERS:
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / MANIFEST).unlink(missing_ok=True)
    write_json(root / UNFINISHED, wanted)
    work = partial(_write_picture, root=root, options=options)
    if jobs is None:
        jobs = (os.cpu_count() or 1) if len(pictures) >= _WORTH_PROCESSES else 1
    with tqdm(total=len(pictures), desc='paint', disable=not progress) as bar:
        if jobs == 1:
            for picture in pictures:
                work(picture)
                bar.update()
        else:
            # Not forked: a fork of a process whose OpenCV has threads can hang.
            context = multiprocessing.get_context('spawn')
            with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
                for _ in pool.map(work, pictures, chunksize=2):
                    bar.update()
    write_json(root / MANIFEST, {**wanted, 'pictures': len(pictures)})
    (root / UNFINISHED).unlink()
    return Counter(
        picture.split if picture.condition == 'clear' else f'{picture.condition}/{picture.split}'
        for picture in pictures
    )


def _is_there(root: Path, wanted: dict, pictures: list[Picture], *, overwrite: bool) -> bool:
    """Whether the city stands in ``root`` complete and as wanted; raises where painting would destroy."""
    manifest, unfinished = root / MANIFEST, root / UNFINISHED
    if not manifest.is_file():
        foreign = [name for name in FOLDERS if (root / name).exists()]
        if foreign and not unfinished.is_file():
            raise DemoCityError(
                f'{root} holds {", ".join(foreign)} but no {MANIFEST}: not painted by this tool; choose another folder'
            )
        return False
    try:
        found = json.loads(manifest.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DemoCityError(
            f'{manifest} is not valid JSON ({error}); remove it and the folders beside it'
        ) from error
    differing = [
        f'{key} {found.get(key)} (asked for: {value})'
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if differing and not overwrite:
        raise DemoCityError(
            f'{root} holds a city with other parameters: {", ".join(differing)}; pass --overwrite to replace it'
        )
    files = [name for picture in pictures for name in (picture.image, picture.label) if name]
    return not differing and all((root / name).is_file() for name in files)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _write_picture(picture: Picture, *, root: Path, options: DemoCityOptions) -> None:
    image, label = paint_picture(picture, options)
    if picture.label is not None:
        _write_png(root / picture.label, label)
    _write_png(root / picture.image, image)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    done, data = cv2.imencode('.png', pixels)
    if not done:
        raise OSError(f'{path}: cannot be encoded as PNG')
    with atomic_write(path) as file:
        file.write(data.tobytes())
