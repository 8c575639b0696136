"""A YAML file as plain values that know the line they stand on; nothing in it is run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmseg_tapadl.utils import InputError, shown

# Everything else, ``!!python/object/apply`` above all, asks for more than data.
_SCALARS = {
    f'tag:yaml.org,2002:{kind}' for kind in ('str', 'int', 'float', 'bool', 'null', 'timestamp', 'merge')
}
_DEEPEST = 20


class DataYamlError(InputError):
    """A ``data.yaml`` that cannot be used; the message names file, line and key, one line for each fault."""


@dataclass(frozen=True)
class Node:
    """A value and where it stands.

    Attributes:
        value: A text, number, bool or None; a list of nodes; or a dict of nodes by their keys as written.
        line: Counted from 1.
        text: Of a scalar as it is written: ``'no'`` where the value is False.
        keys: The lines of a dict's keys.
    """

    value: Any
    line: int
    text: str = ''
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What it is, in words."""
        if isinstance(self.value, dict):
            return 'keys and values'
        if isinstance(self.value, list):
            return 'a list'
        return 'nothing' if self.value is None else repr(self.text)

    def __iter__(self) -> Iterator['Node']:
        """The items of a list; a single value is a list of one."""
        return iter(self.value if isinstance(self.value, list) else [self])


class Faults:
    """The faults of one file, told together.

    Args:
        file: For the messages.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: dict[tuple[int, str], None] = {}

    def add(self, line: int, text: str) -> None:
        """Adds one."""
        self._found[line, text] = None

    def raise_if_any(self) -> None:
        """Raises :class:`DataYamlError` with all that were added, in the order of their lines."""
        lines = [f'{shown(self.file)}:{line}: {text}' for line, text in sorted(self._found)]
        if len(lines) == 1:
            raise DataYamlError(lines[0])
        if lines:
            raise DataYamlError(f'{len(lines)} faults:\n' + '\n'.join(f'  {line}' for line in lines))


def read_document(file: Path) -> Node:
    """Reads a file of one YAML document whose top is keys and values.

    Raises:
        DataYamlError: No YAML, a tag that stands for a program, a key twice, no keys at all: with the line.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataYamlError(f'{shown(file)}: cannot be read: {error.strerror}') from error

    def fault(line: int, text: str) -> DataYamlError:
        return DataYamlError(f'{shown(file)}:{line}: {text}')

    try:
        # Only composed: no object is made, whatever tags say.
        top = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise fault(
            mark.line + 1 if mark else 1, f'no valid YAML: {error.problem or error.context}'
        ) from error
    except yaml.reader.ReaderError as error:
        before = data[: error.position] if isinstance(error.position, int) else b''
        raise fault(before.count(b'\n') + 1, f'no text in UTF-8: {error.reason}') from error
    except RecursionError as error:
        raise fault(1, 'lists within lists without end') from error
    if top is None:
        raise fault(1, 'the file is empty')
    node = _Reader(fault).read(top)
    if not isinstance(node.value, dict):
        raise fault(node.line, f'must hold keys such as path, train, masks and classes, not {node.kind}')
    return node


class _Reader:
    def __init__(self, fault: Any) -> None:
        self._fault = fault
        self._loader = yaml.SafeLoader('')
        # By identity: what an alias stands for is read once, however often it is named.
        self._known: dict[int, Node] = {}

    def read(self, node: yaml.Node, depth: int = 0) -> Node:
        if id(node) not in self._known:
            self._known[id(node)] = self._read(node, depth)
        return self._known[id(node)]

    def _read(self, node: yaml.Node, depth: int) -> Node:
        line = node.start_mark.line + 1
        if depth > _DEEPEST:
            raise self._fault(line, 'lists or keys within each other without end')
        if isinstance(node, yaml.ScalarNode):
            self._check_tag(node, _SCALARS, line)
            try:
                value = self._loader.construct_object(node)
            except (ValueError, yaml.YAMLError):  # a date such as 2026-99-99
                value = node.value
            return Node(value, line, text=node.value)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, {'tag:yaml.org,2002:seq'}, line)
            return Node([self.read(item, depth + 1) for item in node.value], line)
        self._check_tag(node, {'tag:yaml.org,2002:map'}, line)
        values: dict[str, Node] = {}
        keys: dict[str, int] = {}
        for key_node, item in node.value:
            key = self.read(key_node, depth + 1)
            if isinstance(key.value, (dict, list)):
                raise self._fault(key.line, f'{key.kind} cannot be a key')
            # 0 and 00 are one number.
            name = str(key.value) if type(key.value) is int else key.text
            if name in values:
                raise self._fault(
                    key.line, f'the key {name!r} stands here a second time (first in line {keys[name]})'
                )
            values[name], keys[name] = self.read(item, depth + 1), key.line
        return Node(values, line, keys=keys)

    def _check_tag(self, node: yaml.Node, allowed: set[str], line: int) -> None:
        if node.tag not in allowed:
            tag = node.tag.replace('tag:yaml.org,2002:', '!!')
            raise self._fault(
                line,
                f'{shown(tag)}: a file of data holds plain values only, and nothing in it is run; take the tag out',
            )
