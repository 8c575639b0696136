"""Reads and checks a ``data.yaml``: every key, each fault with its line. No picture is looked for here."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmseg_tapadl.datasets.data_yaml.class_list import ClassList
from mmseg_tapadl.datasets.data_yaml.description import SPLITS, Description, Place
from mmseg_tapadl.datasets.data_yaml.document import Faults, Node, read_document
from mmseg_tapadl.datasets.data_yaml.kinds import KINDS, LAYOUT, defaults_of
from mmseg_tapadl.datasets.data_yaml.pictures import ANY_PICTURE
from mmseg_tapadl.datasets.data_yaml.templates import FIELDS, template_fault
from mmseg_tapadl.utils.arguments import did_you_mean

KEYS = (
    *('path', *SPLITS, 'images', 'pictures', 'masks', 'masks_dir'),
    *('classes', 'names', 'nc', 'ignore', 'reduce_zero_label', 'kind'),
)


def read_description(file: str | os.PathLike) -> Description:
    """Reads a ``data.yaml`` (docs/own_data.md).

    Raises:
        DataYamlError: With all faults: file, line, key and what to write.
    """
    path = Path(file)
    top = read_document(path)
    faults = Faults(path)
    reader = _Reader(path, top, faults)
    description = reader.describe()
    faults.raise_if_any()
    return description


class _Reader:
    def __init__(self, file: Path, top: Node, faults: Faults) -> None:
        self.file, self.faults = file, faults
        self.given: dict[str, Node] = top.value
        self.lines = dict(top.keys)
        for key, line in top.keys.items():
            if key not in KEYS:
                faults.add(line, f'unknown key {key!r}{did_you_mean(key, KEYS)}; known are {", ".join(KEYS)}')

    def describe(self) -> Description:
        roots = self._roots()
        kind = self._kind(roots)
        places = {split: self._places(split) for split in SPLITS if split in self.given}
        masks = self._masks(places)
        classes = ClassList(self.given, self.lines, self.faults)
        if kind != 'acdc' and not places:
            self.faults.add(
                1, 'says no pictures: write train, val or test, each a folder of pictures or a list file'
            )
        return Description(
            file=self.file,
            roots=roots,
            splits=places,
            masks=masks,
            classes=tuple(classes.entries),
            ignore=classes.ignore,
            colors=classes.colors,
            pictures=self._pictures(),
            images=self._text('images', ''),
            lines=self.lines,
            kind=kind,
        )

    def _roots(self) -> tuple[Path, ...]:
        here = Path(os.path.abspath(self.file)).parent
        texts = [self._scalar(item, 'path') for item in self.given['path']] if 'path' in self.given else ['.']
        if not texts:
            self.faults.add(self.lines['path'], 'path is an empty list')
        return tuple(Path(os.path.normpath(here / os.path.expanduser(text))) for text in texts)

    def _kind(self, roots: tuple[Path, ...]) -> str:
        """The kind, whose defaults are filled in; ``'acdc'`` only where its own layout is meant."""
        kind = self._text('kind', '').lower()
        if not kind or not roots:
            return ''
        line = self.lines['kind']
        if kind not in KINDS:
            self.faults.add(
                line, f'kind {kind!r} is not known{did_you_mean(kind, KINDS)}; known are {", ".join(KINDS)}'
            )
            return ''
        own_layout = not any(key in self.given for key in (*LAYOUT, 'masks_dir'))
        own_classes = not any(key in self.given for key in ('classes', 'names'))
        if kind == 'acdc' and own_layout and (len(roots) > 1 or not own_classes):
            self.faults.add(
                line, 'kind: acdc has one path and its own classes; else write train, val, masks and classes'
            )
        for key, value in defaults_of(kind, roots[0]).items():
            if key in LAYOUT and not own_layout:
                continue
            if key in ('classes', 'ignore') and not own_classes:
                continue
            if key not in self.given:
                self.given[key] = _node(value, line)
                self.lines[key] = line
        return 'acdc' if kind == 'acdc' and own_layout else ''

    def _places(self, key: str) -> tuple[Place, ...]:
        places = [Place(self._scalar(item, key), item.line) for item in self.given[key]]
        if not places:
            self.faults.add(self.lines[key], f'{key} is an empty list')
        return tuple(places)

    def _masks(self, splits: Iterable[str]) -> dict[str, Place]:
        given = [key for key in ('masks', 'masks_dir') if key in self.given]
        if len(given) == 2:
            self.faults.add(self.lines['masks_dir'], 'masks and masks_dir say the same: write one of them')
        if not given:
            if 'kind' not in self.given or splits:
                self.faults.add(
                    1,
                    'masks is missing: write the folder of the masks, or a template such as "{split}/masks/{stem}_mask.png" '
                    '(polygons become masks by tools/dataset_converters/coco.py)',
                )
            return {}
        key, node = given[0], self.given[given[0]]
        if not isinstance(node.value, dict):
            place = self._template(node, key)
            return dict.fromkeys(splits, place)
        found = {}
        for split, item in node.value.items():
            if split not in SPLITS:
                self.faults.add(node.keys[split], f'{key}.{split}: known are {", ".join(SPLITS)}')
            else:
                found[split] = self._template(item, f'{key}.{split}')
        for split in splits:
            if split not in found:
                self.faults.add(
                    node.line, f'{key} has no {split}, though there is {split}: in line {self.lines[split]}'
                )
        return found

    def _template(self, node: Node, key: str) -> Place:
        text = self._scalar(node, key)
        fault = template_fault(text) if text else ''
        if text.lower().endswith('.json'):
            fault = f'{text!r} holds polygons, not masks: tools/dataset_converters/coco.py makes masks of COCO annotations'
        if fault:
            self.faults.add(node.line, f'{key}: {fault}')
        return Place(text, node.line)

    def _pictures(self) -> str:
        text = self._text('pictures', ANY_PICTURE)
        if text == ANY_PICTURE:
            return text
        fault = template_fault(text, {'stem': FIELDS['stem']})
        if not fault and (text.count('{stem}') != 1 or '/' in text):
            fault = f'{text!r} must be a file name with one {{stem}}, such as "{{stem}}_leftImg8bit.png"'
        if fault:
            self.faults.add(self.lines['pictures'], f'pictures: {fault}')
            return ANY_PICTURE
        return text

    def _text(self, key: str, default: str) -> str:
        return self._scalar(self.given[key], key) if key in self.given else default

    def _scalar(self, node: Node, key: str) -> str:
        """The text of a value, also of one that YAML takes for a number."""
        if isinstance(node.value, (dict, list)) or not node.text:
            self.faults.add(node.line, f'{key} must be a text, not {node.kind}')
            return ''
        if '\0' in node.text:
            self.faults.add(node.line, f'{key} holds a character that no path can hold')
            return ''
        return node.text


def _node(value: Any, line: int) -> Node:
    """A plain value as if it stood in a line of the file."""
    if isinstance(value, dict):
        return Node(
            {key: _node(item, line) for key, item in value.items()}, line, keys=dict.fromkeys(value, line)
        )
    if isinstance(value, list):
        return Node([_node(item, line) for item in value], line)
    return Node(value, line, text=str(value))
