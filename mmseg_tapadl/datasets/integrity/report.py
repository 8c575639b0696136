"""Faults of a data set: what they are, how they are shown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmseg_tapadl.utils import InputError, shown

# What each kind of fault is called on the screen
KINDS = {
    'no_data': 'no data',
    'name_list': 'fault in a list',
    'image_missing': 'label without image',
    'label_missing': 'image without label',
    'image_empty': 'empty image file',
    'image_truncated': 'truncated image',
    'image_damaged': 'damaged image',
    'image_undecodable': 'undecodable image',
    'image_too_large': 'image over a limit',
    'image_bits': 'image of more than 8 bits',
    'label_empty': 'empty label file',
    'label_truncated': 'truncated label',
    'label_damaged': 'damaged label',
    'label_undecodable': 'undecodable label',
    'label_too_large': 'label over a limit',
    'label_size': 'label of another size',
    'label_channels': 'label not one channel',
    'label_bits': 'label of more than 8 bits',
    'label_ids': 'ids out of range',
    'label_values': 'values in no list',
    'label_void': 'label all void',
}
# Sizes of pictures that a report keeps
MOST_SIZES = 1000
_WIDTH = max(map(len, KINDS.values()))


class DatasetError(InputError):
    """A data set with faults; the message lists them with their paths."""


@dataclass(frozen=True)
class Fault:
    """One fault of one file.

    Attributes:
        kind: A key of :data:`KINDS`.
        path: The file (or folder) at fault; :func:`~mmseg_tapadl.utils.shown` makes it printable.
        detail: What is wrong with it.
        hint: The likely cause and what to do; empty when there is no guess.
        other: The file it belongs to: the image of a label, the label of an image.
    """

    kind: str
    path: str
    detail: str
    hint: str = ''
    other: str | None = None

    @property
    def line(self) -> str:
        """The fault in one line, without its hint."""
        pair = f' [{self.other}]' if self.other else ''
        return shown(f'{KINDS[self.kind]:<{_WIDTH}}  {self.path}: {self.detail}{pair}')


@dataclass
class Report:
    """What the check of one split found.

    Attributes:
        split: ``'train'``, ``'val'``, ``'test'``, or as the caller named it.
        dataset: The data set's class name.
        folders: Where it lies.
        pictures: Pictures listed.
        labelled: How many of them have a label.
        faults: All faults.
        warnings: What deserves a look but stops nothing, such as classes that never occur.
        classes: Names of the classes.
        pixels: Pixels of each class over all good labels, in the order of ``classes``.
        cached: Files whose facts came from the cache.
        sizes: The sizes of the pictures as they are loaded, (width, height), each with the path of one picture that
            has it; at most :data:`MOST_SIZES`, in the order of the pictures.
    """

    split: str
    dataset: str
    folders: list[str] = field(default_factory=list)
    pictures: int = 0
    labelled: int = 0
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    pixels: list[int] = field(default_factory=list)
    cached: int = 0
    sizes: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no fault was found (warnings may be there)."""
        return not self.faults

    def summary(self) -> str:
        """One line."""
        seen = sum(count > 0 for count in self.pixels)
        state = f'{len(self.faults)} faults' if self.faults else 'no faults'
        labels = (
            f', {self.labelled} labels, {seen} of {len(self.classes)} classes'
            if self.labelled
            else ', no labels'
        )
        return f'{self.split}: {self.dataset}, {self.pictures} pictures{labels}: {state}'

    def raise_if_faulty(self) -> None:
        """Raises :class:`DatasetError` with the faults and their paths, if there are any."""
        raise_if_faulty([self])

    def to_json(self) -> dict[str, Any]:
        """Everything, in plain types; names that are no UTF-8 with escapes."""
        value = asdict(self)
        value['folders'] = [shown(folder) for folder in self.folders]
        value['faults'] = [
            {**asdict(fault), 'path': shown(fault.path), 'other': fault.other and shown(fault.other)}
            for fault in self.faults
        ]
        value['classes'] = list(self.classes)
        value['pixels'] = dict(zip(self.classes, self.pixels, strict=False))
        value['sizes'] = [[width, height, shown(path)] for (width, height), path in self.sizes.items()]
        return {**value, 'ok': self.ok, 'faults_by_kind': dict(Counter(fault.kind for fault in self.faults))}


def raise_if_faulty(reports: Sequence[Report], shown: int = 20) -> None:
    """Raises one :class:`DatasetError` over several reports, if any has faults.

    Args:
        reports: Of the splits.
        shown: Faults listed in full for each split; of the others the number.
    """
    faulty = [report for report in reports if report.faults]
    if not faulty:
        return
    text = 'the data set has faults (--skip-check would run all the same)'
    for report in faulty:
        text += f'\n{report.summary()}\n' + '\n'.join(f'  {line}' for line in fault_lines(report, shown))
    raise DatasetError(text)


def fault_lines(report: Report, shown: int) -> list[str]:
    """The faults as lines, those of one kind together; a hint that all share is given once."""
    order = list(KINDS)
    faults = sorted(report.faults, key=lambda fault: (order.index(fault.kind), fault.path))
    lines: list[str] = []
    hints: dict[str, None] = {}
    for fault in faults[:shown]:
        lines.append(fault.line)
        if fault.hint:
            hints[fault.hint] = None
    if len(faults) > shown:
        kinds = Counter(KINDS[fault.kind] for fault in faults[shown:])
        rest = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common())
        lines.append(
            f'... and {len(faults) - shown} more ({rest}); tools/check_dataset.py CONFIG --json FILE lists all'
        )
    return lines + [f'likely cause: {hint}' for hint in hints]
