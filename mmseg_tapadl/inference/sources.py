"""Which pictures a prediction is about: a file, or what a data set would find in a folder."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.logging import print_log

from mmseg_tapadl.datasets.data_yaml.pictures import PICTURE_ENDINGS
from mmseg_tapadl.evaluation.result_files import common_folder, is_result
from mmseg_tapadl.inference.videos import is_result_video, is_video
from mmseg_tapadl.utils import InputError, shown


def find_pictures(
    source: str | Path | Sequence[str | Path],
    *,
    passed_over: Sequence[Path] = (),
    suffixes: Sequence[str] = (),
) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the pictures: one file, or all below a folder, sorted.

    Below a folder hidden files are left out and links are followed, as mmengine's listing of data sets does, but not
    round in circles. Results of this toolkit are no pictures; how many were left out is told.

    Args:
        source: A picture or a folder; or several, of which the root is the folder that all pictures share.
        passed_over: Folders whose files do not count: those that the results are written to.
        suffixes: Ends of names that are pictures beside :data:`~mmseg_tapadl.datasets.data_yaml.pictures.PICTURE_ENDINGS`, such as a data set's own.

    Raises:
        InputError: ``source`` does not exist, cannot be listed or holds no picture.
    """
    if not isinstance(source, (str, Path)):
        each = [find_pictures(one, passed_over=passed_over, suffixes=suffixes) for one in source]
        several = list(dict.fromkeys(path for _, pictures in each for path in pictures))
        return each[0] if len(each) == 1 else (Path(common_folder(several) or '.'), several)
    source = Path(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise InputError(f'{shown(source)}: no such picture or folder')
    closed = {os.path.realpath(folder) for folder in passed_over} - {os.path.realpath(source)}
    ends = (*PICTURE_ENDINGS, *(suffix.lower() for suffix in suffixes if suffix))
    files = list(_files_below(source, closed))
    found = [path for path in files if path.name.lower().endswith(ends)]
    pictures = sorted(path for path in found if not is_result(path))
    if len(pictures) < len(found):
        print_log(
            f'{len(found) - len(pictures)} results of former predictions below {shown(source)} are left out'
        )
    videos = [path for path in files if is_video(path) and not is_result_video(path)]
    if not pictures:
        advice = f'; of its {len(videos)} videos name each, or all by a pattern' if videos else ''
        raise InputError(f'{shown(source)}: no picture in this folder ({", ".join(ends)}){advice}')
    if videos:
        print_log(f'{len(videos)} videos below {shown(source)} are left out: name them to have them labelled')
    return source, pictures


def videos_and_others(sources: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Sorts what a person names into videos and pictures or folders; patterns (``*``, ``?``, ``[...]``, ``**``) are expanded.

    What a pattern finds counts where it is a folder, a picture or a video; results of this toolkit do not.

    Raises:
        InputError: A pattern that finds nothing of this kind.
    """
    videos: list[Path] = []
    others: list[Path] = []
    for source in sources:
        found = [Path(source)]
        if not os.path.lexists(source) and glob.has_magic(os.fspath(source)):
            hits = sorted(Path(path) for path in glob.glob(os.fspath(source), recursive=True))
            found = [path for path in hits if path.is_dir() or _is_usable(path)]
            if not found:
                raise InputError(f'{shown(source)}: this pattern finds no picture, folder or video')
        for path in found:
            (videos if is_video(path) and not path.is_dir() else others).append(path)
    return list(dict.fromkeys(videos)), list(dict.fromkeys(others))


def _is_usable(path: Path) -> bool:
    if is_video(path):
        return not is_result_video(path)
    return path.name.lower().endswith(PICTURE_ENDINGS) and not is_result(path)


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
