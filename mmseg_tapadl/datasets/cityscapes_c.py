"""Pre-generation of corrupted pictures for those who want files: parallel, resumable, the same pixels.

``<target>/<corruption>/<severity>/<city>/<name>.png``, made with the very function that corrupts on the fly.
While it runs, ``manifest.jsonl`` gets a line for every finished file; at the end ``manifest.json`` replaces it.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mmseg_tapadl.datasets.corruptions import check_cell, corrupt_picture, picture_identity, warm_up
from mmseg_tapadl.utils import InputError, atomic_write, sha256_of, write_json

# A bit more than the sample says: pictures differ, and file systems round up.
_MARGIN = 1.15
_SAMPLE_SIDE = 512


class PreGenerationError(InputError):
    """The pre-generation cannot start or go on; the message names the file."""


@dataclass(frozen=True)
class Settings:
    """What the pixels of a tree depend on, beside its source pictures.

    Attributes:
        cells: (corruption, severity) in the order of making.
        seed: Of the random corruptions.
        channel_order: ``'bgr'`` or ``'rgb'``.
    """

    cells: tuple[tuple[str, int], ...]
    seed: int = 0
    channel_order: str = 'bgr'


@dataclass(frozen=True)
class Task:
    """One file to make.

    Attributes:
        source: The clean picture.
        name: Path below the target, with forward slashes.
        identity: Names the picture for its seed.
        corruption: Of the file.
        severity: Of the file.
        seed: Of the random corruptions.
        channel_order: ``'bgr'`` or ``'rgb'``.
        target: The tree's root.
    """

    source: str
    name: str
    identity: str
    corruption: str
    severity: int
    seed: int
    channel_order: str
    target: str


def pictures_of(source: str | os.PathLike, split: str) -> tuple[Path, list[Path]]:
    """The picture folder of a split and its pictures in order.

    Raises:
        PreGenerationError: When there is none.
    """
    folder = Path(source) / 'leftImg8bit' / split
    pictures = sorted(folder.glob('*/*_leftImg8bit.png'))
    if not pictures:
        raise PreGenerationError(
            f'{folder} holds no picture <city>/*_leftImg8bit.png; SRC must be a Cityscapes root'
        )
    return folder, pictures


def pregenerate(
    source: str | os.PathLike,
    target: str | os.PathLike,
    settings: Settings,
    *,
    split: str = 'val',
    workers: int = 1,
    progress: Callable[[Iterator, int], Iterator] = lambda items, total: items,
) -> dict:
    """Makes what is not made yet.

    Args:
        source: A Cityscapes root.
        target: The tree to make.
        settings: Which cells and how.
        split: Of the source.
        workers: Processes.
        progress: Wraps the iteration over finished files, given it and the number of files.

    Returns:
        The manifest: ``settings``, ``split``, ``files`` (SHA-256 by name), ``made`` and ``skipped`` counts.

    Raises:
        PreGenerationError: For a source without pictures, a picture that cannot be read, a target made with
            other settings, too little free space.
    """
    for corruption, severity in settings.cells:
        check_cell(corruption, severity)
    target = Path(target)
    folder, pictures = pictures_of(source, split)
    done = _finished(target, settings, split)
    tasks = [
        Task(
            source=str(picture),
            name=f'{corruption}/{severity}/{picture.relative_to(folder).as_posix()}',
            identity=picture_identity(picture, source),
            corruption=corruption,
            severity=severity,
            seed=settings.seed,
            channel_order=settings.channel_order,
            target=str(target),
        )
        for corruption, severity in settings.cells
        for picture in pictures
    ]
    left = [task for task in tasks if task.name not in done]
    if left:
        _check_space(target, left, len(pictures))
        _make(target, left, done, settings, split, workers, progress)
    files = {task.name: done[task.name] for task in tasks}
    manifest = {**_header(settings, split), 'files': files}
    if left or not (target / 'manifest.json').exists():
        write_json(target / 'manifest.json', manifest)
        (target / 'manifest.jsonl').unlink(missing_ok=True)
    return {**manifest, 'made': len(left), 'skipped': len(tasks) - len(left)}


def _header(settings: Settings, split: str) -> dict:
    # Through JSON and back, so that it equals what a file gives.
    return json.loads(json.dumps({'format_version': 1, 'split': split, 'settings': asdict(settings)}))


def _finished(target: Path, settings: Settings, split: str) -> dict[str, str]:
    """SHA-256 of every file that a former run finished and that is still there."""
    header = _header(settings, split)
    files: dict[str, str] = {}
    for file in (target / 'manifest.json', target / 'manifest.jsonl'):
        if not file.exists():
            continue
        former, listed = _read_manifest(file)
        if former is None:
            continue
        if former != header:
            raise PreGenerationError(
                f'{target} was made with other settings (see {file}); give another folder, or delete that one'
            )
        files.update(listed)
    return {name: digest for name, digest in files.items() if (target / name).is_file()}


def _read_manifest(file: Path) -> tuple[dict | None, dict[str, str]]:
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.json':
        try:
            content = json.loads(text)
            files = content.pop('files')
        except (ValueError, KeyError, AttributeError) as error:
            raise PreGenerationError(
                f'{file} is broken ({error}); delete it to make the files anew'
            ) from error
        return content, files
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            # Cut off by a crash: that file is simply made again.
            continue
    return (lines[0], {entry['name']: entry['sha256'] for entry in lines[1:]}) if lines else (None, {})


def _make(
    target: Path,
    left: list[Task],
    done: dict[str, str],
    settings: Settings,
    split: str,
    workers: int,
    progress: Callable[[Iterator, int], Iterator],
) -> None:
    warm_up(tuple(corruption for corruption, _ in settings.cells))
    target.mkdir(parents=True, exist_ok=True)
    journal_file = target / 'manifest.jsonl'
    # Begun anew with what is known, so that a line cut off by a crash is not written behind.
    known = [{'name': name, 'sha256': digest} for name, digest in done.items()]
    with atomic_write(journal_file, 'w', encoding='utf-8') as file:
        file.writelines(json.dumps(entry) + '\n' for entry in [_header(settings, split), *known])
    with open(journal_file, 'a', encoding='utf-8') as journal, _runner(workers) as run:
        for name, digest in progress(run(make_file, left), len(left)):
            done[name] = digest
            journal.write(json.dumps({'name': name, 'sha256': digest}) + '\n')
            journal.flush()


class _runner:
    """Maps a function over tasks, in this process or in forked ones, yielding results as they come."""

    def __init__(self, workers: int) -> None:
        self.pool = multiprocessing.get_context('fork').Pool(workers) if workers > 1 else None

    def __enter__(self) -> Callable:
        return map if self.pool is None else self.pool.imap_unordered

    def __exit__(self, *error) -> None:
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()


def make_file(task: Task) -> tuple[str, str]:
    """Makes one file, whole or not at all.

    Returns:
        Its name and the SHA-256 of its bytes.

    Raises:
        PreGenerationError: When the picture cannot be read.
    """
    data = _encoded(task, _read(task.source))
    path = Path(task.target) / task.name
    with atomic_write(path) as file:
        file.write(data)
    return task.name, sha256_of(path)


def _read(path: str) -> np.ndarray:
    # The decoder that mmcv's LoadImageFromFile uses, with its flags.
    data = np.fromfile(path, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise PreGenerationError(f'cannot read the picture {path}')
    return image


def _encoded(task: Task, image: np.ndarray) -> bytes:
    corrupted = corrupt_picture(
        image,
        identity=task.identity,
        corruption=task.corruption,
        severity=task.severity,
        seed=task.seed,
        channel_order=task.channel_order,
    )
    return cv2.imencode('.png', corrupted)[1].tobytes()


def _check_space(target: Path, left: list[Task], pictures: int) -> None:
    """Encodes a piece of one picture for every cell, and asks the disk for that much for every picture.

    Raises:
        PreGenerationError: With the bytes needed and free.
    """
    samples: dict[tuple[str, int], int] = {}
    needed = 0.0
    image = _read(left[0].source)
    height, width = image.shape[:2]
    top, start = max(0, (height - _SAMPLE_SIDE) // 2), max(0, (width - _SAMPLE_SIDE) // 2)
    piece = np.ascontiguousarray(image[top : top + _SAMPLE_SIDE, start : start + _SAMPLE_SIDE])
    scale = height * width / (piece.shape[0] * piece.shape[1])
    for task in left:
        cell = (task.corruption, task.severity)
        if cell not in samples:
            samples[cell] = len(_encoded(task, piece))
        needed += samples[cell] * scale * _MARGIN
    existing = target
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise PreGenerationError(
            f'{target} needs about {needed / 1e9:.2f} GB for {len(left)} files of {pictures} pictures, but only '
            f'{free / 1e9:.2f} GB are free'
        )
