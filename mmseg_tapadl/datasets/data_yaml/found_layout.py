"""Finds out how pictures and masks lie in a folder: which is which, how their names belong together, which splits there are."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mmseg_tapadl.datasets.data_yaml.pictures import PICTURE_ENDINGS, files_below
from mmseg_tapadl.utils import InputError, shown

_SPLIT_WORDS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev', 'eval'),
    'test': ('test', 'testing'),
}
# A mask has few values, a photograph many.
_MOST_VALUES = 64
_SAMPLED = 3
_SIDE = 256
# Names such as frame_a, frame_b: their ends tell pictures apart, not kinds.
_MOST_ENDS = 6
# Of several masks of one picture, those to take.
_PREFERRED = ('trainids', 'labelids', 'label', 'mask', 'gt', 'seg')


@dataclass(frozen=True)
class Group:
    """Files of one folder that are of one kind by their names.

    Attributes:
        folder: Below the folder that is looked at.
        ending: ``.png``.
        tail: What all stems end with, a word behind a separator: ``_mask``, or nothing.
        names: The stems.
    """

    folder: str
    ending: str
    tail: str
    names: tuple[str, ...]

    def path(self, name: str) -> str:
        """Of one of its files, below the folder that is looked at."""
        return os.path.join(self.folder, name + self.ending)


@dataclass(frozen=True)
class Match:
    """How the names of masks follow from those of pictures.

    Attributes:
        picture: What stands before and behind the stem in a picture's name.
        mask: What stands before and behind it in a mask's.
        count: Pictures whose mask is there.
    """

    picture: tuple[str, str]
    mask: tuple[str, str]
    count: int

    def mask_of(self, name: str) -> str:
        """The name of a picture's mask, both without their endings."""
        return self.mask[0] + name[len(self.picture[0]) : len(name) - len(self.picture[1])] + self.mask[1]


@dataclass
class FoundLayout:
    """What a ``data.yaml`` is to say of the files.

    Attributes:
        splits: Folders or lists of each split.
        masks: Template by split.
        pictures: Of names of pictures.
        images: What lists are relative to.
        lists: List files to write, by name: their lines.
        notes: What a person should know.
    """

    splits: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    pictures: str = '{stem}.*'
    images: str = ''
    lists: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(root: Path) -> FoundLayout:
    """Looks at a folder.

    Raises:
        InputError: No pictures, no masks, or none that belong together by their names.
    """
    files = [os.path.relpath(path, root) for path in files_below(str(root))]
    groups = _groups(file for file in files if file.lower().endswith(PICTURE_ENDINGS))
    if not groups:
        raise InputError(f'{shown(root)}: holds no pictures')
    kinds = {group: _kind_of(root, group) for group in groups}
    masks = [group for group, kind in kinds.items() if kind == 'mask']
    pictures = [group for group, kind in kinds.items() if kind == 'picture']
    if not masks or not pictures:
        found, missing = ('pictures', 'masks') if pictures else ('masks', 'pictures')
        raise InputError(
            f'{shown(root)}: holds {found} only, no {missing} (masks are files of at most {_MOST_VALUES} values that are no JPEG)'
        )
    pairs = {group: _best(group, masks) for group in pictures}
    known = {group: pair for group, pair in pairs.items() if pair is not None}
    if not known:
        raise InputError(
            f'{shown(root)}: no mask has the name of its picture in it: pictures are called '
            f'{shown(pictures[0].path(pictures[0].names[0]))}, masks {shown(masks[0].path(masks[0].names[0]))}'
        )
    layout = FoundLayout()
    layout.notes += [
        f'{len(group.names)} pictures in {shown(group.folder or ".")} have no masks and are left out'
        for group, pair in pairs.items()
        if pair is None
    ]
    _settle_names(layout, known)
    _settle_places(layout, root, files, known)
    if 'val' not in layout.splits:
        layout.notes.append('no pictures for validation were found: without val: a training is not validated')
    return layout


def _groups(files: Iterable[str]) -> list[Group]:
    by_place: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        folder, name = os.path.split(file)
        stem, ending = os.path.splitext(name)
        by_place[folder, ending].append(stem)
    groups = []
    for (folder, ending), stems in sorted(by_place.items()):
        by_tail: dict[str, list[str]] = defaultdict(list)
        for stem in sorted(stems):
            found = re.search(r'[-_. ][^\W\d_](?:[^\W_]*[^\W\d_])?$', stem)
            by_tail[found[0] if found else ''].append(stem)
        if len(by_tail) > _MOST_ENDS:
            by_tail = {'': sorted(stems)}
        groups += [Group(folder, ending, tail, tuple(names)) for tail, names in by_tail.items()]
    return groups


def _kind_of(root: Path, group: Group) -> str:
    """``'picture'``, ``'mask'`` or ``'other'``, by some of its files."""
    step = max(1, len(group.names) // _SAMPLED)
    answers = Counter(_kind_of_file(root / group.path(name)) for name in group.names[::step][:_SAMPLED])
    return answers.most_common(1)[0][0]


def _kind_of_file(path: Path) -> str:
    try:
        with Image.open(path) as image:
            if image.format == 'JPEG':
                return 'picture'
            if image.mode in ('1', 'P'):
                return 'mask'
            if image.mode.startswith(('I', 'F')):
                return 'other'  # depth, numbers of objects
            width, height = image.size
            scale = max(1, max(width, height) / _SIDE)
            size = max(1, int(width / scale)), max(1, int(height / scale))
            small = image.resize(size, Image.Resampling.NEAREST)
            return 'picture' if small.getcolors(_MOST_VALUES) is None else 'mask'
    except Exception:  # the data check tells what is wrong with it
        return 'other'


def _best(pictures: Group, masks: Sequence[Group]) -> tuple[Group, Match] | None:
    """The masks of a group of pictures: those that most pictures have, and of these the preferred kind."""
    found = [(group, match) for group in masks if (match := _match(pictures, group)) is not None]
    if not found:
        return None

    def rank(pair: tuple[Group, Match]) -> tuple:
        group, match = pair
        kind = f'{group.folder}/{group.tail}'.lower()
        preferred = next((place for place, word in enumerate(_PREFERRED) if word in kind), len(_PREFERRED))
        # Beside ids there often lie the same masks in colours, to look at.
        painted = 'color' in kind or 'colour' in kind
        foreign = _split_of(group.folder)[0] not in ('', _split_of(pictures.folder)[0])
        return (
            -match.count,
            foreign,
            -_shared(pictures.folder, group.folder),
            painted,
            preferred,
            group.folder,
        )

    return min(found, key=rank)


def _shared(first: str, second: str) -> int:
    """How many folders of one path are in those of another, as ``train`` in ``trainannot``: a split's files lie together."""
    return sum(any(part in other for other in second.split(os.sep)) for part in first.split(os.sep))


def _match(pictures: Group, masks: Group) -> Match | None:
    names = set(masks.names)
    best: Match | None = None
    before, behind = _common_ends(pictures.names)
    for ends in dict.fromkeys([('', ''), ('', pictures.tail), ('', behind), (before, ''), (before, behind)]):
        cores = [name[len(ends[0]) : len(name) - len(ends[1])] for name in pictures.names]
        if not all(cores):
            continue
        for start, end in _mask_ends(cores[0], masks.names) | _mask_ends(cores[-1], masks.names):
            count = sum(start + core + end in names for core in cores)
            if count * 2 >= len(cores) and (best is None or count > best.count):
                best = Match(ends, (start, end), count)
    return best


def _mask_ends(core: str, names: Iterable[str]) -> set[tuple[str, str]]:
    return {tuple(name.split(core, 1)) for name in names if core in name}  # type: ignore[misc]


def _common_ends(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, up to a separator, so that no digit of a number is cut off."""
    if len(names) < 2:
        return '', ''
    before = re.sub(r'[^-_. ]*$', '', _common_start(names))
    behind = _common_start([name[len(before) :][::-1] for name in names])[::-1]
    return before, re.sub(r'^[^-_. ]*', '', behind)


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    same = (number for number, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, min(len(first), len(last)))]


def _settle_names(layout: FoundLayout, known: dict[Group, tuple[Group, Match]]) -> None:
    """One way to name pictures and masks for all: that of most."""
    counted: Counter[tuple] = Counter()
    for group, (masks, match) in known.items():
        counted[match.picture, match.mask, masks.tail] += len(group.names)
    ends = counted.most_common(1)[0][0]
    for group, (masks, match) in list(known.items()):
        if (match.picture, match.mask, masks.tail) != ends:
            layout.notes.append(
                f'{shown(group.folder or ".")}: its names are of another kind and are left out'
            )
            del known[group]
    (before, behind), _, _ = ends
    if before or behind:
        layout.pictures = f'{before}{{stem}}{behind}.*'


def _settle_places(
    layout: FoundLayout, root: Path, files: Sequence[str], known: dict[Group, tuple[Group, Match]]
) -> None:
    by_split: dict[str, list[Group]] = defaultdict(list)
    for group in known:
        by_split[_split_of(group.folder)[0]].append(group)
    if set(by_split) == {''} or not by_split.get('train'):
        by_split = {'': [group for groups in by_split.values() for group in groups]}
    for split, groups in by_split.items():
        if split or '' not in by_split or len(by_split) == 1:
            folder = _place(split, groups)
            template = _template({group: known[group] for group in groups}, folder)
            layout.splits[split or 'train'] = (
                [folder] if folder is not None else sorted({g.folder for g in groups})
            )
            layout.masks[split or 'train'] = template
        else:
            layout.notes.append(
                f'{sum(len(g.names) for g in groups)} pictures belong to no split and are left out'
            )
    if '' in by_split and len(by_split) == 1:
        _settle_lists(layout, root, files, {group: known[group] for group in by_split['']})


def _split_of(folder: str) -> tuple[str, int]:
    """The split that a folder's path names, and at which depth; none: ``('', -1)``."""
    for depth, part in enumerate(folder.split(os.sep)):
        words = set(re.split(r'[-_. ]', part.lower()))
        for split, known in _SPLIT_WORDS.items():
            if words & set(known):
                return split, depth
    return '', -1


def _place(split: str, groups: Sequence[Group]) -> str | None:
    """The folder of a split's pictures: with all that lies below it, or None for folders side by side."""
    folders = sorted({group.folder for group in groups})
    if len(folders) == 1:
        return folders[0]
    common = os.path.commonpath(folders) if all(folders) else ''
    depth = _split_of(folders[0])[1]
    # All below the split's own folder, not below a folder that holds masks too.
    return common if split and len([part for part in common.split(os.sep) if part]) > depth else None


def _template(pairs: dict[Group, tuple[Group, Match]], place: str | None) -> str:
    """The template that leads from pictures to masks."""
    folders = set()
    for group, (masks, _) in pairs.items():
        inside = os.path.relpath(group.folder or '.', place or '.') if place is not None else '.'
        if inside != '.' and (masks.folder + os.sep).endswith(f'{os.sep}{inside}{os.sep}'):
            folders.add(f'{masks.folder[: -len(inside)]}{{folder}}')
        elif len(pairs) > 1 and os.path.dirname(group.folder) == os.path.dirname(masks.folder):
            folders.add(os.path.join('{parent}', os.path.basename(masks.folder)))
        else:
            folders.add(masks.folder)
    masks, match = next(iter(pairs.values()))
    endings = {group.ending for group, _ in pairs.values()}
    ending = endings.pop() if len(endings) == 1 else '.*'
    name = f'{match.mask[0]}{{stem}}{match.mask[1]}{ending}'
    # Folders that no template leads to alike: the first is written, and the check tells which are not met.
    return os.path.join(min(folders), name)


def _settle_lists(
    layout: FoundLayout, root: Path, files: Sequence[str], known: dict[Group, tuple[Group, Match]]
) -> None:
    """Pictures that no folder splits: by lists that are there, else by new ones, of which every fifth picture is val."""
    paths = sorted(
        group.path(name)
        for group, (masks, match) in known.items()
        for name in group.names
        if match.mask_of(name) in masks.names
    )
    by_stem = {os.path.splitext(os.path.basename(path))[0]: path for path in paths}
    template = layout.masks['train']
    for file in files:
        stem, ending = os.path.splitext(os.path.basename(file))
        split = next((key for key, words in _SPLIT_WORDS.items() if stem.lower() in words), '')
        if ending.lower() != '.txt' or not split:
            continue
        lines = [
            line.strip()
            for line in (root / file).read_text('utf-8', errors='replace').splitlines()
            if line.strip()
        ]
        hits = [
            by_stem.get(line) or by_stem.get(os.path.splitext(os.path.basename(line))[0]) for line in lines
        ]
        if lines and all(hits) and split not in layout.lists:
            if os.sep not in lines[0]:
                layout.images = os.path.dirname(hits[0] or '')
            layout.splits[split], layout.masks[split] = [file], template
            layout.lists[split] = []
    found = [split for split, lines in layout.lists.items() if not lines]
    layout.lists = {}
    if 'train' in found:
        layout.splits = {split: layout.splits[split] for split in ('train', 'val', 'test') if split in found}
        layout.masks = dict.fromkeys(layout.splits, template)
        return
    layout.images = ''
    layout.splits = {'train': ['data_train.txt'], 'val': ['data_val.txt']}
    layout.masks = dict.fromkeys(layout.splits, template)
    layout.lists = {
        'data_train.txt': [path for number, path in enumerate(paths) if number % 5 != 4 or len(paths) < 2],
        'data_val.txt': [path for number, path in enumerate(paths) if number % 5 == 4],
    }
    if len(paths) < 5:
        layout.lists = {
            'data_train.txt': paths[:-1] or paths,
            'data_val.txt': paths[-1:] if len(paths) > 1 else [],
        }
    layout.notes.append(
        'no folder and no list says which pictures are for training: every fifth is val, by two new lists; better keep scenes '
        'that follow each other together'
    )
