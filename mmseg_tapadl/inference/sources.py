"""Which pictures a prediction is about: a file, or what a data set would find in a folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.logging import print_log

from mmseg_tapadl.evaluation.result_files import is_result
from mmseg_tapadl.utils import InputError, shown

PICTURE_SUFFIXES = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib', '.webp', '.tif', '.tiff'),
    *('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.gif'),
)


def find_pictures(
    source: str | Path, *, passed_over: Sequence[Path] = (), suffixes: Sequence[str] = ()
) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the pictures: one file, or all below a folder, sorted.

    Below a folder hidden files are left out and links are followed, as mmengine's listing of data sets does, but not
    round in circles. Results of this toolkit are no pictures; how many were left out is told.

    Args:
        source: A picture or a folder.
        passed_over: Folders whose files do not count: those that the results are written to.
        suffixes: Ends of names that are pictures beside :data:`PICTURE_SUFFIXES`, such as a data set's own.

    Raises:
        InputError: ``source`` does not exist, cannot be listed or holds no picture.
    """
    source = Path(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise InputError(f'{shown(source)}: no such picture or folder')
    closed = {os.path.realpath(folder) for folder in passed_over} - {os.path.realpath(source)}
    ends = (*PICTURE_SUFFIXES, *(suffix.lower() for suffix in suffixes if suffix))
    found = [path for path in _files_below(source, closed) if path.name.lower().endswith(ends)]
    pictures = sorted(path for path in found if not is_result(path))
    if len(pictures) < len(found):
        print_log(
            f'{len(found) - len(pictures)} results of former predictions below {shown(source)} are left out'
        )
    if not pictures:
        raise InputError(f'{shown(source)}: no picture in this folder ({", ".join(ends)})')
    return source, pictures


def _files_below(folder: Path, closed: set[str]) -> Iterator[Path]:
    """Files that are not hidden, also behind links; ``closed`` are the folders not to enter, by their real paths."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f'{shown(folder)}: cannot be listed: {error.strerror}') from error
    # A link that leads back to a folder above would lead round in a circle.
    closed = closed | {os.path.realpath(folder)}
    for entry in entries:
        if not entry.name.startswith('.') and os.path.isfile(entry.path):
            yield Path(entry.path)
        elif os.path.isdir(entry.path) and os.path.realpath(entry.path) not in closed:
            yield from _files_below(Path(entry.path), closed)
