"""What a ``data.yaml`` says, checked: where pictures and masks lie, and what the values of masks stand for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_tapadl.datasets.data_yaml.coding import unpacked
from mmseg_tapadl.datasets.data_yaml.pictures import ANY_PICTURE

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class Place:
    """A folder, list, file or template as it is written, and the line."""

    text: str
    line: int


@dataclass(frozen=True)
class ClassEntry:
    """One class.

    Attributes:
        name: Its name.
        values: Its ids or packed colours, each with its line.
        colour: To paint it with, RGB; None where the file gives none.
        line: Where it stands.
    """

    name: str
    values: dict[int, int]
    colour: tuple[int, int, int] | None
    line: int


@dataclass(frozen=True)
class Description:
    """A whole file of data.

    Attributes:
        file: The ``data.yaml``.
        roots: Folders that everything is relative to, absolute.
        splits: Folders or lists of the splits that are there.
        masks: Folder or template of the masks, by split.
        classes: In the order of their numbers.
        ignore: Values that do not count, each with its line.
        colors: Whether masks hold colours, else ids.
        pictures: What names of pictures look like.
        images: Folder that lists are relative to, below a root.
        masks_dir: Whether the folder of masks takes the place of ``images`` in pictures' paths.
        lines: Of the keys.
        kind: ``'acdc'`` where that data set's own layout is meant.
    """

    file: Path
    roots: tuple[Path, ...]
    splits: dict[str, tuple[Place, ...]]
    masks: dict[str, Place]
    classes: tuple[ClassEntry, ...]
    ignore: dict[int, int]
    colors: bool
    pictures: str = ANY_PICTURE
    images: str = ''
    lines: Mapping[str, int] = field(default_factory=dict)
    kind: str = ''

    @property
    def names(self) -> list[str]:
        """Names of the classes."""
        return [entry.name for entry in self.classes]

    def line(self, key: str) -> int:
        """The line of a key; 1 for one that is not there."""
        return self.lines.get(key, 1)

    def labels(self) -> dict[str, Any]:
        """As :func:`~mmseg_tapadl.datasets.data_yaml.coding.coding_of` takes it."""

        def written(values: dict[int, int]) -> list:
            return [list(unpacked(value)) if self.colors else value for value in values]

        key = 'colors' if self.colors else 'ids'
        return {key: [written(entry.values) for entry in self.classes], 'ignore': written(self.ignore)}
