"""Several models side by side: what differs, and what another choice of pictures could undo."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmseg_tapadl.evaluation.robustness_presets import group_of
from mmseg_tapadl.robustness.bootstrap import within_noise
from mmseg_tapadl.robustness.charts import COLOURS, axis_top
from mmseg_tapadl.robustness.report import render
from mmseg_tapadl.robustness.results import ResultError, read_results, resamples_of
from mmseg_tapadl.robustness.side_by_side import RULE, side_by_side
from mmseg_tapadl.utils import atomic_write

_MOST_MODELS = 26


@dataclass(frozen=True)
class Entry:
    """One number of one model.

    Attributes:
        value: In percent; None where undefined.
        difference: To the first model; None for the first model itself and where undefined.
        noise: Whether the difference is within noise; None where that cannot be told.
    """

    value: float | None
    difference: float | None = None
    noise: bool | None = None


@dataclass(frozen=True)
class Row:
    """One number of all models.

    Attributes:
        key: ``clean``, a score, a corruption or a cell.
        title: For people.
        entries: In the order of the models.
    """

    key: str
    title: str
    entries: list[Entry]


def write_comparison(
    files: list[str], out: str | os.PathLike, *, pictures: Sequence[str] = ()
) -> tuple[Path, list[Row]]:
    """Reads results and writes one self-contained page.

    The differences are to the first file. They are within noise when their bootstrap interval (95 %) holds 0;
    models that saw the same pictures are resampled together, picture by picture.

    Args:
        files: Two or more ``robustness.json``.
        out: Where to write.
        pictures: Ends of names of pictures to show beside those of the largest differences.

    Returns:
        ``out`` and the headline rows, for the screen.

    Raises:
        ResultError: For a file that cannot be read, or measured other cells than the first, and for named
            pictures that were not kept.
    """
    if not 2 <= len(files) <= _MOST_MODELS:
        raise ResultError(f'a comparison needs 2 to {_MOST_MODELS} files, got {len(files)}')
    models = [read_results(file) for file in files]
    _check_comparable(files, models)
    headline, corruptions, cells = compare(models)
    palette = models[0].get('palette') or {}
    if pictures and not palette:
        raise ResultError(f'{files[0]}: was written before results held colours; measure the model again')
    same_classes = all(model['classes'] == models[0]['classes'] for model in models)
    shown = side_by_side(files, models, list(palette.values()), pictures) if palette and same_classes else []
    letters = [chr(ord('A') + number) for number in range(len(models))]
    page = render(
        'compare.html.j2',
        models=models,
        names=_names(models, files),
        letters=letters,
        colours=[COLOURS[number % len(COLOURS)] for number in range(len(models))],
        headline=[*headline, _worst_row(models)],
        groups=_grouped(corruptions),
        cells=cells,
        notes=_notes(models, letters),
        pictures=shown,
        pictures_rule=RULE,
        palette=palette,
        top=axis_top(
            [entry.value for row in [headline[0], *corruptions] for entry in row.entries if entry.value]
        ),
    )
    with atomic_write(out, 'w', encoding='utf-8') as file:
        file.write(page)
    return Path(out), headline


def compare(models: list[dict]) -> tuple[list[Row], list[Row], list[Row]]:
    """The headline rows, one row a corruption, one row a cell, all against the first model."""
    draws = [resamples_of(model) for model in models]
    paired = len({model['pictures']['sha256'] for model in models}) == 1

    def row(key: str, title: str, values: list[float | None], scale: float = 1.0) -> Row:
        entries = []
        for number, value in enumerate(values):
            first = values[0]
            if number == 0 or value is None or first is None:
                entries.append(Entry(None if value is None else scale * value))
                continue
            moved = resampled_difference(draws[number][key], draws[0][key], paired)
            entries.append(Entry(scale * value, scale * (value - first), within_noise(value - first, moved)))
        return Row(key, title, entries)

    complete = all(model['cityscapes_c_complete'] for model in models)
    headline = [
        row('clean', 'Clean', [model['clean']['mIoU'] for model in models]),
        row(
            'cityscapes_c',
            'Cityscapes-C' if complete else 'Average of corruptions',
            [model['cityscapes_c'] for model in models],
        ),
        row('mPC', 'mPC', [model['mPC'] for model in models]),
        row('rPC', 'rPC (%)', [model['rPC'] for model in models], scale=100.0),
    ]
    corruptions = [
        row(name, name.replace('_', ' '), [model['corruptions'][name] for model in models])
        for name in models[0]['corruptions']
    ]
    by_cell = [{f'{c["corruption"]}_{c["severity"]}': c['mIoU'] for c in model['cells']} for model in models]
    cells = [row(key, key.replace('_', ' '), [values[key] for values in by_cell]) for key in by_cell[0]]
    return headline, corruptions, cells


def _worst_row(models: list[dict]) -> Row:
    """The lowest of the corruptions' averages, which may be another corruption in each model."""
    values = [min(model['corruptions'].values()) for model in models]
    draws = [
        np.min([resamples[name] for name in model['corruptions']], axis=0)
        for model in models
        for resamples in [resamples_of(model)]
    ]
    paired = len({model['pictures']['sha256'] for model in models}) == 1
    entries = [Entry(values[0])] + [
        Entry(
            value,
            value - values[0],
            within_noise(value - values[0], resampled_difference(draw, draws[0], paired)),
        )
        for value, draw in zip(values[1:], draws[1:], strict=True)
    ]
    return Row('min', 'Worst corruption', entries)


def resampled_difference(values: np.ndarray, first: np.ndarray, paired: bool) -> np.ndarray:
    """(B,) resamples of the difference of two models.

    Args:
        values: (B,) resamples of the one.
        first: (B,) resamples of the other.
        paired: Whether both saw the same pictures. Else resample b of the one meets another resample of the other,
            whose weights are independent of its own.
    """
    return values - (first if paired else np.roll(first, len(first) // 2))


def _check_comparable(files: list[str], models: list[dict]) -> None:
    wanted = sorted((c['corruption'], c['severity']) for c in models[0]['cells'])
    for file, model in zip(files[1:], models[1:], strict=True):
        found = sorted((c['corruption'], c['severity']) for c in model['cells'])
        if found != wanted:
            raise ResultError(
                f'{file}: measured other cells ({model["preset"]}, {len(found)} cells) than {files[0]} '
                f'({models[0]["preset"]}, {len(wanted)} cells); only equal ones can be compared'
            )


def _names(models: list[dict], files: list[str]) -> list[str]:
    names = [model['name'] for model in models]
    # Models of one config are told apart by the folder of their file.
    return [
        name if names.count(name) == 1 else f'{name} ({Path(file).resolve().parent.name})'
        for name, file in zip(names, files, strict=True)
    ]


def _grouped(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row.key), []).append(row)
    return groups


def _notes(models: list[dict], letters: list[str]) -> list[str]:
    """What a reader must know before believing a difference."""
    notes = []
    for key, text in (
        ('classes', 'the classes differ, so the mIoU is a mean over others'),
        ('channel_order', 'the channel order of the corruptions differs'),
        ('seed', 'the seed of the corruptions differs'),
        ('versions', 'the library versions differ'),
    ):
        others = [
            letter for letter, model in zip(letters, models, strict=True) if model[key] != models[0][key]
        ]
        if others:
            notes.append(f'{" and ".join(others)} against A: {text}')
    if len({model['pictures']['sha256'] for model in models}) > 1:
        notes.append(
            'the models were not measured on the same pictures, so the noise is that of independent samples'
        )
    return notes
