"""``robustness.json``: built from the finished cells, written, and read again with care."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_tapadl.evaluation.confidence import ConfidenceCounts
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell, group_of, is_cityscapes_c
from mmseg_tapadl.evaluation.robustness_scores import (
    average_of_averages,
    corruption_means,
    mean_performance_under_corruption,
    relative_performance,
)
from mmseg_tapadl.robustness.bootstrap import pack, spread, unpack
from mmseg_tapadl.robustness.cell_store import RESULTS_FILE
from mmseg_tapadl.robustness.confusions import taken_for
from mmseg_tapadl.utils import InputError, atomic_write

FORMAT = 'mmseg_tapadl.robustness'
# 2: independent bootstrap weights. The noise in files of version 1 must not be compared with today's.
FORMAT_VERSION = 2
SCORES = ('cityscapes_c', 'mPC', 'rPC')
_CELL_KEYS = ('corruption', 'severity', 'mIoU', 'aAcc', 'IoU', 'pixels', 'resampled_mIoU')
# Files without these were written before there were any; None stands for them.
_LATER_KEYS = ('confidence', 'reliability', 'confusion')
# There where the model has classes that the data set does not have: how many pixels of each class it took for those.
_NONE_KEY = 'predicted_none'


class ResultError(InputError):
    """A results file that cannot be used; the message names it."""


def build_results(
    records: dict[Cell, dict],
    *,
    name: str,
    facts: dict[str, Any],
    confidence_of: Callable[[Cell], ConfidenceCounts | None] = lambda cell: None,
) -> dict:
    """The content of ``robustness.json``.

    Percentages are unrounded, ``rPC`` is the fraction mPC / P, None stands for an undefined number.
    ``cityscapes_c`` averages every corruption over its severities and then the corruptions, of whatever was
    measured; ``cityscapes_c_complete`` says whether that was all of the 72 cells and thus may be compared with
    published numbers. ``worst_corruption`` is the lowest of the corruptions' averages. ``standard_error`` tells how much
    a score would move with other pictures. ``pooled`` holds, of every corruption, ``confidence``, ``reliability`` and
    ``confusion`` over all pixels of all its severities, ``conditions`` the clean cell by condition where the data set
    has some, as ACDC.

    Args:
        records: What :func:`mmseg_tapadl.robustness.cell_runner.cell_record` made, the clean cell included.
        name: The model's name in reports.
        facts: ``preset``, ``config``, ``checkpoint``, ``seed``, ``channel_order``, ``classes``, ``sweep``,
            ``pictures``, ``versions``: copied.
        confidence_of: Gives the counts behind a cell's confidence; None where that is not known.

    Raises:
        ResultError: When a cell has no defined mIoU, because no class occurs in labels or predictions.
    """
    check_defined(records)
    corrupted = [cell for cell in records if cell != CLEAN]
    miou = {cell: records[cell]['mIoU'] for cell in corrupted}
    resampled = {cell: unpack(records[cell]['resampled_mIoU']) for cell in records}
    scores = _scores(miou, records[CLEAN]['mIoU'])
    means = corruption_means(miou)
    worst = min(means, key=lambda corruption: means[corruption])
    # The same formulas on each resample show how far the scores would move.
    moved = _resampled_scores({cell: resampled[cell] for cell in corrupted}, resampled[CLEAN])
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'name': name,
        **facts,
        'clean': _cell_entry(records[CLEAN]),
        'cells': [_cell_entry(records[cell]) for cell in corrupted],
        'corruptions': means,
        'pooled': {name: _pooled(records, name, confidence_of) for name in means},
        'conditions': {
            condition: {**_entry(numbers), 'pictures': numbers['pictures']}
            for condition, numbers in records[CLEAN].get('conditions', {}).items()
        },
        **scores,
        'worst_corruption': {'name': worst, 'mIoU': means[worst]},
        'cityscapes_c_complete': is_cityscapes_c(corrupted),
        'standard_error': {
            'clean': spread(resampled[CLEAN]),
            **{score: spread(values) for score, values in moved.items()},
        },
        'time': {
            'seconds': round(sum(record['seconds'] for record in records.values()), 3),
            **{
                key: round(sum(record['seconds_of'][key] for record in records.values()), 3)
                for key in records[CLEAN]['seconds_of']
            },
            'finished': max(record['finished'] for record in records.values()),
        },
    }


def check_defined(records: dict[Cell, dict]) -> None:
    """Raises :class:`ResultError` where a cell has no mIoU."""
    undefined = [cell.name for cell, record in records.items() if record['mIoU'] is None]
    if undefined:
        raise ResultError(
            f'the mIoU of {", ".join(undefined)} is undefined: there is no labelled pixel in the test data'
        )


def _scores(miou: dict[Cell, float], clean: float) -> dict[str, float | None]:
    mpc = mean_performance_under_corruption(miou)
    return {'cityscapes_c': average_of_averages(miou), 'mPC': mpc, 'rPC': relative_performance(mpc, clean)}


def _resampled_scores(cells: dict[Cell, np.ndarray], clean: np.ndarray) -> dict[str, np.ndarray]:
    drawn = [
        _scores({cell: float(v[b]) for cell, v in cells.items()}, float(clean[b])) for b in range(clean.size)
    ]
    return {score: np.array([np.nan if d[score] is None else d[score] for d in drawn]) for score in SCORES}


def resamples_of(results: dict) -> dict[str, np.ndarray]:
    """(B,) resamples of a results file: ``clean``, the scores, every corruption and every cell by name."""
    clean = unpack(results['clean']['resampled_mIoU'])
    cells = {Cell(c['corruption'], c['severity']): unpack(c['resampled_mIoU']) for c in results['cells']}
    by_name: dict[str, list[np.ndarray]] = {}
    for cell, values in cells.items():
        by_name.setdefault(cell.corruption, []).append(values)
    return {
        'clean': clean,
        **_resampled_scores(cells, clean),
        **{name: np.mean(values, axis=0) for name, values in by_name.items()},
        **{cell.name: values for cell, values in cells.items()},
    }


def _pooled(
    records: dict[Cell, dict], corruption: str, confidence_of: Callable[[Cell], ConfidenceCounts | None]
) -> dict:
    """What a corruption's severities amount to together; one cell's counts are in memory at a time."""
    cells = [cell for cell in records if cell.corruption == corruption]
    counts = np.asarray(sum(taken_for(records[cell]) for cell in cells))
    pooled: ConfidenceCounts | None = ConfidenceCounts()
    for cell in cells:
        known = confidence_of(cell) if pooled is not None else None
        if pooled is None or known is None:
            pooled = None
        else:
            pooled += known
    return {
        'confidence': pooled and pooled.metrics(),
        'reliability': pooled and pooled.reliability(),
        'confusion': counts[:, :-1].tolist(),
        **({_NONE_KEY: counts[:, -1].tolist()} if counts[:, -1].any() else {}),
    }


def _cell_entry(record: dict) -> dict:
    return {'corruption': record['corruption'], 'severity': record['severity'], **_entry(record)}


def _entry(record: dict) -> dict:
    """The numbers of a cell, or of a condition in it, with their standard error."""
    resampled = unpack(record['resampled_mIoU'])
    return {
        **{key: record[key] for key in ('mIoU', 'aAcc', 'IoU', 'pixels', *_LATER_KEYS)},
        **({_NONE_KEY: record[_NONE_KEY]} if _NONE_KEY in record else {}),
        'standard_error': spread(resampled),
        # Already short; kept as text so that the file stays readable.
        'resampled_mIoU': pack(resampled),
    }


def write_results(results: dict, work_dir: str | os.PathLike) -> list[Path]:
    """Writes ``robustness.json`` and ``robustness.csv`` (one row a cell), each whole or not at all."""
    json_file, csv_file = Path(work_dir) / RESULTS_FILE, Path(work_dir) / 'robustness.csv'
    with atomic_write(json_file, 'w', encoding='utf-8') as file:
        file.write(_rows_in_lines(json.dumps(results, indent=2, allow_nan=False)) + '\n')
    with atomic_write(csv_file, 'w', encoding='utf-8', newline='') as file:
        table = csv.writer(file)
        table.writerow(['corruption', 'group', 'severity', 'mIoU', 'aAcc', *results['classes']])
        for entry in [results['clean'], *results['cells']]:
            group = '' if entry['corruption'] == CLEAN.corruption else group_of(entry['corruption'])
            values = [entry['mIoU'], entry['aAcc'], *entry['IoU'].values()]
            table.writerow(
                [
                    entry['corruption'],
                    group,
                    entry['severity'],
                    *('' if v is None else repr(v) for v in values),
                ]
            )
    return [json_file, csv_file]


def _rows_in_lines(text: str) -> str:
    """Indented JSON with lists of numbers in one line each: a matrix of 150 classes has 22,500."""
    return re.sub(
        r'\[\s*((?:[-+.\deE]+|null)(?:,\s*(?:[-+.\deE]+|null))*)\s*\]',
        lambda found: f'[{", ".join(found[1].replace(",", " ").split())}]',
        text,
    )


def read_results(path: str | os.PathLike) -> dict:
    """Reads a ``robustness.json``.

    Raises:
        ResultError: Naming the file: missing, broken, of another version, or not a results file.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise ResultError(f'{path}: cannot be read ({error.strerror})') from error
    except UnicodeDecodeError as error:
        raise ResultError(f'{path}: is not text, so not a robustness.json') from error
    try:
        results = json.loads(text)
    except ValueError as error:
        raise ResultError(f'{path}: is broken: {error}') from error
    if not isinstance(results, dict) or results.get('format') != FORMAT:
        raise ResultError(f'{path}: is not a robustness.json of tools/test_robustness.py')
    if (version := results.get('format_version')) != FORMAT_VERSION:
        raise ResultError(f'{path}: {_what_to_do(version)}')
    try:
        _check_content(results)
    except (KeyError, TypeError, ValueError) as error:
        raise ResultError(f'{path}: is broken: {type(error).__name__}: {error}') from error
    for entry in (results['clean'], *results['cells']):
        entry.update({key: None for key in _LATER_KEYS if key not in entry})
    for key in ('pooled', 'conditions'):
        results.setdefault(key, {})
    return results


def _what_to_do(version: Any) -> str:
    found = f'has format version {version}, this toolkit reads {FORMAT_VERSION}; '
    if isinstance(version, int) and version > FORMAT_VERSION:
        return found + 'compare it with the newer mmseg_tapadl that wrote it'
    return found + (
        'its noise was drawn in another way and cannot be compared, so measure the model again: '
        'tools/test_robustness.py with a new --work-dir'
    )


def _check_content(results: dict) -> None:
    for entry in [results['clean'], *results['cells']]:
        missing = [key for key in (*_CELL_KEYS, 'standard_error') if key not in entry]
        if missing:
            raise ValueError(
                f'the cell {entry.get("corruption")} {entry.get("severity")} lacks {", ".join(missing)}'
            )
        if not isinstance(entry['mIoU'], (int, float)):
            raise ValueError(f'the mIoU of {entry["corruption"]} {entry["severity"]} is not a number')
        if list(entry['IoU']) != results['classes']:
            raise ValueError(f'the classes of {entry["corruption"]} {entry["severity"]} are others')
        unpack(entry['resampled_mIoU'])
    if not results['cells']:
        raise ValueError('there is no cell')
    for key in ('name', 'preset', 'corruptions', 'pictures', 'seed', 'channel_order', *SCORES):
        results[key]
