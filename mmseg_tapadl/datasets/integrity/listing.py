"""Which pictures and labels a data set consists of, and what has no partner, without reading any."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.acdc import ACDCDataset
from mmseg_tapadl.datasets.integrity.ids import CONVERSION
from mmseg_tapadl.datasets.integrity.report import Fault


class UnlistableError(TypeError):
    """A data set whose files cannot be listed here; that is no fault of its data."""


@dataclass
class Listing:
    """The files of one data set and how their ids are to be read.

    Attributes:
        name: The data set's class name.
        folders: Where pictures and labels lie, for messages.
        pairs: (picture, label) of every picture that a run would load; the label is None where the set has none.
        faults: What is wrong with the listing itself.
        classes: Names of the classes.
        ignore_index: The id of void pixels after mapping.
        label_map: Stored id to class, or None.
        reduce_zero_label: Whether stored ids count from 1 and 0 is void.
    """

    name: str
    folders: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str | None]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    ignore_index: int = 255
    label_map: dict[int, int] | None = None
    reduce_zero_label: bool = False
    data_root: str = '.'


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers (``RepeatDataset``, ``ConcatDataset``, ...), as configs or built."""
    parts, inner = (
        (dataset.get(key) if isinstance(dataset, dict) else getattr(dataset, key, None))
        for key in ('datasets', 'dataset')
    )
    if parts is not None:
        for part in parts:
            yield from leaf_datasets(part)
    elif inner is not None:
        yield from leaf_datasets(inner)
    else:
        yield dataset


def list_dataset(dataset: Any) -> Listing:
    """Lists one data set.

    Args:
        dataset: The config of a :class:`BaseSegDataset` (as in ``train_dataloader.dataset``) or a built one.

    Returns:
        Its listing; a root that is missing or empty is a fault in it, not an error.

    Raises:
        UnlistableError: When it is no :class:`BaseSegDataset`, or its files are not on this machine.
    """
    wants_labels: bool | None = None
    if isinstance(dataset, dict):
        # Only the listing is needed: no transforms, nothing loaded on construction.
        wants_labels = _loads_labels(dataset['pipeline']) if dataset.get('pipeline') else None
        dataset = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': True})
    elif getattr(dataset, 'pipeline', None) is not None and dataset.pipeline.transforms:
        wants_labels = any('LoadAnnotations' in type(t).__name__ for t in dataset.pipeline.transforms)
    if not isinstance(dataset, BaseSegDataset):
        raise UnlistableError(f'{type(dataset).__name__} is no BaseSegDataset')
    if (dataset.backend_args or {}).get('backend', 'local') != 'local':
        raise UnlistableError(f'its files are read through the backend {dataset.backend_args["backend"]!r}')
    listing = Listing(
        name=type(dataset).__name__,
        folders=[str(path) for path in dataset.data_prefix.values() if path],
        classes=tuple(dataset.metainfo.get('classes') or ()),
        ignore_index=dataset.ignore_index,
        label_map=dataset.label_map,
        reduce_zero_label=dataset.reduce_zero_label,
        data_root=str(dataset.data_root or '.'),
    )
    entries = _entries(dataset, listing)
    labels = [entry['seg_map_path'] for entry in entries if entry.get('seg_map_path')]
    there = {path for path in labels if os.path.exists(path)}
    if wants_labels is None:
        wants_labels = not dataset.test_mode
    label_free = not there and not wants_labels
    for entry in entries:
        label = None if label_free else entry.get('seg_map_path')
        if label is not None and label not in there:
            listing.faults.append(_missing_label(entry['img_path'], label, dataset, listing))
            label = None
        listing.pairs.append((entry['img_path'], label))
    if not label_free:
        listing.faults += _labels_without_picture(dataset, set(labels))
    return listing


def _entries(dataset: BaseSegDataset, listing: Listing) -> list[dict]:
    """The data set's own list of files, or none and a fault."""
    images = dataset.data_prefix.get('img_path')
    try:
        whole = isinstance(dataset, ACDCDataset) and not dataset.ann_file
        # ACDC's own listing stops at the first missing label; here all of them are wanted.
        entries = dataset.list_pictures() if whole else dataset.load_data_list()
    except (OSError, ValueError, AssertionError) as error:
        missing = error.filename if isinstance(error, OSError) else None
        reason = f'no such folder: {missing}' if missing else str(error)
        listing.faults.append(Fault('no_data', str(images or dataset.data_root), reason, _root_hint(dataset)))
        return []
    indices = dataset._indices
    if indices is not None:
        chosen = range(len(entries))[:indices] if isinstance(indices, int) else indices
        entries = [entries[i] for i in chosen]
    if not entries:
        listing.faults.append(
            Fault(
                'no_data', str(images), f'holds no picture named *{dataset.img_suffix}', _suffix_hint(images)
            )
        )
    return entries


def _missing_label(image: str, label: str, dataset: BaseSegDataset, listing: Listing) -> Fault:
    hint = ''
    if label.endswith('labelTrainIds.png'):
        stem = label.removesuffix('labelTrainIds.png')
        if os.path.isfile(f'{stem}labelIds.png') or os.path.isfile(f'{stem}polygons.json'):
            hint = 'its labelIds or polygons are there; ' + CONVERSION.format(root=listing.data_root)
    reason = 'is a link to nothing' if os.path.islink(label) else 'does not exist'
    return Fault('label_missing', label, reason, hint, other=image)


def _labels_without_picture(dataset: BaseSegDataset, listed: set[str]) -> list[Fault]:
    """Labels that no listed picture belongs to: their pictures are missing."""
    root = dataset.data_prefix.get('seg_map_path')
    # A list of names, or the first N, leaves labels out on purpose.
    if not root or dataset.ann_file or dataset._indices is not None:
        return []
    folders = [Path(root)]
    if isinstance(dataset, ACDCDataset):
        folders = [Path(root) / condition / dataset.split for condition in dataset.conditions]
    known = {os.path.normpath(path) for path in listed}
    faults = []
    for folder in folders:
        for path in sorted(folder.rglob(f'*{dataset.seg_map_suffix}')):
            if os.path.normpath(path) not in known:
                stem = str(path.relative_to(root)).removesuffix(dataset.seg_map_suffix)
                image = os.path.join(dataset.data_prefix['img_path'], stem + dataset.img_suffix)
                faults.append(
                    Fault('image_missing', image, 'does not exist, but its label does', other=str(path))
                )
    return faults


def _loads_labels(pipeline: Any) -> bool:
    """Whether a transform somewhere in the pipeline (also inside TestTimeAug) reads labels."""
    if isinstance(pipeline, dict):
        return 'LoadAnnotations' in str(pipeline.get('type', '')) or any(
            map(_loads_labels, pipeline.values())
        )
    return isinstance(pipeline, (list, tuple)) and any(map(_loads_labels, pipeline))


def _root_hint(dataset: BaseSegDataset) -> str:
    root = Path(dataset.data_root or '.')
    if not root.is_dir():
        return f'data_root {root} is not there (docs/data.md shows how to prepare it)'
    found = sorted(path.name for path in root.iterdir() if path.is_dir())[:8]
    return f'data_root {root} is there and holds {", ".join(found) if found else "no folder"}'


def _suffix_hint(folder: str | None) -> str:
    """What lies there instead, by the ends of the names."""
    names = [path.name for path in Path(folder or '.').rglob('*') if path.is_file()][:1000]
    if not names:
        return 'the folder is empty'
    return f'there are {len(names)} other files, such as {min(names)}'
