"""``classes``, ``names``, ``ignore`` and ``reduce_zero_label`` of a ``data.yaml``."""

from collections.abc import Iterable, Mapping

from mmseg_tapadl.datasets.data_yaml.coding import IGNORED, MOST_CLASSES, packed, unpacked, value_text
from mmseg_tapadl.datasets.data_yaml.description import ClassEntry
from mmseg_tapadl.datasets.data_yaml.document import Faults, Node
from mmseg_tapadl.utils.arguments import did_you_mean

_CLASS_KEYS = ('name', 'ids', 'colors', 'color')
_VALUE_KEYS = ('ids', 'colors')


class ClassList:
    """Reads the classes.

    Args:
        given: The keys of the file.
        lines: Their lines.
        faults: Gets what is wrong.

    Attributes:
        entries: The classes, in the order of their numbers.
        ignore: Values that do not count, each with its line.
        colors: Whether values are colours.
    """

    def __init__(self, given: Mapping[str, Node], lines: Mapping[str, int], faults: Faults) -> None:
        self.faults, self.lines = faults, lines
        self.shift = self._reduces_zero(given)
        self.entries: list[ClassEntry] = []
        self.ignore: dict[int, int] = {}
        self.colors = False
        by_names = 'names' in given
        if by_names and 'classes' in given:
            faults.add(lines['names'], 'names and classes say the same: write one of them')
        elif by_names:
            self._read_names(given['names'])
        elif 'classes' in given:
            self._read_classes(given['classes'])
        else:
            faults.add(
                1,
                'classes is missing: write a list of {name: ..., ids: [...]} or {name: ..., colors: [[r, g, b]]}',
            )
        self._read_ignore(given, by_names=by_names)
        self._check()
        if 'nc' in given and str(given['nc'].value) != str(len(self.entries)):
            faults.add(lines['nc'], f'nc is {given["nc"].text}, but there are {len(self.entries)} names')

    def _reduces_zero(self, given: Mapping[str, Node]) -> bool:
        node = given.get('reduce_zero_label')
        if node is None:
            return False
        if not isinstance(node.value, bool):
            self.faults.add(node.line, f'reduce_zero_label must be true or false, not {node.kind}')
        return node.value is True

    def _read_names(self, node: Node) -> None:
        """Names by id, as ultralytics writes them, or a list of names whose places are the ids."""
        if isinstance(node.value, dict):
            items: Iterable[tuple[str, Node, int]] = [
                (key, item, node.keys[key]) for key, item in node.value.items()
            ]
        elif isinstance(node.value, list):
            items = [(str(place), item, item.line) for place, item in enumerate(node.value)]
        else:
            self.faults.add(
                node.line, f'names must be {{0: road, 1: sky}} or a list of names, not {node.kind}'
            )
            return
        if not node.value:
            self.faults.add(node.line, 'names is empty')
        found = []
        for key, item, line in items:
            if not key.isdecimal() or not int(key) + self.shift <= 255:
                self.faults.add(line, f'names: {key!r} must be an id, 0 to {255 - self.shift}')
                continue
            found.append((int(key), ClassEntry(self._name(item), {int(key) + self.shift: line}, None, line)))
        if self.shift and found and 0 not in dict(found):
            self.faults.add(
                self.lines['reduce_zero_label'],
                'names begin behind 0 already, so nothing is to be shifted: leave reduce_zero_label out, and write '
                'ignore: {ids: [0]} if 0 is void',
            )
        self.entries = [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def _read_classes(self, node: Node) -> None:
        if not isinstance(node.value, list):
            self.faults.add(node.line, f'classes must be a list of {{name, ids or colors}}, not {node.kind}')
            return
        if not node.value:
            self.faults.add(node.line, 'classes is empty')
        read = [(item, self._class_values(item)) for item in node.value]
        kinds = {key for _, values in read for key in values}
        self.colors = 'colors' in kinds
        if len(kinds) > 1:
            first = {key: next(item.line for item, values in read if key in values) for key in _VALUE_KEYS}
            self.faults.add(
                max(first.values()),
                f'masks hold either ids or colors: there are ids in line {first["ids"]} and colors in line {first["colors"]}',
            )
            return
        if self.shift and kinds:
            self.faults.add(
                self.lines['reduce_zero_label'],
                f'{next(iter(kinds))} say what the masks hold, so nothing is to be shifted: leave reduce_zero_label out, and '
                'write ignore: {ids: [0]} if 0 is void',
            )
        for place, (item, values) in enumerate(read):
            if kinds and not values:
                wanted = next(iter(kinds))
                self.faults.add(
                    item.line, f'class {self._name(item)!r} has no {wanted}, which the other classes have'
                )
            own = values[next(iter(values))] if values else {place + self.shift: item.line}
            colour = (
                self._colour(item.value['color'])
                if isinstance(item.value, dict) and 'color' in item.value
                else None
            )
            if colour is None and self.colors and own:
                colour = unpacked(next(iter(own)))
            self.entries.append(ClassEntry(self._name(item), own, colour, item.line))

    def _class_values(self, item: Node) -> dict[str, dict[int, int]]:
        """``ids`` or ``colors`` of a class, if it has some."""
        if not isinstance(item.value, dict):
            return {}
        for key, line in item.keys.items():
            if key not in _CLASS_KEYS:
                known = ', '.join(_CLASS_KEYS)
                self.faults.add(
                    line, f'classes: unknown key {key!r}{did_you_mean(key, _CLASS_KEYS)}; known are {known}'
                )
        return {
            key: self._values(item.value[key], key, of_colours=key == 'colors')
            for key in _VALUE_KEYS
            if key in item.value
        }

    def _name(self, item: Node) -> str:
        """A class's name; YAML takes some for something else (``no``, ``1``)."""
        node = item.value.get('name') if isinstance(item.value, dict) else item
        if node is None or isinstance(node.value, (dict, list)) or not node.text.strip():
            self.faults.add(item.line, 'a class has no name')
            return ''
        return node.text.strip()

    def _read_ignore(self, given: Mapping[str, Node], *, by_names: bool) -> None:
        node = given.get('ignore')
        taken = {value for entry in self.entries for value in entry.values}
        if node is None or node.value is None:
            usual = [0, IGNORED] if self.shift else [IGNORED] if by_names else []
            line = self.lines.get('reduce_zero_label') or self.lines.get('names') or 1
            self.ignore = {value: line for value in usual if value not in taken}
            return
        if isinstance(node.value, dict):
            for key, line in node.keys.items():
                if key not in _VALUE_KEYS:
                    near = did_you_mean(key, _VALUE_KEYS)
                    self.faults.add(
                        line, f'ignore: unknown key {key!r}{near}; known are {", ".join(_VALUE_KEYS)}'
                    )
            parts = {
                key: self._values(node.value[key], f'ignore.{key}', of_colours=key == 'colors')
                for key in _VALUE_KEYS
                if key in node.value
            }
        else:
            of_colours = self.colors or any(isinstance(item.value, list) for item in node)
            parts = {'colors' if of_colours else 'ids': self._values(node, 'ignore', of_colours=of_colours)}
        right, wrong = ('colors', 'ids') if self.colors else ('ids', 'colors')
        if parts.get(wrong) and self.entries:
            self.faults.add(
                node.line,
                f'ignore has {wrong}, but the classes have {right}: write ignore: {{{right}: [...]}}',
            )
        self.ignore = dict(parts.get(right) or {})
        if self.shift:
            self.ignore.setdefault(0, self.lines['reduce_zero_label'])

    def _values(self, node: Node, key: str, *, of_colours: bool) -> dict[int, int]:
        """Ids or packed colours, each with its line; one alone need not be in a list."""
        single = of_colours and all(type(item.value) is int for item in node)
        found: dict[int, int] = {}
        for item in [node] if single else node:
            value = self._colour(item) if of_colours else self._id(item, key)
            if value is None:
                continue
            number = packed(value) if isinstance(value, tuple) else value
            if number in found:
                self.faults.add(
                    item.line, f'{key}: {value_text(number, colors=of_colours)} stands here twice'
                )
            found[number] = item.line
        if not found and isinstance(node.value, list) and not node.value:
            self.faults.add(node.line, f'{key} is an empty list')
        return found

    def _id(self, node: Node, key: str) -> int | None:
        if type(node.value) is int and 0 <= node.value <= 255:
            return node.value
        self.faults.add(node.line, f'{key}: an id is a whole number from 0 to 255, not {node.kind}')
        return None

    def _colour(self, node: Node) -> tuple[int, int, int] | None:
        items = list(node)
        if len(items) == 3 and all(type(item.value) is int and 0 <= item.value <= 255 for item in items):
            red, green, blue = (item.value for item in items)
            return red, green, blue
        shown = [item.text for item in items] if isinstance(node.value, list) else node.kind
        self.faults.add(node.line, f'a colour is [red, green, blue], each 0 to 255, not {shown}')
        return None

    def _check(self) -> None:
        """No name twice, no value twice."""
        names: dict[str, int] = {}
        owners: dict[int, tuple[str, int]] = {}
        of_all = [
            *((f'class {entry.name!r}', entry.values) for entry in self.entries),
            ('ignore', self.ignore),
        ]
        for entry in self.entries:
            if entry.name in names:
                self.faults.add(
                    entry.line,
                    f'two classes are called {entry.name!r} (the first in line {names[entry.name]}): write one class with '
                    'the values of both',
                )
            names.setdefault(entry.name, entry.line)
        for owner, values in of_all:
            for value, line in values.items():
                if value in owners:
                    first, where = owners[value]
                    what = 'colour' if self.colors else 'id'
                    self.faults.add(
                        line,
                        f'{what} {value_text(value, colors=self.colors)} of {owner} is that of {first} in line {where} already',
                    )
                owners.setdefault(value, (owner, line))
        if len(self.entries) > MOST_CLASSES:
            self.faults.add(self.entries[MOST_CLASSES].line, f'at most {MOST_CLASSES} classes are possible')
