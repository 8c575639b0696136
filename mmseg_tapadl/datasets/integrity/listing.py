"""Which pictures and labels a data set consists of, by its own listing, without reading any."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_tapadl.datasets.acdc import ACDCDataset
from mmseg_tapadl.datasets.data_yaml.coding import LabelCoding
from mmseg_tapadl.datasets.integrity.loaders import ImageLoader, LabelLoader, loaders_of
from mmseg_tapadl.datasets.integrity.name_list import NameList, read_name_list
from mmseg_tapadl.datasets.integrity.partners import (
    endless_links,
    labels_without_picture,
    left_out_pictures,
    missing_label,
)
from mmseg_tapadl.datasets.integrity.report import Fault
from mmseg_tapadl.datasets.picture_mask_dataset import PictureMaskDataset
from mmseg_tapadl.utils import InputError, shown


class UnlistableError(TypeError):
    """A data set whose files cannot be listed here; that is no fault of its data."""


@dataclass
class Listing:
    """The files of one data set, how they are loaded and how their ids are to be read.

    Attributes:
        name: The data set's class name.
        folders: Where pictures and labels lie, for messages.
        entries: The data set's own list: one dict a picture that a run would load, with ``img_path`` and, where it
            has a label that is there, ``seg_map_path``.
        faults: What is wrong with the listing itself.
        notes: What deserves a look but stops nothing.
        images: How pictures are loaded.
        labels: How labels are loaded.
        names: The list of names that the data set reads, if any.
        classes: Names of the classes.
        ignore_index: The id of void pixels after mapping.
        label_map: Stored id to class, or None.
        reduce_zero_label: Whether stored ids count from 1 and 0 is void.
        data_root: For advice.
        coding: What the values of masks stand for, where a ``data.yaml`` says it.
        told: Where it says so, for messages.
    """

    name: str
    folders: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: ImageLoader = field(default_factory=ImageLoader)
    labels: LabelLoader = field(default_factory=LabelLoader)
    names: NameList | None = None
    classes: tuple[str, ...] = ()
    ignore_index: int = 255
    label_map: dict[int, int] | None = None
    reduce_zero_label: bool = False
    data_root: str = '.'
    coding: LabelCoding | None = None
    told: str = ''


def list_dataset(dataset: Any) -> Listing:
    """Lists one data set.

    Args:
        dataset: The config of a :class:`BaseSegDataset` (as in ``train_dataloader.dataset``) or a built one.

    Returns:
        Its listing; a root that is missing or empty is a fault in it, not an error.

    Raises:
        UnlistableError: When it is no :class:`BaseSegDataset`, or its files are not on this machine.
        InputError: When the config makes no data set (an unknown type or argument).
    """
    if isinstance(dataset, dict):
        pipeline = list(dataset.get('pipeline') or ())
        # Only the listing is needed: no transforms, nothing loaded on construction.
        dataset = _built({**dataset, 'pipeline': [], 'lazy_init': True})
    else:
        pipeline = list(getattr(getattr(dataset, 'pipeline', None), 'transforms', ()))
    if not isinstance(dataset, BaseSegDataset):
        raise UnlistableError(f'{type(dataset).__name__} is no BaseSegDataset')
    _require_local(dataset)
    listing = Listing(
        name=type(dataset).__name__,
        folders=[str(path) for path in dataset.data_prefix.values() if path],
        classes=tuple(dataset.metainfo.get('classes') or ()),
        ignore_index=dataset.ignore_index,
        label_map=dataset.label_map,
        reduce_zero_label=dataset.reduce_zero_label,
        data_root=str(dataset.data_root or '.'),
    )
    listing.images, listing.labels = loaders_of(pipeline)
    if isinstance(dataset, PictureMaskDataset):
        _list_described(dataset, listing)
        return listing
    if type(dataset).load_data_list in (BaseSegDataset.load_data_list, ACDCDataset.load_data_list):
        listing.names = read_name_list(dataset)
    if listing.names is not None:
        listing.faults += listing.names.faults
        listing.notes += listing.names.notes
    if not (dataset.ann_file and not os.path.isdir(dataset.ann_file)) and (endless := endless_links(dataset)):
        listing.faults += endless
        return listing
    entries = _entries(dataset, listing)
    _settle_labels(entries, dataset, listing, pipeline_loads_labels=_loads_labels(pipeline, listing, dataset))
    return listing


def _list_described(dataset: PictureMaskDataset, listing: Listing) -> None:
    """Pictures and masks as a ``data.yaml`` describes them: by templates, so there are no folders of labels to compare with."""
    listing.folders = list(dict.fromkeys(source.folder for source in dataset.sources))
    listing.coding, listing.told = dataset.label_coding, dataset.told('classes')
    for entry in _entries(dataset, listing):
        label = entry.get('seg_map_path')
        if label is not None and not os.path.exists(label):
            hint = (
                f'the template of the masks{dataset.told("masks")} leads there: add the mask, or name the pictures that have '
                'one in a list'
            )
            listing.faults.append(missing_label(entry['img_path'], label, dataset, hint=hint))
            del entry['seg_map_path']
        listing.entries.append({**entry, 'label_coding': listing.coding})


def _built(dataset: dict[str, Any]) -> Any:
    try:
        return DATASETS.build(dataset)
    except InputError:
        raise
    except Exception as error:  # a registry and a constructor raise what they like
        raise InputError(
            f'no data set can be built from its config: {type(error).__name__}: {error}'
        ) from error


def _require_local(dataset: BaseSegDataset) -> None:
    backend = (dataset.backend_args or {}).get('backend', 'local')
    if backend not in ('local', 'disk'):
        raise UnlistableError(f'its files are read through the backend {backend!r}')
    remote = [str(path) for path in dataset.data_prefix.values() if '://' in str(path)]
    if remote:
        raise UnlistableError(f'its files are not on this machine: {shown(remote[0])}')


def _loads_labels(pipeline: list[Any], listing: Listing, dataset: BaseSegDataset) -> bool:
    """Whether a run reads labels; without a pipeline, whether such a data set usually does."""
    return not listing.labels.assumed if pipeline else not dataset.test_mode


def _entries(dataset: BaseSegDataset, listing: Listing) -> list[dict[str, Any]]:
    """The data set's own list of files, or none and a fault."""
    names = listing.names
    if names is not None and not names.readable:
        return []
    images = dataset.data_prefix.get('img_path')
    try:
        # ACDC's own listing stops at the first missing label; here all of them are wanted.
        listed = dataset.list_pictures if isinstance(dataset, ACDCDataset) else dataset.load_data_list
        entries = listed()
    except (OSError, ValueError, AssertionError) as error:
        missing = error.filename if isinstance(error, OSError) else None
        reason = f'no such folder: {shown(missing)}' if missing else str(error)
        listing.faults.append(Fault('no_data', str(images or dataset.data_root), reason, _root_hint(dataset)))
        return []
    indices = dataset._indices
    if indices is not None:
        chosen = range(len(entries))[:indices] if isinstance(indices, int) else indices
        entries = [entries[i] for i in chosen]
    if not entries and not listing.faults:
        what = f'holds no picture named *{dataset.img_suffix}'
        listing.faults.append(Fault('no_data', str(images), what, _suffix_hint(images)))
    if names is not None:
        entries = [entry for entry in entries if entry['img_path'] not in names.blamed]
    return entries


def _settle_labels(
    entries: list[dict[str, Any]], dataset: BaseSegDataset, listing: Listing, *, pipeline_loads_labels: bool
) -> None:
    """Fills the listing's entries, without the labels that are not there, which are faults where labels are wanted."""
    labels = [entry['seg_map_path'] for entry in entries if entry.get('seg_map_path')]
    there = {path for path in labels if os.path.exists(path)}
    label_free = not there and not pipeline_loads_labels
    for entry in entries:
        label = entry.get('seg_map_path')
        if label is not None and (label_free or label not in there):
            if not label_free:
                listing.faults.append(missing_label(entry['img_path'], label, dataset))
            entry = {key: value for key, value in entry.items() if key != 'seg_map_path'}
        listing.entries.append(entry)
    # A list of names, or the first N, leaves files out on purpose.
    if dataset._indices is not None or (dataset.ann_file and not os.path.isdir(dataset.ann_file)):
        return
    pictures = [entry['img_path'] for entry in entries]
    if not label_free:
        listing.faults += labels_without_picture(dataset, pictures, labels)
    told = {fault.path for fault in listing.faults if fault.kind == 'image_missing'}
    faults, notes = left_out_pictures(dataset, pictures, told)
    listing.faults += faults
    listing.notes += notes


def _root_hint(dataset: BaseSegDataset) -> str:
    root = Path(dataset.data_root or '.')
    if not root.is_dir():
        return f'data_root {shown(root)} is not there (docs/data.md shows how to prepare it)'
    found = sorted(shown(path.name) for path in root.iterdir() if path.is_dir())[:8]
    return f'data_root {shown(root)} is there and holds {", ".join(found) if found else "no folder"}'


def _suffix_hint(folder: str | None) -> str:
    """What lies there instead, by the ends of the names."""
    names = [path.name for path in Path(folder or '.').rglob('*') if path.is_file()][:1000]
    if not names:
        return 'the folder is empty'
    return f'there are {len(names)} other files, such as {shown(min(names))}'
