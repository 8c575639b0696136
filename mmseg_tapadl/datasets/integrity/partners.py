"""What a data set's own listing leaves without a partner, or leaves out: by the same rules of listing."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.fileio import list_dir_or_file
from mmseg.datasets import BaseSegDataset

from mmseg_tapadl.datasets.acdc import ACDCDataset
from mmseg_tapadl.datasets.integrity.ids import CONVERSION
from mmseg_tapadl.datasets.integrity.report import Fault
from mmseg_tapadl.utils import shown


def missing_label(image: str, label: str, dataset: BaseSegDataset, *, hint: str = '') -> Fault:
    """The fault of a picture whose label is not there; ``hint`` where nothing better is known."""
    if label.endswith('labelTrainIds.png'):
        stem = label.removesuffix('labelTrainIds.png')
        if os.path.isfile(f'{stem}labelIds.png') or os.path.isfile(f'{stem}polygons.json'):
            hint = 'its labelIds or polygons are there; ' + CONVERSION.format(
                root=shown(dataset.data_root or '.')
            )
    elif not hint and dataset.img_suffix != dataset.seg_map_suffix and image.endswith(dataset.seg_map_suffix):
        hint = (
            f'the picture is named as labels are (*{dataset.seg_map_suffix}): keep labels in a folder of their own, '
            'or give an img_suffix that only pictures have'
        )
    return Fault('label_missing', label, _absence(label), hint, other=image)


def labels_without_picture(
    dataset: BaseSegDataset, pictures: Iterable[str], labels: Iterable[str]
) -> list[Fault]:
    """Labels that no listed picture belongs to: their pictures are missing.

    Args:
        dataset: It lists whole folders.
        pictures: Those that it lists.
        labels: Theirs.
    """
    root = dataset.data_prefix.get('seg_map_path')
    if not root:
        return []
    known = {os.path.normpath(path) for paths in (pictures, labels) for path in paths}
    faults = []
    for folder in _folders(dataset, str(root)):
        for name in sorted(_listed(folder, dataset.seg_map_suffix)):
            path = os.path.join(folder, name)
            if os.path.normpath(path) in known:
                continue
            stem = os.path.relpath(path, root).removesuffix(dataset.seg_map_suffix)
            image = os.path.join(dataset.data_prefix['img_path'], stem + dataset.img_suffix)
            detail = f'{_absence(image)}, but its label does exist'
            faults.append(Fault('image_missing', image, detail, _other_case(image), other=path))
    return faults


def left_out_pictures(
    dataset: BaseSegDataset, pictures: Iterable[str], told: set[str]
) -> tuple[list[Fault], list[str]]:
    """What looks like a picture of the data set and is left out by its listing without a word.

    Args:
        dataset: It lists whole folders.
        pictures: Those that it lists.
        told: Pictures whose absence is a fault already.

    Returns:
        Faults (links to nothing), and notes (names in another case).
    """
    known = {os.path.normpath(path) for path in pictures} | {os.path.normpath(path) for path in told}
    suffix, faults, cased = dataset.img_suffix, [], []
    for folder in _folders(dataset, str(dataset.data_prefix.get('img_path') or '.')):
        for place, _, names in os.walk(folder):
            for name in names:
                # Hidden files are no pictures to any listing.
                if name.startswith('.') or not name.lower().endswith(suffix.lower()):
                    continue
                path = os.path.join(place, name)
                if not name.endswith(suffix):
                    if os.path.normpath(path[: -len(suffix)] + suffix) not in known:
                        cased.append(path)
                elif os.path.normpath(path) not in known and not os.path.exists(path):
                    faults.append(Fault('image_missing', path, _absence(path)))
    notes = []
    if cased:
        notes.append(
            f'{len(cased)} files are left out because their names do not end with {suffix!r} in this case, '
            f'such as {shown(min(cased))}'
        )
    return sorted(faults, key=lambda fault: fault.path), notes


def _folders(dataset: Any, root: str) -> list[str]:
    """The folders that the data set lists."""
    if isinstance(dataset, ACDCDataset):
        return [os.path.join(root, condition, dataset.split) for condition in dataset.conditions]
    return [root]


def _listed(folder: str, suffix: str) -> Iterator[str]:
    """Names below a folder as mmseg lists them: links are followed, hidden files are not seen."""
    try:
        yield from list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True)
    except OSError:
        return


def endless_links(dataset: BaseSegDataset) -> list[Fault]:
    """The first link in each folder of a data set that leads back to a folder above it.

    mmseg's listing follows links: it would come by the same files again and again, until the system stops it.

    Args:
        dataset: It lists whole folders.
    """
    faults = []
    for key in ('img_path', 'seg_map_path'):
        root = dataset.data_prefix.get(key)
        for folder in _folders(dataset, str(root)) if root else ():
            if found := _endless_link(folder):
                link, target = found
                detail = (
                    f'is a link that leads back to {shown(target)}: listing follows links and finds no end'
                )
                faults.append(Fault('no_data', link, detail, 'remove the link'))
    return faults


def _endless_link(folder: str) -> tuple[str, str] | None:
    """A link below a folder behind which a folder is met again, and that folder."""
    places: list[tuple[str, str, tuple[str, ...]]] = [(folder, folder, (os.path.realpath(folder),))]
    while places:
        place, link, above = places.pop()
        try:
            with os.scandir(place) as entries:
                below = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
        except OSError:
            continue  # the listing itself says so
        for entry in below:
            by = entry.path if entry.is_symlink() else link
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
            if real in above:
                return by, real
            places.append((entry.path, by, (*above, real)))
    return None


def _absence(path: str) -> str:
    return 'is a link to nothing' if os.path.islink(path) else 'does not exist'


def _other_case(image: str) -> str:
    """A hint where the file is there with its ending in another case."""
    stem, ending = os.path.splitext(image)
    for other in (stem + ending.upper(), stem + ending.lower()):
        if other != image and os.path.exists(other):
            return f'there is {shown(os.path.basename(other))}: the case of the ending must be that of img_suffix'
    return ''
