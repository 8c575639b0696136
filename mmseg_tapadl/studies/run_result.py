"""What a finished run comes to: one small JSON that says all a study needs to know of it."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_tapadl.datasets.acdc import CONDITIONS
from mmseg_tapadl.engine.hooks.metrics_json_hook import TEST_FILE
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell, group_of
from mmseg_tapadl.evaluation.robustness_scores import corruption_means, mean_performance_under_corruption
from mmseg_tapadl.robustness.bootstrap import pack, unpack
from mmseg_tapadl.robustness.cell_store import RESULTS_FILE
from mmseg_tapadl.robustness.results import read_results
from mmseg_tapadl.studies.run_folder import RunFolder
from mmseg_tapadl.studies.steps import ACDC, TEST, TRAIN, Step, training_log
from mmseg_tapadl.utils import InputError

FORMAT = 'mmseg_tapadl.study_run'
FORMAT_VERSION = 1
_CURVE_POINTS = 60


def result_of(run: RunFolder, steps: Sequence[Step], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a run whose steps have all ended well.

    Args:
        run: Its folder.
        steps: Its steps.
        changes: What its variant changes.

    Returns:
        ``variant``, ``seed``, ``status``, ``clean``, ``mPC``, ``corruptions`` and ``cells`` by name, ``acdc`` (all mIoU in
        percent, unrounded; None for what was not measured), ``resampled`` (the bootstrap over pictures of each figure, packed),
        ``pictures``, ``curve`` (losses by iteration), ``seconds`` of each step, ``machine``, ``changes``.

    Raises:
        InputError: A file of a step is missing or damaged, or a figure in it is undefined.
    """
    cells: dict[Cell, float] = {}
    resampled: dict[Cell, np.ndarray] = {}
    clean: float | None = None
    pictures: Any = None
    acdc: dict[str, float] = {}
    for step in steps:
        folder = run.path / step.name
        if step.cells:
            results = read_results(folder / RESULTS_FILE)
            clean, pictures = results['clean']['mIoU'], results['pictures']
            resampled[CLEAN] = unpack(results['clean']['resampled_mIoU'])
            for entry in results['cells']:
                cell = Cell(entry['corruption'], entry['severity'])
                cells[cell] = entry['mIoU']
                resampled[cell] = unpack(entry['resampled_mIoU'])
        elif step.name == TEST:
            report = _metrics(folder / TEST_FILE)
            clean, pictures = _defined(report['metrics'], 'mIoU', folder), {'count': report['pictures']}
        elif step.name == ACDC:
            metrics = _metrics(folder / TEST_FILE)['metrics']
            acdc['mIoU'] = _defined(metrics, 'mIoU', folder)
            acdc |= {
                name: metrics[f'mIoU_{name}']
                for name in CONDITIONS
                if metrics.get(f'mIoU_{name}') is not None
            }
    order = [cell for step in steps for cell in step.cells]
    cells = {cell: cells[cell] for cell in order}
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'variant': run.variant,
        'seed': run.seed,
        'status': 'finished',
        'clean': clean,
        'mPC': mean_performance_under_corruption(cells) if cells else None,
        'corruptions': corruption_means(cells),
        'cells': {cell.name: value for cell, value in cells.items()},
        'acdc': acdc or None,
        'resampled': _resampled(resampled, order),
        'pictures': pictures,
        'curve': _curve(run.path / TRAIN),
        'seconds': {step.name: round(run.step(step.name).seconds, 3) for step in steps},
        'threads': run.step(TRAIN).threads,
        'machine': {'processor': _processor(), 'cores': os.cpu_count(), 'python': platform.python_version()},
        'finished': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'changes': dict(changes),
    }


def figure(result: Mapping[str, Any], measure: str) -> float | None:
    """One figure of a run by its name in :attr:`~mmseg_tapadl.studies.study_file.Study.measures`; None where it was not measured."""
    if measure in ('clean', 'mPC'):
        return result.get(measure)
    if measure == 'acdc' or measure.startswith('acdc_'):
        return (result.get('acdc') or {}).get('mIoU' if measure == 'acdc' else measure.removeprefix('acdc_'))
    corruptions = result.get('corruptions') or {}
    if measure in corruptions:
        return corruptions[measure]
    values = [value for name, value in corruptions.items() if group_of(name) == measure]
    return sum(values) / len(values) if values else None


def resampled_figure(result: Mapping[str, Any], measure: str) -> np.ndarray | None:
    """(B,) resamples over pictures of the same figure; None where there are none."""
    known = result.get('resampled') or {}
    if measure in known:
        return unpack(known[measure])
    values = [
        unpack(text)
        for name, text in known.items()
        if name not in ('clean', 'mPC') and group_of(name) == measure
    ]
    return np.mean(values, axis=0) if values else None


def _resampled(drawn: Mapping[Cell, np.ndarray], order: Sequence[Cell]) -> dict[str, str]:
    if CLEAN not in drawn:
        return {}
    by_name: dict[str, list[np.ndarray]] = {}
    for cell in order:
        by_name.setdefault(cell.corruption, []).append(drawn[cell])
    return {
        'clean': pack(drawn[CLEAN]),
        'mPC': pack(np.mean([drawn[cell] for cell in order], axis=0)),
        **{name: pack(np.mean(values, axis=0)) for name, values in by_name.items()},
    }


def _curve(folder: Path) -> dict[str, list]:
    """Losses by iteration, thinned to at most 60 points."""
    log = training_log(folder)
    if not log:
        return {}
    chosen = sorted(
        {list(log)[round(place)] for place in np.linspace(0, len(log) - 1, min(len(log), _CURVE_POINTS))}
    )
    names = [
        key for key, value in log[chosen[-1]].items() if 'loss' in key and isinstance(value, (int, float))
    ]
    return {'iter': chosen, **{name: [log[i].get(name) for i in chosen] for name in names}}


def _metrics(path: Path) -> dict:
    try:
        report = json.loads(path.read_text(encoding='utf-8'))
        return {'metrics': dict(report['metrics']), 'pictures': report['pictures']}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: is missing or damaged ({error})') from error


def _defined(metrics: Mapping[str, Any], name: str, folder: Path) -> float:
    if metrics.get(name) is None:
        raise InputError(f'{folder / TEST_FILE}: {name} is undefined')
    return float(metrics[name])


def _processor() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
