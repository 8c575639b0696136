"""The import table of CONTRIBUTING.md holds: what it does not allow, no room imports, and no arrow points up."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLE = {
    room: cell.split(', ')
    for room, cell in re.findall(
        r'^\| `mmseg_tapadl/(\w+)/` \|.*\| ([^|]+) \|$', (ROOT / 'CONTRIBUTING.md').read_text(), re.MULTILINE
    )
}
STACK = {'mmseg': {'mmseg', 'mmcv', 'mmengine', 'torch'}, 'mmengine': {'mmengine', 'torch'}}
FRAMEWORKS = {'mmseg', 'mmcv', 'mmengine', 'torch', 'timm'}
ROOMS = [folder.parent.name for folder in sorted((ROOT / 'mmseg_tapadl').glob('*/__init__.py'))]


def imports_of(room: str) -> list[tuple[str, str, bool]]:
    """Each import of a room: the file, the whole name, and whether it happens when the module is imported."""
    found = []
    for file in sorted((ROOT / 'mmseg_tapadl' / room).rglob('*.py')):
        tree = ast.parse(file.read_text())
        inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f'{file}: write imports in full'
                names = [f'{node.module}.{alias.name}' for alias in node.names]
            found += [(str(file.relative_to(ROOT)), name, id(node) not in inside) for name in names]
    return found


def test_every_room_stands_in_the_table():
    assert set(ROOMS) <= set(TABLE)


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_what_the_table_allows(room):
    allowed = TABLE[room]
    above = list(TABLE)[: list(TABLE).index(room)]
    assert [name for name in allowed if name in ROOMS and name not in above] == [], 'an arrow up'
    frameworks = set().union(*(STACK.get(name, {name}) for name in allowed))
    wrong = []
    for file, name, at_import in imports_of(room):
        package, *parts = name.split('.')
        if package == 'mmseg_tapadl':
            # register.py imports the rooms that register; what takes a config imports it when called.
            is_allowed = parts[0] in (room, 'version', *allowed) or (parts[0] == 'register' and not at_import)
        elif package in FRAMEWORKS or room in ('utils', 'layers'):
            is_allowed = package in frameworks or package in sys.stdlib_module_names
        else:
            is_allowed = True
        if not is_allowed:
            wrong.append(f'{file} imports {name}')
    assert wrong == []
