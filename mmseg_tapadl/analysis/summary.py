"""``attention.json`` and ``attention.csv``: the values of all pictures as means."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_tapadl.analysis.picture_analysis import PictureResult
from mmseg_tapadl.analysis.picture_values import BY_HEAD, MEASURES, STABILITIES, LayerValues
from mmseg_tapadl.analysis.statistics import mean_and_error, relation
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.utils import atomic_write

RELATED = ('similarity', 'concentration', 'entropy', 'stability')
"""Measures whose relation to the drop in mIoU is told."""


def layers_of(pictures: Sequence[PictureResult], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The layers of one model, as ``attention.json`` holds them.

    Args:
        pictures: What each picture gave, in their order.
        classes: Names of the classes, by id.
    """
    count = len(pictures[0].layers[CLEAN])
    return [layer_of(pictures, position, classes) for position in range(count)]


def layer_of(pictures: Sequence[PictureResult], position: int, classes: Sequence[str]) -> dict[str, Any]:
    """One layer: means over the pictures, standard errors beside them, ``None`` where a measure has no meaning."""
    cells = [cell for cell in pictures[0].layers if cell != CLEAN]
    by_cell = {cell: [picture.layers[cell][position] for picture in pictures] for cell in (CLEAN, *cells)}
    clean, errors = means_of(by_cell[CLEAN])
    layer: dict[str, Any] = {**by_cell[CLEAN][0].facts, **clean}
    for name in STABILITIES:
        pairs = {
            cell.name: mean_and_error([values.values[name] for values in by_cell[cell]]) for cell in cells
        }
        layer[name] = {cell: mean for cell, (mean, _) in pairs.items()}
        errors[name] = {cell: error for cell, (_, error) in pairs.items()}
    corrupted = {cell.name: means_of(by_cell[cell]) for cell in cells}
    layer['corrupted'] = {name: means for name, (means, _) in corrupted.items()}
    errors['corrupted'] = {name: its for name, (_, its) in corrupted.items()}
    layer['row_cosines'] = {
        cell.name: np.sum([values.cosines for values in by_cell[cell]], axis=0).tolist() for cell in cells
    }
    layer['branches'] = branches_of(by_cell[CLEAN], classes)
    layer['relation_to_drop'] = relations_of(pictures, by_cell, cells)
    layer['standard_error'] = errors
    return layer


def means_of(values: Sequence[LayerValues]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Means and standard errors of all measures that a picture has by itself."""
    means: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name in MEASURES:
        means[name], errors[name] = mean_and_error([one.values[name] for one in values])
    for name in BY_HEAD:
        heads = [
            mean_and_error(column) for column in zip(*(one.by_head[name] for one in values), strict=True)
        ]
        has_meaning = any(mean is not None for mean, _ in heads)
        means[name] = [mean for mean, _ in heads] if has_meaning else None
        errors[name] = [error for _, error in heads] if has_meaning else None
    return means, errors


def branches_of(values: Sequence[LayerValues], classes: Sequence[str]) -> dict[str, Any] | None:
    """Mean weight of each branch of TAP over the pictures, and over the tokens of each class."""
    branches = [one.branches for one in values if one.branches is not None]
    if not branches:
        return None
    totals: dict[int, tuple[np.ndarray, int]] = {}
    for one in values:
        for label, (weights, count) in one.branches_by_class.items():
            total, before = totals.get(label, (np.zeros(len(weights)), 0))
            totals[label] = (total + weights, before + count)
    return {
        'mean': np.mean(branches, axis=0).tolist(),
        'by_class': {
            classes[label]: (total / count).tolist() for label, (total, count) in sorted(totals.items())
        },
    }


def relations_of(
    pictures: Sequence[PictureResult], by_cell: dict[Cell, list[LayerValues]], cells: Sequence[Cell]
) -> dict[str, Any] | None:
    """How each of :data:`RELATED` of a picture goes with its mean drop in mIoU over the cells; ``None`` without labels."""
    drops = drops_of(pictures)
    if drops is None:
        return None
    found: dict[str, Any] = {}
    for name in RELATED:
        if name == 'stability':
            values = [
                float(np.mean([by_cell[cell][number].values[name] for cell in cells]))
                for number in range(len(pictures))
            ]
        else:
            values = [one.values[name] for one in by_cell[CLEAN]]
        found[name] = relation(values, drops)
    return found


def drops_of(pictures: Sequence[PictureResult]) -> list[float] | None:
    """By how many points of mIoU each picture falls, as a mean over the cells; ``None`` without cells or labels."""
    cells = [cell for cell in pictures[0].layers if cell != CLEAN]
    drops = []
    for picture in pictures:
        clean = picture.miou[CLEAN]
        fallen = [picture.miou[cell] for cell in cells]
        known = clean is not None and all(value is not None for value in fallen)
        drops.append(float(np.mean([clean - value for value in fallen])) if known and cells else float('nan'))  # type: ignore[operator]
    return None if np.isnan(drops).all() else drops


def write_csv(models: Sequence[dict[str, Any]], path: str | os.PathLike) -> Path:
    """Writes one line for each value: model, layer, condition, measure, head, mean, standard error.

    Args:
        models: As in ``attention.json``.
        path: The file.
    """
    with atomic_write(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(('model', 'layer', 'name', 'condition', 'measure', 'head', 'mean', 'standard_error'))
        for model in models:
            for layer in model['layers']:
                for row in rows_of(layer):
                    writer.writerow(
                        [model['name'], layer['layer'], layer['name'], *('' if x is None else x for x in row)]
                    )
    return Path(path)


def rows_of(layer: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Condition, measure, head, mean and standard error of a layer's values."""
    errors = layer['standard_error']
    conditions = [(CLEAN.name, layer, errors)]
    conditions += [(name, means, errors['corrupted'][name]) for name, means in layer['corrupted'].items()]
    for condition, means, its in conditions:
        for name in MEASURES:
            yield condition, name, None, means[name], its[name]
        for name in BY_HEAD:
            for head, mean in enumerate(means[name] or ()):
                yield condition, name, head, mean, its[name][head]
    for name in STABILITIES:
        for condition, mean in layer[name].items():
            yield condition, name, None, mean, errors[name][condition]
    for branch, weight in enumerate((layer['branches'] or {}).get('mean', ())):
        yield CLEAN.name, f'branch_{branch}', None, weight, None
