"""Checks whole data sets: lists the files, reads each once, judges all, reports all faults together."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmengine.logging import print_log
from tqdm import tqdm

from mmseg_tapadl.datasets.integrity.cache import FactsCache
from mmseg_tapadl.datasets.integrity.files import Facts, image_facts, label_facts
from mmseg_tapadl.datasets.integrity.ids import IdRules
from mmseg_tapadl.datasets.integrity.listing import Listing, UnlistableError, leaf_datasets, list_dataset
from mmseg_tapadl.datasets.integrity.report import MOST_SIZES, Fault, Report, raise_if_faulty

_READERS = {'image': image_facts, 'label': label_facts}


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
        raise ValueError(f'{split}: the data set is a wrapper around nothing')
    _warn_of_absent(report)
    return report


def _check_listing(
    listing: Listing, split: str, num_classes: int | None, jobs: int | None, cache: bool, progress: bool
) -> Report:
    classes = listing.classes if num_classes is None else listing.classes[:num_classes]
    rules = IdRules(
        len(listing.classes) if num_classes is None else num_classes,
        ignore_index=listing.ignore_index,
        label_map=listing.label_map,
        reduce_zero_label=listing.reduce_zero_label,
        data_root=listing.data_root,
    )
    report = Report(
        split=split,
        dataset=listing.name,
        folders=listing.folders,
        pictures=len(listing.pairs),
        labelled=sum(label is not None for _, label in listing.pairs),
        faults=list(listing.faults),
        classes=classes,
        pixels=[0] * rules.num_classes,
    )
    facts, report.cached = _read_all(listing, split, jobs, cache, progress)
    grey = 0
    # Ids are guessed at over the whole set: one label alone may show too few.
    all_ids = {i for (role, _), fact in facts.items() if role == 'label' for i in fact.ids or ()}
    for image, label in listing.pairs:
        picture = facts['image', image]
        grey += picture.channels == 1
        if picture.kind is not None:
            report.faults.append(_file_fault('image', image, picture, label))
        elif len(report.sizes) < MOST_SIZES:
            report.sizes.setdefault((picture.width, picture.height), image)
        if label is not None:
            _judge_label(report, rules, facts['label', label], label, image, picture, all_ids)
    if grey:
        report.warnings.append(f'{grey} pictures are grey; they are loaded with three equal channels')
    return report


def _read_all(
    listing: Listing, split: str, jobs: int | None, cache: bool, progress: bool
) -> tuple[dict[tuple[str, str], Facts], int]:
    """The facts of every file by (role, path), and how many were remembered."""
    memory = FactsCache(listing.folders, enabled=cache)
    files = [('image', image) for image, _ in listing.pairs]
    files += [('label', label) for _, label in listing.pairs if label is not None]
    facts: dict[tuple[str, str], Facts] = {}
    for key in files:
        known = memory.get(*key)
        if known is not None:
            facts[key] = known
    remembered = len(facts)
    unknown = [key for key in files if key not in facts]
    if unknown:
        with ThreadPoolExecutor(jobs or _cores()) as pool:
            answers = pool.map(lambda key: _READERS[key[0]](key[1]), unknown)
            bar = tqdm(answers, total=len(unknown), desc=f'check {split}', unit='file', disable=not progress)
            for key, fact in zip(unknown, bar, strict=True):
                facts[key] = fact
                memory.put(*key, fact)
        memory.save()
    return facts, remembered


def _judge_label(
    report: Report, rules: IdRules, fact: Facts, label: str, image: str, picture: Facts, all_ids: set[int]
) -> None:
    """Adds a label's faults, or its pixels, to the report."""

    def add(kind: str, detail: str, hint: str = '') -> None:
        report.faults.append(Fault(kind, label, detail, hint, other=image))

    if fact.kind is not None:
        report.faults.append(_file_fault('label', label, fact, image))
        return
    if picture.kind is None and (fact.width, fact.height) != (picture.width, picture.height):
        add('label_size', f'is {fact.width}x{fact.height}, its image {picture.width}x{picture.height}')
    if fact.ids is None:
        if fact.city_colours > 0.9:
            hint = "these are colour labels (Cityscapes' palette); " + rules.advice()
        else:
            hint = 'a colour label, or a picture in place of a label'
        add('label_channels', f'has {fact.channels} channels', hint)
        return
    wrong = rules.wrong(fact.ids)
    if fact.bits > 8 and max(fact.ids, default=0) > 255:
        add('label_bits', f'has {fact.bits} bits and ids up to {max(fact.ids)}', rules.guess(fact.ids))
    elif wrong:
        pixels = sum(fact.ids[i] for i in wrong)
        add(
            'label_ids',
            f'ids {_ranges(wrong)} in {pixels} pixels; right are 0..{rules.num_classes - 1} and {rules.ignore_index}',
            rules.guess(fact.ids) or rules.guess(all_ids),
        )
    elif all(rules.is_void(i) for i in fact.ids):
        add('label_void', f'every pixel is void ({_ranges(fact.ids)})')
    for i, count in fact.ids.items():
        if i not in wrong and not rules.is_void(i):
            report.pixels[rules.final(i)] += count


def _file_fault(role: str, path: str, fact: Facts, other: str | None) -> Fault:
    return Fault(f'{role}_{fact.kind}', path, fact.problem or '', other=other)


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


def _ranges(ids: Any) -> str:
    """``[1, 2, 3, 7]`` as ``1..3, 7``; the first few."""
    parts: list[list[int]] = []
    for i in sorted(ids):
        if parts and i == parts[-1][1] + 1:
            parts[-1][1] = i
        else:
            parts.append([i, i])
    text = [f'{a}' if a == b else f'{a}..{b}' for a, b in parts]
    return ', '.join(text[:8]) + (', ...' if len(text) > 8 else '')
