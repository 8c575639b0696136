"""Writes a first ``data.yaml`` of what lies in a folder."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from mmseg_tapadl.datasets.data_yaml.coding import value_text
from mmseg_tapadl.datasets.data_yaml.description import Description
from mmseg_tapadl.datasets.data_yaml.found_layout import FoundLayout, find_layout
from mmseg_tapadl.datasets.data_yaml.found_values import FoundValue, FoundValues, find_values
from mmseg_tapadl.datasets.data_yaml.layout import Layout, check_layout
from mmseg_tapadl.datasets.data_yaml.pictures import ANY_PICTURE, Pair
from mmseg_tapadl.datasets.data_yaml.reading import read_description
from mmseg_tapadl.utils import InputError, atomic_write, shown

# Masks that are read to find out which values there are; the data check reads all.
MOST_MASKS = 500


def write_first_file(
    folder: str | os.PathLike, file: str | os.PathLike | None = None, *, overwrite: bool = False
) -> list[str]:
    """Looks at a folder and writes a ``data.yaml``, and list files where nothing says what is for training.

    Args:
        folder: Holds pictures and masks.
        file: What to write; by default ``data.yaml`` in the folder.
        overwrite: Replace files that are there.

    Returns:
        What was found and written, one line each.

    Raises:
        InputError: There is no such folder, nothing in it is understood, or a file would be overwritten.
    """
    root, path = Path(folder), Path(file) if file else Path(folder) / 'data.yaml'
    if not root.is_dir():
        raise InputError(f'{shown(root)}: no such folder')
    refuse_existing([path], overwrite=overwrite)
    layout = find_layout(root)
    refuse_existing([root / name for name in layout.lists], overwrite=overwrite)
    # What is to be written is tried elsewhere first: a failure leaves nothing behind, and what was there stays.
    with tempfile.TemporaryDirectory() as trial:
        pairs = pairs_of(_trial(Path(trial), root, layout, None))
        masks = [Path(pair.found[0]) for found in pairs.values() for pair in found if pair.found]
        if not masks:
            raise InputError(
                f'{shown(root)}: the masks follow no pattern; write a data.yaml by hand (docs/own_data.md)'
            )
        values = find_values(masks[:: -(-len(masks) // MOST_MASKS)])
        description = _trial(Path(trial), root, layout, values)
        check_layout(description, description.splits)
    notes = [
        f'{split}: {len(found)} pictures, {sum(bool(pair.found) for pair in found)} with a mask'
        for split, found in pairs.items()
    ]
    notes += layout.notes
    notes.append(
        f'{len(values.classes)} classes by {"colours" if values.colors else "ids"}, {len(values.ignore)} values that do not count'
    )
    for name, lines in layout.lists.items():
        _write(root / name, lines)
        notes.append(f'wrote {shown(root / name)}: {len(lines)} pictures')
    _write(path, _lines(path.parent, root, layout, values))
    notes.append(f'wrote {shown(path)}: give the classes their names')
    return notes


def _trial(folder: Path, root: Path, layout: FoundLayout, values: FoundValues | None) -> Description:
    """The description that would be written, read from another folder."""
    for name, lines in layout.lists.items():
        _write(folder / name, lines)
    splits = {
        split: [str(folder / place) if place in layout.lists else place for place in places]
        for split, places in layout.splits.items()
    }
    file = folder / 'data.yaml'
    _write(file, _lines(folder, root, replace(layout, splits=splits), values))
    return read_description(file)


def pairs_of(description: Description) -> dict[str, list[Pair]]:
    """All pictures and masks by split."""
    layout = Layout(description)
    return {
        split: [pair for _, source in layout.sources(split) for pair in source.pairs()]
        for split in description.splits
    }


def refuse_existing(paths: list[Path], *, overwrite: bool) -> None:
    """Raises :class:`InputError` where a file is there that is not to be overwritten."""
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(
                f'{shown(path)}: is there already; --overwrite replaces it, --out writes another file'
            )


def _write(path: Path, lines: list[str]) -> None:
    with atomic_write(path, 'w', encoding='utf-8', errors='surrogateescape') as file:
        file.writelines(f'{line}\n' for line in lines)


def _lines(folder: Path, root: Path, layout: FoundLayout, values: FoundValues | None) -> list[str]:
    """A ``data.yaml`` in ``folder``; its classes are made up where the values of masks are not known yet."""
    inside = os.path.relpath(os.path.abspath(root), os.path.abspath(folder))
    lines = ['# What these data are; docs/own_data.md tells of every key.', f'path: {_quoted(inside)}']
    for split, places in layout.splits.items():
        listed = ', '.join(map(_quoted, places))
        lines.append(f'{split}: {listed if len(places) == 1 else f"[{listed}]"}')
    if layout.images:
        lines.append(f'images: {_quoted(layout.images)}')
    if layout.pictures != ANY_PICTURE:
        lines.append(f'pictures: {_quoted(layout.pictures)}')
    lines.append(f'masks: {_masks(layout)}')
    if values is None:
        return [*lines, 'classes: [not known yet]']
    key = 'colors' if values.colors else 'ids'
    lines.append(f'# Of {values.pixels} pixels in {values.masks} masks. Values under one name are one class.')
    lines.append('classes:')
    for item in values.classes:
        entry = f'name: {_quoted(item.name)}, {key}: [{_value(item, values)}]'
        if not values.colors:
            entry += f', color: {list(item.colour)}'
        lines.append(f'  - {{{entry}}}  # {_share(item, values)}')
    if values.ignore:
        listed = ', '.join(_value(item, values) for item in values.ignore)
        why = '; '.join(_share(item, values) for item in values.ignore)
        lines.append(f'ignore: {{{key}: [{listed}]}}  # {why}; move it to the classes if it is one')
    return lines


def _masks(layout: FoundLayout) -> str:
    """One template for all splits where the split's name is all that differs."""
    general = {template.replace(split, '{split}') for split, template in layout.masks.items()}
    alike = len(general) == 1 and all(
        next(iter(general)).replace('{split}', split) == template for split, template in layout.masks.items()
    )
    if len(set(layout.masks.values())) == 1:
        return _quoted(next(iter(layout.masks.values())))
    if alike:
        return _quoted(next(iter(general)))
    return '{' + ', '.join(f'{split}: {_quoted(template)}' for split, template in layout.masks.items()) + '}'


def _value(item: FoundValue, values: FoundValues) -> str:
    return value_text(item.value, colors=values.colors)


def _share(item: FoundValue, values: FoundValues) -> str:
    return f'{100 * item.pixels / values.pixels:.2f} %, in {item.masks} of {values.masks} masks'


def _quoted(text: str) -> str:
    """A text as YAML takes it for nothing else."""
    return json.dumps(text, ensure_ascii=False)
