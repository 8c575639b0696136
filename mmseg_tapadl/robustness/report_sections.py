"""What the report says of how sure a model is and of which classes it confuses, as plain numbers for the templates."""

from typing import Any

import numpy as np

from mmseg_tapadl.robustness.charts import Reliability, legend_marker, reliability_panel
from mmseg_tapadl.robustness.confusions import most_confused, taken_for

_PAIRS, _PAIRS_OF_CORRUPTION = 10, 3
# Beyond so many classes a matrix can no longer be read.
_MOST_CLASSES = 32


def how_sure(results: dict) -> dict[str, Any] | None:
    """The panel on confidence: a reliability diagram and a table; None where the model does not tell."""
    clean = results['clean']['confidence']
    if clean is None:
        return None
    pooled = {name: entry for name, entry in results['pooled'].items() if entry['confidence'] is not None}
    lines = [Reliability('clean', results['clean']['reliability'])]
    if pooled:
        bins = zip(*(entry['reliability'] for entry in pooled.values()), strict=True)
        lines.append(Reliability('all corruptions', [_added(list(same)) for same in bins]))
    rows = [('clean', clean), *((name, entry['confidence']) for name, entry in by_condition(results))]
    return {
        'panel': reliability_panel(lines, title='Share of right pixels against confidence'),
        'legend': [(line.name, legend_marker(number)) for number, line in enumerate(lines)],
        'rows': [(name, confidence) for name, confidence in rows if confidence is not None],
        'temperature': results.get('temperature'),
    }


def by_condition(results: dict) -> list[tuple[str, dict]]:
    """The conditions of the clean pictures, as in ACDC, then the corruptions, named apart: both may be fog."""
    conditions = [(f'clean, {name}', entry) for name, entry in results['conditions'].items()]
    return [*conditions, *((name.replace('_', ' '), entry) for name, entry in results['pooled'].items())]


def _added(bins: list[tuple[int, int, float | None]]) -> tuple[int, int, float | None]:
    pixels, right = (sum(bin_[key] for bin_ in bins) for key in (0, 1))  # type: ignore[misc]
    sure = sum(number * mean for number, _, mean in bins if mean is not None)
    return pixels, right, sure / pixels if pixels else None


def confusions(results: dict) -> dict[str, Any] | None:
    """The panel on confusions: the most confused pairs and two matrices; None for results that do not hold them."""
    if results['clean']['confusion'] is None or not results['pooled']:
        return None
    classes = results['classes']
    corrupted = sum(taken_for(entry) for entry in results['pooled'].values())
    tables = {'clean': taken_for(results['clean']), 'all corruptions': np.asarray(corrupted)}
    return {
        'pairs': {name: most_confused(matrix, classes, _PAIRS) for name, matrix in tables.items()},
        'by_corruption': {
            name: most_confused(taken_for(entry), classes, _PAIRS_OF_CORRUPTION)
            for name, entry in by_condition(results)
        },
        'matrices': {name: _shares(matrix, classes) for name, matrix in tables.items()}
        if len(classes) <= _MOST_CLASSES
        else {},
    }


def _shares(matrix: np.ndarray, classes: list[str]) -> list[tuple[str, list[float]]]:
    """Each class that occurs, and in percent what its pixels were predicted as."""
    return [
        (name, (100 * row[: len(classes)] / row.sum()).tolist())
        for name, row in zip(classes, matrix, strict=True)
        if row.any()
    ]
