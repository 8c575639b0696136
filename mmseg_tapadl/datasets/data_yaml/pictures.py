"""The pictures of a split and their masks: of folders, or as list files name them."""

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mmseg_tapadl.datasets.data_yaml.templates import MaskFinder, PicturePlace
from mmseg_tapadl.utils import shown

PICTURE_ENDINGS = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib', '.webp', '.tif', '.tiff'),
    *('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.gif'),
)
ANY_PICTURE = '{stem}.*'


@dataclass(frozen=True)
class Pair:
    """A picture and its mask.

    Attributes:
        picture: The picture.
        mask: Where its mask is, or should be; None for pictures without masks.
        found: The files that the template names: one, or there is a fault.
    """

    picture: PicturePlace
    mask: str | None
    found: tuple[str, ...] = ()


@dataclass
class Source:
    """One folder of pictures, or one list of them, of a split.

    Attributes:
        root: What all else is relative to.
        images: The folder, below which ``{folder}`` is.
        masks: Template; None for pictures without masks.
        split: In place of ``{split}``.
        list_file: The list, if it is one.
        lines_from: The folder that lines of the list are relative to.
        pictures: What names of pictures look like: ``{stem}.*``, ``{stem}_leftImg8bit.png``.
        problems: What is wrong with the lines of the list, each with its line.
    """

    root: str
    images: str
    masks: str | None
    split: str
    list_file: str | None = None
    lines_from: str = ''
    pictures: str = ANY_PICTURE
    problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Path of the pictures' folder."""
        return os.path.normpath(os.path.join(self.root, self.images))

    def pairs(self) -> list[Pair]:
        """Every picture with its mask, sorted, or in the order of the list; masks are not taken for pictures.

        Raises:
            OSError: The folder or list cannot be read.
        """
        places = [self._place(path) for path in (self._listed() if self.list_file else self._found())]
        if self.masks is None:
            return [Pair(place, None) for place in places]
        finder = MaskFinder(self.root, self.masks, self.split)
        pairs = [Pair(place, mask, tuple(found)) for place in places for mask, found in [finder.find(place)]]
        if self.list_file:
            return pairs
        # Where pictures and masks lie in one folder.
        masks = {path for pair in pairs for path in pair.found}
        return [pair for pair in pairs if pair.picture.path not in masks]

    def _found(self) -> list[str]:
        wanted = name_pattern(self.pictures)
        if not os.path.isdir(self.folder):
            raise FileNotFoundError(2, 'no such folder', self.folder)
        found = (path for path in files_below(self.folder) if wanted.fullmatch(os.path.basename(path)))
        return sorted(path for path in found if path.lower().endswith(PICTURE_ENDINGS))

    def _listed(self) -> list[str]:
        assert self.list_file is not None
        file = os.path.join(self.root, self.list_file)
        with open(file, encoding='utf-8-sig', errors='surrogateescape') as text:
            lines = [line.strip() for line in text]
        self.problems = []
        found = []
        known: dict[str, list[str]] = {}
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            bases = [os.path.dirname(file)]
            if not line.startswith(('./', '../')):
                bases.insert(0, os.path.join(self.root, self.lines_from))
            tried = [os.path.normpath(os.path.join(base, line)) for base in bases]
            path = next((path for place in tried if (path := _picture_at(place, known))), None)
            if path is None:
                self.problems.append((number, f'{shown(line)}: no picture {shown(tried[0])}'))
            else:
                found.append(path)
        return found

    def _place(self, path: str) -> PicturePlace:
        name, folder = os.path.basename(path), os.path.dirname(path)
        matched = name_pattern(self.pictures).fullmatch(name)
        stem = matched['stem'] if matched else os.path.splitext(name)[0]
        inside = os.path.relpath(folder, self.folder)
        parent = os.path.relpath(os.path.dirname(folder), self.root)
        return PicturePlace(path, '' if inside == '.' else inside, '' if parent == '.' else parent, stem)


def name_pattern(pictures: str) -> re.Pattern[str]:
    """What a name of ``pictures:`` matches; its group ``stem`` is what ``{stem}`` stands for."""
    if pictures == ANY_PICTURE:
        return re.compile(r'(?P<stem>.+)\.[^.]+', re.DOTALL)
    head, tail = (re.escape(part).replace(r'\*', '.*') for part in pictures.split('{stem}'))
    return re.compile(f'{head}(?P<stem>.+){tail}', re.DOTALL)


def files_below(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Files that are not hidden, also behind links, but not round in circles."""
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith('.'):
                continue
            if not entry.is_dir():
                # A link to nothing is listed too: whoever reads it tells.
                yield os.path.normpath(entry.path)
            elif os.path.realpath(entry.path) not in above:
                yield from files_below(entry.path, above)


def near_names(path: str) -> str:
    """`` (did you mean ...?)`` or what lies beside a path that is not there."""
    folder, name = os.path.split(os.path.normpath(path))
    while folder and not os.path.isdir(folder):
        folder, name = os.path.split(folder)
    try:
        names = sorted(entry for entry in os.listdir(folder or '.') if not entry.startswith('.'))
    except OSError:
        return ''
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f' (did you mean {shown(os.path.join(folder, near[0]))}?)'
    listed = ', '.join(shown(entry) for entry in names[:6])
    return f' ({shown(folder or ".")} holds {listed}{", ..." if len(names) > 6 else ""})' if names else ''


def shared_files(first: Sequence[Pair], second: Sequence[Pair]) -> list[tuple[str, str]]:
    """The pictures of both that are one file, also by links."""
    known = {key: pair.picture.path for pair in first if (key := _identity(pair.picture.path))}
    return [
        (known[key], pair.picture.path)
        for pair in second
        if (key := _identity(pair.picture.path)) and key in known
    ]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _picture_at(path: str, known: dict[str, list[str]]) -> str | None:
    """The picture at a path, or the one that has this name and an ending."""
    if os.path.isfile(path):
        return path
    folder, name = os.path.split(path)
    if folder not in known:
        known[folder] = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    ends = (entry for entry in known[folder] if os.path.splitext(entry)[0] == name)
    return next(
        (os.path.join(folder, entry) for entry in ends if entry.lower().endswith(PICTURE_ENDINGS)), None
    )
