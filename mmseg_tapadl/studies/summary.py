"""``study.json``: every run, and what the seeds say of each difference."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmseg_tapadl.evaluation.paired_statistics import few_seeds_note, interval_of_mean, paired_difference
from mmseg_tapadl.studies.run_folder import RunFolder
from mmseg_tapadl.studies.run_result import figure, resampled_figure
from mmseg_tapadl.studies.study_file import Study
from mmseg_tapadl.version import __version__

FORMAT = 'mmseg_tapadl.study'
FORMAT_VERSION = 1
FINISHED, FAILED, UNFINISHED, NOT_STARTED = 'finished', 'failed', 'unfinished', 'not started'
_PERCENTILES = (2.5, 97.5)


def build_summary(study: Study, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """The content of ``study.json``.

    ``primary``: ``variant``, ``against``, ``measure``. ``runs``: ``variant``, ``seed``, ``status``, ``clean``, ``mPC``,
    ``corruptions`` and ``acdc`` by name (mIoU in percent, unrounded; None where there is none), ``seconds``, ``message`` of a
    failed run. ``differences``: ``variant``, ``against``, ``measure``, ``mean``, ``low``, ``high`` (95 % t-interval of the
    differences paired by seed), ``seeds`` (those that both have), ``sd``, ``p_value`` (exact sign-flip test), ``note``, and
    apart from them ``pictures``: what other test pictures would do to the mean of these very runs (bootstrap). ``variants``:
    mean, standard deviation and interval of each figure by itself.
    """
    results = {(run.variant, run.seed): result for run in runs if (result := run.result()) is not None}
    differences = []
    for variant, against, measure in _pairs(study):
        differences.append(_difference(results, variant, against, measure))
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'name': study.name,
        'title': study.title,
        'primary': vars(study.primary),
        'expectation': study.expectation,
        'measures': study.measures,
        'measured': {'cells': [cell.name for cell in study.cells], 'acdc': study.acdc is not None},
        'seeds': list(dict.fromkeys(run.seed for run in runs)),
        'variants': [_variant(study, name, results) for name in study.variants],
        'runs': [_run(run, results.get((run.variant, run.seed))) for run in runs],
        'differences': differences,
        'facts': _facts(runs, list(results.values())),
        'versions': {'mmseg_tapadl': __version__},
    }


def _pairs(study: Study) -> list[tuple[str, str, str]]:
    """The primary difference first, then each variant against the same one in every measure."""
    primary = study.primary
    pairs = [(primary.variant, primary.against, primary.measure)]
    for name in study.variants:
        if name != primary.against:
            pairs += [(name, primary.against, measure) for measure in study.measures]
    return list(dict.fromkeys(pairs))


def _difference(
    results: Mapping[tuple[str, int], dict], variant: str, against: str, measure: str
) -> dict[str, Any]:
    figures = {name: _by_seed(results, name, measure) for name in (variant, against)}
    told = paired_difference(figures[variant], figures[against])
    return {
        'variant': variant,
        'against': against,
        'measure': measure,
        'mean': told.mean,
        'low': told.low,
        'high': told.high,
        'seeds': list(told.seeds),
        'values': list(told.values),
        'sd': told.sd,
        'p_value': told.p_value,
        'note': told.note,
        'pictures': _over_pictures(results, variant, against, measure, told.seeds),
    }


def _over_pictures(
    results: Mapping[tuple[str, int], dict], variant: str, against: str, measure: str, seeds: Sequence[int]
) -> dict[str, float] | None:
    """The 95 % bootstrap interval, over pictures, of the mean difference of these very runs; None where it is not known."""
    drawn = []
    for seed in seeds:
        pair = [results[(name, seed)] for name in (variant, against)]
        moved = [resampled_figure(result, measure) for result in pair]
        same = pair[0]['pictures'].get('sha256') == pair[1]['pictures'].get('sha256')
        if moved[0] is None or moved[1] is None or not same:
            return None
        drawn.append(moved[0] - moved[1])
    if not drawn:
        return None
    low, high = np.nanpercentile(np.mean(drawn, axis=0), _PERCENTILES)
    return {'low': float(low), 'high': float(high)} if np.isfinite(low) and np.isfinite(high) else None


def _by_seed(results: Mapping[tuple[str, int], dict], variant: str, measure: str) -> dict[int, float]:
    return {
        seed: value
        for (name, seed), result in results.items()
        if name == variant and (value := figure(result, measure)) is not None
    }


def _variant(study: Study, name: str, results: Mapping[tuple[str, int], dict]) -> dict[str, Any]:
    figures: dict[str, dict] = {}
    for measure in study.measures:
        values = _by_seed(results, name, measure)
        if not values:
            figures[measure] = {'mean': None, 'sd': None, 'low': None, 'high': None, 'values': {}}
            continue
        mean, sd, low, high = interval_of_mean(np.array(list(values.values())))
        figures[measure] = {
            'mean': mean,
            'sd': sd,
            'low': low,
            'high': high,
            'values': {str(s): v for s, v in values.items()},
        }
    count = len(_by_seed(results, name, 'clean'))
    return {
        'name': name,
        'changes': study.variants[name],
        'figures': figures,
        'note': few_seeds_note(count) if count else '',
    }


def _run(run: RunFolder, result: dict | None) -> dict[str, Any]:
    entry: dict[str, Any] = {'variant': run.variant, 'seed': run.seed}
    if result is not None:
        keys = ('status', 'clean', 'mPC', 'corruptions', 'acdc', 'cells', 'seconds', 'curve', 'finished')
        return {**entry, **{key: result[key] for key in keys}}
    failure = run.failure
    status = FAILED if failure else UNFINISHED if run.begun else NOT_STARTED
    told = {'message': f'{failure["step"]}: {failure["message"]}'} if failure else {}
    return {**entry, 'status': status, 'clean': None, 'mPC': None, 'corruptions': {}, 'acdc': None, **told}


def _facts(runs: Sequence[RunFolder], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs share; what a variant alone has stands in its results."""
    identity = results[0]['identity'] if results else runs[0].identity
    return {key: identity.get(key) for key in ('sources', 'versions', 'data', 'weights')}


def as_csv(summary: Mapping[str, Any]) -> str:
    """One row a run: variant, seed, status and every measure in full precision."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['variant', 'seed', 'status', *summary['measures']])
    for run in summary['runs']:
        values = [figure(run, measure) for measure in summary['measures']]
        row = [
            run['variant'],
            run['seed'],
            run['status'],
            *('' if value is None else repr(value) for value in values),
        ]
        table.writerow(row)
    return text.getvalue()
