"""Checks whole data sets: lists the files, reads each once, judges all, reports all faults together."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmengine.logging import print_log
from tqdm import tqdm

from mmseg_tapadl.datasets.integrity.cache import FactsCache
from mmseg_tapadl.datasets.integrity.files import Facts, image_facts, label_facts
from mmseg_tapadl.datasets.integrity.judging import Judge
from mmseg_tapadl.datasets.integrity.listing import Listing, UnlistableError, list_dataset
from mmseg_tapadl.datasets.integrity.loaders import libraries
from mmseg_tapadl.datasets.integrity.report import Report, raise_if_faulty
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.dataset_tree import leaf_datasets

# Role of a file, ``'image'`` or ``'label'``, and its path
Key = tuple[str, str]


def check_config(
    cfg: Any,
    splits: Sequence[str] = ('train', 'val'),
    *,
    jobs: int | None = None,
    cache: bool = True,
    progress: bool = True,
) -> dict[str, Report]:
    """Checks the data sets of a config before a run; logs one line a split and every warning.

    Args:
        cfg: Has ``{split}_dataloader.dataset`` for each split; a split without one is passed over.
        splits: Of ``'train'``, ``'val'``, ``'test'``.
        jobs: Threads; None for one per core.
        cache: Whether facts of unchanged files are taken from the last check.
        progress: Show a bar.

    Returns:
        The reports by split.

    Raises:
        DatasetError: All faults of all splits, with paths.
    """
    reports = check_splits(cfg, splits, jobs=jobs, cache=cache, progress=progress)
    raise_if_faulty(list(reports.values()))
    for report in reports.values():
        print_log(f'data check: {report.summary()}', logger='current')
        for warning in report.warnings:
            print_log(f'data check: {report.split}: {warning}', logger='current')
    return reports


def check_splits(
    cfg: Any,
    splits: Sequence[str],
    *,
    jobs: int | None = None,
    cache: bool = True,
    progress: bool = True,
) -> dict[str, Report]:
    """As :func:`check_config`, but faults are only reported, not raised."""
    reports: dict[str, Report] = {}
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            if 'dataset' not in loader:
                raise InputError(f'{split}_dataloader has no dataset')
            reports[split] = check_dataset(
                loader['dataset'], split=split, jobs=jobs, cache=cache, progress=progress
            )
    return reports


def check_dataset(
    dataset: Any,
    *,
    split: str,
    num_classes: int | None = None,
    jobs: int | None = None,
    cache: bool = True,
    progress: bool = True,
) -> Report:
    """Finds all faults of a data set at once.

    Args:
        dataset: The config of a :class:`mmseg.datasets.BaseSegDataset`, a built one, or a wrapper of such.
        split: The name in the report.
        num_classes: Classes; None takes the data set's own.
        jobs: Threads (decoding runs outside Python's lock); None for one per core.
        cache: Whether facts of unchanged files are taken from the last check and kept for the next.
        progress: Show a bar.

    Returns:
        The report; see :meth:`Report.raise_if_faulty`. A set whose files cannot be listed (another kind of data
        set, files that are not local) is not checked, which the report's warnings say.
    """
    report: Report | None = None
    for leaf in leaf_datasets(dataset):
        try:
            part = _check_listing(list_dataset(leaf), split, num_classes, jobs, cache, progress)
        except UnlistableError as error:
            part = Report(split, 'unknown', warnings=[f'not checked: {error}'])
        report = part if report is None else _joined(report, part)
    if report is None:
        raise InputError(f'{split}: the data set is a wrapper around nothing')
    _warn_of_absent(report)
    return report


def _check_listing(
    listing: Listing, split: str, num_classes: int | None, jobs: int | None, cache: bool, progress: bool
) -> Report:
    classes = listing.classes if num_classes is None else listing.classes[:num_classes]
    count = len(listing.classes) if num_classes is None else num_classes
    report = Report(
        split=split,
        dataset=listing.name,
        folders=listing.folders,
        pictures=len(listing.entries),
        labelled=sum('seg_map_path' in entry for entry in listing.entries),
        faults=list(listing.faults),
        warnings=list(listing.notes),
        classes=classes,
        pixels=[0] * count,
    )
    facts, report.cached = _read_all(listing, split, jobs, cache, progress)
    Judge(report, listing, count, facts).judge()
    return report


def _read_all(
    listing: Listing, split: str, jobs: int | None, cache: bool, progress: bool
) -> tuple[dict[Key, Facts], int]:
    """The facts of every file by (role, path), and how many were remembered."""
    entries = {('image', entry['img_path']): entry for entry in listing.entries}
    entries |= {
        ('label', entry['seg_map_path']): entry for entry in listing.entries if 'seg_map_path' in entry
    }
    images, labels = listing.images, listing.labels
    known = {'image': images.is_known, 'label': labels.is_known}
    loading = [images.key, labels.key, libraries()]
    if listing.coding is not None:
        loading.append('colors' if listing.coding.colors else 'ids')
    memory = FactsCache(listing.folders, loading='\n'.join(loading), enabled=cache)
    facts: dict[Key, Facts] = {}
    for key in entries:
        remembered = memory.get(*key) if known[key[0]] else None
        if remembered is not None:
            facts[key] = remembered
    count = len(facts)
    unknown = [key for key in entries if key not in facts]

    def read(key: Key) -> Facts:
        entry = entries[key]
        return image_facts(entry, images) if key[0] == 'image' else label_facts(entry, labels)

    if unknown:
        # Code that nobody knows may not be made for threads.
        threads = jobs or _cores() if all(known.values()) else 1
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(read, unknown)
            bar = tqdm(answers, total=len(unknown), desc=f'check {split}', unit='file', disable=not progress)
            for key, fact in zip(unknown, bar, strict=True):
                facts[key] = fact
                if known[key[0]] and fact.unchecked is None:
                    memory.put(*key, fact)
        memory.save()
    return facts, count


def _joined(first: Report, second: Report) -> Report:
    """Two parts of one split as one report."""
    same = first.classes == second.classes
    return Report(
        split=first.split,
        dataset=first.dataset if first.dataset == second.dataset else f'{first.dataset} + {second.dataset}',
        folders=first.folders + second.folders,
        pictures=first.pictures + second.pictures,
        labelled=first.labelled + second.labelled,
        faults=first.faults + second.faults,
        warnings=first.warnings
        + second.warnings
        + ([] if same else ['the joined data sets have different classes']),
        classes=first.classes,
        pixels=[a + b for a, b in zip(first.pixels, second.pixels, strict=False)],
        cached=first.cached + second.cached,
        sizes={**second.sizes, **first.sizes},
    )


def _warn_of_absent(report: Report) -> None:
    absent = [name for name, count in zip(report.classes, report.pixels, strict=False) if count == 0]
    if absent and report.labelled:
        report.warnings.append(f'classes that never occur: {", ".join(absent)}')


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
