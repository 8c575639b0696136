"""Whether the folders, lists and templates of a ``data.yaml`` lead to pictures and masks."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mmseg_tapadl.datasets.data_yaml.description import Description, Place
from mmseg_tapadl.datasets.data_yaml.document import Faults
from mmseg_tapadl.datasets.data_yaml.pictures import PICTURE_ENDINGS, Pair, Source, near_names, shared_files
from mmseg_tapadl.datasets.data_yaml.templates import filled, folder_templates, is_folder
from mmseg_tapadl.utils import shown

_SHOWN = 3
# Enough pictures to tell which folder the masks lie in
_TRIED = 200


class Layout:
    """The sources of a description's splits, looked up on disk.

    Args:
        description: Of the data.

    Attributes:
        data_root: What the paths of sources are relative to, absolute.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.data_root = os.path.commonpath(description.roots)

    def sources(self, split: str) -> list[tuple[Place, Source]]:
        """The sources of a split, each with the place in the file that names it. What is not there is named as written."""
        found = []
        for place in self.description.splits[split]:
            for root in self._roots_with(place):
                for path in _expanded(root / place.text):
                    found.append((place, self._source(split, root, path)))
        return found

    def _roots_with(self, place: Place) -> list[Path]:
        """Of several roots those that have the place; all of them where none has."""
        roots = list(self.description.roots)
        return [root for root in roots if any(map(os.path.exists, _expanded(root / place.text)))] or roots

    def _source(self, split: str, root: Path, path: str) -> Source:
        description, own = self.description, self._inside(str(root))
        is_list = os.path.isfile(path) or (not os.path.isdir(path) and path.lower().endswith('.txt'))
        images = os.path.join(root, description.images) if is_list else path
        mask = description.masks.get(split)
        source = Source(
            root=self.data_root,
            images=self._inside(images),
            masks=None if mask is None else os.path.join(own, mask.text),
            split=split,
            list_file=self._inside(path) if is_list else None,
            lines_from=self._inside(images) if is_list else '',
            pictures=description.pictures,
        )
        if mask is not None and is_folder(mask.text):
            self._settle_folder(source, own, mask.text)
        elif mask is not None and source.masks is not None:
            source.masks = filled(source.masks, split=split)
        return source

    def _settle_folder(self, source: Source, root: str, folder: str) -> None:
        """Finds out which template a folder of masks stands for: that by which most pictures have a mask."""
        source.masks = None
        try:
            pictures = [pair.picture for pair in source.pairs()]
        except OSError:
            pictures = []
        if source.list_file and not self.description.images and pictures:
            source.images = self._inside(
                os.path.commonpath([os.path.dirname(place.path) for place in pictures])
            )
        images = os.path.relpath(source.folder, os.path.join(self.data_root, root))
        templates = folder_templates(folder, images)
        if 'masks_dir' in self.description.lines:
            templates = templates[:1]
        candidates = [filled(os.path.join(root, template), split=source.split) for template in templates]
        best, most = candidates[-1], 0
        for template in candidates:
            source.masks = template
            try:
                count = sum(bool(pair.found) for pair in source.pairs()[:_TRIED])
            except OSError:
                break
            if count > most:
                best, most = template, count
        source.masks = best

    def _inside(self, path: str) -> str:
        """A path below the data root as seen from there; another one whole."""
        inside = os.path.relpath(path, self.data_root)
        if inside == '.':
            return ''
        return os.path.normpath(path) if inside.startswith('..') else inside


def check_layout(description: Description, splits: Iterable[str]) -> None:
    """Looks for the pictures and masks of some splits.

    Single masks that are not there are left to the data check.

    Raises:
        DataYamlError: A folder or list that is not there or holds no picture, a template that matches nothing or twice,
            pictures that are trained and scored on: with file and line.
    """
    faults = Faults(description.file)
    layout = Layout(description)
    pairs: dict[str, list[Pair]] = {}
    for split in splits:
        if split in description.splits:
            pairs[split] = [
                pair
                for place, source in layout.sources(split)
                for pair in _pairs(split, place, source, description, faults)
            ]
    trained_on = pairs['train'] if 'train' in pairs else _there(layout, 'train')
    _check_shared(trained_on, pairs, description, faults)
    _check_masks_once(pairs, description, faults)
    faults.raise_if_any()


def _pairs(split: str, place: Place, source: Source, description: Description, faults: Faults) -> list[Pair]:
    """The pairs of a source; what is wrong with all of them is a fault."""
    path = os.path.join(source.root, source.list_file) if source.list_file else source.folder
    if source.list_file and path.lower().endswith(PICTURE_ENDINGS):
        faults.add(
            place.line, f'{split}: {shown(path)} is a picture; write a folder of pictures, or a list of them'
        )
        return []
    try:
        pairs = source.pairs()
    except OSError as error:
        hint = near_names(path) if isinstance(error, FileNotFoundError) else ''
        faults.add(place.line, f'{split}: {shown(path)}: {error.strerror}{hint}')
        return []
    for line, text in source.problems[:_SHOWN]:
        more = len(source.problems) - _SHOWN
        rest = f' (and {more} more lines)' if more > 0 else ''
        faults.add(place.line, f'{split}: {shown(path)}, line {line}: {text}{rest}')
    if not pairs and not source.problems:
        wanted = '' if description.pictures == '{stem}.*' else f' named {description.pictures}'
        faults.add(place.line, f'{split}: {shown(path)} holds no picture{wanted}')
    mask = description.masks.get(split)
    if mask is None or not pairs:
        return pairs
    where = f'masks: {mask.text!r}'
    if not any(pair.found for pair in pairs):
        first = pairs[0]
        assert first.mask is not None
        faults.add(
            mask.line,
            f'{where} matches nothing for the {len(pairs)} pictures of {split}: {shown(first.picture.path)} would have '
            f'{shown(first.mask)}{near_names(first.mask)}'
            + ('; without test: val is tested on' if split == 'test' else ''),
        )
    double = [pair for pair in pairs if len(pair.found) > 1]
    if double:
        names = ' and '.join(map(shown, double[0].found[:_SHOWN]))
        faults.add(
            mask.line,
            f'{where} matches several masks for {len(double)} pictures of {split}: {names} for '
            f'{shown(double[0].picture.path)}; write the end of the name that the masks have',
        )
    return pairs


def _there(layout: Layout, split: str) -> list[Pair]:
    """The pairs of a split that is not used, as far as it is there."""
    found: list[Pair] = []
    if split in layout.description.splits:
        for _, source in layout.sources(split):
            with suppress(OSError):
                found += source.pairs()
    return found


def _check_shared(
    trained_on: Sequence[Pair],
    pairs: Mapping[str, Sequence[Pair]],
    description: Description,
    faults: Faults,
) -> None:
    """Training pictures are not those that are scored on."""
    for split in ('val', 'test'):
        shared = shared_files(trained_on, pairs.get(split, ()))
        if shared:
            first, second = shared[0]
            both = shown(first) if first == second else f'{shown(first)} and {shown(second)} are one file'
            faults.add(
                description.line(split),
                f'{split} and train (line {description.line("train")}) share {len(shared)} pictures, such as {both}; a score '
                'on pictures that were trained on says nothing',
            )


def _check_masks_once(pairs: Mapping[str, Sequence[Pair]], description: Description, faults: Faults) -> None:
    """No mask belongs to two pictures: then the template leaves out what tells them apart."""
    owners: dict[str, tuple[str, str]] = {}
    double: dict[str, list[tuple[str, str]]] = {}
    for split, found in pairs.items():
        for pair in found:
            if len(pair.found) != 1:
                continue
            picture = os.path.realpath(pair.picture.path)
            first, _ = owners.setdefault(os.path.realpath(pair.found[0]), (picture, split))
            if first != picture:
                double.setdefault(split, []).append(
                    (pair.found[0], f'{shown(first)} and {shown(pair.picture.path)}')
                )
    for split, items in double.items():
        mask, both = items[0]
        place = description.masks[split]
        faults.add(
            place.line,
            f'masks: {place.text!r} matches one mask for two pictures, {len(items)} times in {split}: {shown(mask)} for '
            f'{both}; {{folder}}, {{parent}}, {{name}} or {{split}} in the template tells them apart',
        )


def _expanded(path: Path) -> list[str]:
    """The folders that a path with ``*`` stands for, sorted; any other path as it is."""
    text = os.path.normpath(path)
    if '*' not in text or os.path.lexists(text):
        return [text]
    return sorted(glob.glob(text)) or [text]
