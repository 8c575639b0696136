"""Lists of names (``ann_file``): what is wrong in them, told by list and line.

mmseg takes each line, without blanks at its ends, as a name to which it adds ``img_suffix`` and ``seg_map_suffix``.
Lists come from many programs and systems; whatever makes a line another name than was meant is found here.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmseg.datasets import BaseSegDataset

from mmseg_tapadl.datasets.integrity.report import Fault
from mmseg_tapadl.utils import shown

_BOM = '\ufeff'


@dataclass
class NameList:
    """What a list of names says, and what is wrong with it.

    Attributes:
        path: The list.
        faults: Lines that name something else than was meant; each names the list and the line.
        notes: What works and may still not be meant.
        lines: Line numbers by the path of the picture that a line stands for.
        blamed: Paths of pictures whose absence a fault here explains.
        readable: Whether the data set can read the list at all.
    """

    path: str
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    blamed: set[str] = field(default_factory=set)
    readable: bool = True

    def add(self, detail: str, hint: str = '', other: str | None = None) -> None:
        """Adds a fault."""
        self.faults.append(Fault('name_list', self.path, detail, hint, other=other))


def read_name_list(dataset: BaseSegDataset) -> NameList | None:
    """Reads the list of a data set as the data set does; None where it has none.

    Args:
        dataset: Need not be initialized.
    """
    path = str(dataset.ann_file or '')
    if not path:
        return None
    names = NameList(path)
    if os.path.isdir(path):
        names.notes.append(f'ann_file {shown(path)} is a folder, no list: all pictures are taken')
        return names
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        names.add(f'cannot be read: {error.strerror}', 'ann_file must be a text file of names, one a line')
        names.readable = False
        return names
    text = _decoded(data, names)
    if text is None:
        names.readable = False
    elif not text:
        names.add('is empty: it names no picture')
    else:
        _judge(text, names, dataset)
    return names


def _decoded(data: bytes, names: NameList) -> str | None:
    """The text, or None and a fault for what the data set cannot read or reads as something else."""
    hint = 'save the list as UTF-8 without a byte order mark'
    if data.startswith((b'\xff\xfe', b'\xfe\xff')) or b'\0' in data:
        line = data[: max(data.find(b'\0'), 0)].count(b'\n') + 1
        names.add(f'line {line}: the list is UTF-16 or UTF-32, or no text at all', hint)
        return None
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        content = data.split(b'\n')[line - 1].strip()
        names.add(f'line {line}: {shown(content)} is no UTF-8; the list is in another encoding', hint)
        return None


def _judge(text: str, names: NameList, dataset: BaseSegDataset) -> None:
    lines = text.split('\n')
    if lines[-1] == '':
        lines.pop()
    images = str(dataset.data_prefix.get('img_path') or '')
    labels = dataset.data_prefix.get('seg_map_path')
    same: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        name = line.strip()
        image = os.path.join(images, name + dataset.img_suffix)
        names.lines[image].append(number)
        reason = _reason(name, image, images, labels, dataset)
        if reason:
            names.add(f'line {number}: {reason[0]}', reason[1], other=image)
            names.blamed.add(image)
        else:
            same[os.path.normpath(image)].append(number)
    for path, numbers in same.items():
        if len(numbers) > 1:
            where = ', '.join(map(str, numbers[:8])) + (', ...' if len(numbers) > 8 else '')
            names.notes.append(
                f'{shown(names.path)}: lines {where} name the same picture; it counts {len(numbers)} times [{shown(path)}]'
            )


def _reason(
    name: str, image: str, images: str, labels: Any, dataset: BaseSegDataset
) -> tuple[str, str] | None:
    """Why a line stands for another picture than was meant, and what to write; None for a good line."""
    if not name:
        return f'is empty; it is taken for a picture named {dataset.img_suffix!r}', 'delete the line'
    if '\r' in name:
        return (
            f'{_quoted(name)} holds several names, parted by carriage returns alone',
            'end lines with a line feed',
        )
    if os.path.isabs(name) and labels is not None:
        return (
            f'{_quoted(name)} is an absolute path, so that its label is not looked for below {shown(labels)}',
            f'write it relative to {shown(images)}, without its suffix',
        )
    if os.path.isfile(image):
        return None
    for meant, what in _variants(name, dataset):
        if meant != name and meant and _names_a_file(images, meant + dataset.img_suffix):
            return f'{_quoted(name)} {what}', f'write {_quoted(meant)}'
    return None


def _variants(name: str, dataset: BaseSegDataset) -> Iterator[tuple[str, str]]:
    """What a line may have been meant to say, and what stands in the way."""
    bare = name.removeprefix(_BOM)
    if bare != name:
        yield bare, 'begins with a byte order mark, which becomes part of the name'
    suffixes = (dataset.img_suffix, dataset.seg_map_suffix)
    stems = (os.path.splitext(suffix)[0] for suffix in suffixes)
    endings = dict.fromkeys((*suffixes, *stems, os.path.splitext(bare)[1]))
    for ending in filter(None, endings):
        if bare.endswith(ending):
            yield (
                bare.removesuffix(ending),
                f'ends with {ending!r}; the data set adds {dataset.img_suffix!r} itself',
            )
    for form in ('NFC', 'NFD'):
        yield unicodedata.normalize(form, bare), 'is spelled with other Unicode characters than the file'
    for cased in (bare.lower(), bare.upper()):
        yield cased, 'is spelled in other case than the file'
    if bare.startswith(('#', ';', '//')):
        yield bare.lstrip('#;/ \t'), 'is a comment, which a list cannot have'
    yield bare.strip('"\',;\x1a'), 'stands in quotes or ends with a comma'
    slashes = bare.replace('\\', '/')
    yield slashes, 'parts folders with backslashes'
    first = slashes.replace(',', ' ').split()[:1]
    # What other lists hold beside the name: a second column, the folder of the pictures, the suffix.
    for start in [slashes, *first]:
        what = 'holds more than a name' if start != slashes else 'is a path with more than the name'
        ends = [start, *(start.removesuffix(ending) for ending in endings if ending)]
        for end in dict.fromkeys(ends):
            parts = [part for part in end.split('/') if part not in ('', '.')]
            for skipped in range(len(parts)):
                yield '/'.join(parts[skipped:]), what


def _names_a_file(folder: str, name: str) -> bool:
    return not os.path.isabs(name) and os.path.isfile(os.path.join(folder, name))


def _quoted(text: str) -> str:
    return f"'{shown(text)}'"
