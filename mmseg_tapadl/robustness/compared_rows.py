"""The numbers of several models in rows: what differs, and what another choice of pictures could undo."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmseg_tapadl.robustness.bootstrap import unpack, within_noise
from mmseg_tapadl.robustness.report_sections import by_condition
from mmseg_tapadl.robustness.results import resamples_of


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


class Comparison:
    """Several models' results, all against the first.

    Args:
        models: The contents of their ``robustness.json``, of equal cells.
    """

    def __init__(self, models: list[dict]) -> None:
        self.models = models
        self._draws = [resamples_of(model) for model in models]
        self._paired = len({model['pictures']['sha256'] for model in models}) == 1

    def headline(self) -> list[Row]:
        """Clean and the scores."""
        complete = all(model['cityscapes_c_complete'] for model in self.models)
        return [
            self._row('clean', 'Clean', [model['clean']['mIoU'] for model in self.models]),
            self._row(
                'cityscapes_c',
                'Cityscapes-C' if complete else 'Average of corruptions',
                [model['cityscapes_c'] for model in self.models],
            ),
            self._row('mPC', 'mPC', [model['mPC'] for model in self.models]),
            self._row('rPC', 'rPC (%)', [model['rPC'] for model in self.models], scale=100.0),
        ]

    def worst(self) -> Row:
        """The lowest of the corruptions' averages, which may be another corruption in each model."""
        lowest = [min(model['corruptions'].values()) for model in self.models]
        draws = [
            np.min([draw[name] for name in model['corruptions']], axis=0)
            for model, draw in zip(self.models, self._draws, strict=True)
        ]
        return self._against_first('min', 'Worst corruption', lowest, draws)

    def corruptions(self) -> list[Row]:
        """A row a corruption."""
        return [
            self._row(name, _words(name), [model['corruptions'][name] for model in self.models])
            for name in self.models[0]['corruptions']
        ]

    def cells(self) -> list[Row]:
        """A row a cell."""
        by_cell = [
            {f'{cell["corruption"]}_{cell["severity"]}': cell['mIoU'] for cell in model['cells']}
            for model in self.models
        ]
        return [self._row(key, _words(key), [values[key] for values in by_cell]) for key in by_cell[0]]

    def conditions(self) -> list[Row]:
        """A row a condition of the clean pictures, as in ACDC; of those that every model was measured under."""
        entries = [model['conditions'] for model in self.models]
        common = [name for name in entries[0] if all(name in found for found in entries)]
        return [
            self._against_first(
                f'clean {name}',
                f'clean, {name}',
                [found[name]['mIoU'] for found in entries],
                [unpack(found[name]['resampled_mIoU']) for found in entries],
            )
            for name in common
        ]

    def how_sure(self) -> list[tuple[str, list[dict[str, Any] | None]]]:
        """Of the clean pictures, each condition and each corruption the confidence of every model; empty without any."""
        tables = [
            {
                name: entry['confidence']
                for name, entry in [('clean', model['clean']), *by_condition(model)]
                if entry['confidence']
            }
            for model in self.models
        ]
        names = dict.fromkeys(name for table in tables for name in table)
        return [(name, [table.get(name) for table in tables]) for name in names]

    def _row(self, key: str, title: str, values: list[float | None], scale: float = 1.0) -> Row:
        return self._against_first(key, title, values, [draw[key] for draw in self._draws], scale)

    def _against_first(
        self,
        key: str,
        title: str,
        values: list[float | None],
        draws: list[np.ndarray],
        scale: float = 1.0,
    ) -> Row:
        first = values[0]
        entries = []
        for number, value in enumerate(values):
            if number == 0 or value is None or first is None:
                entries.append(Entry(None if value is None else scale * value))
                continue
            moved = resampled_difference(draws[number], draws[0], self._paired)
            entries.append(Entry(scale * value, scale * (value - first), within_noise(value - first, moved)))
        return Row(key, title, entries)


def compare(models: list[dict]) -> tuple[list[Row], list[Row], list[Row]]:
    """The headline rows, one row a corruption, one row a cell, all against the first model."""
    comparison = Comparison(models)
    return comparison.headline(), comparison.corruptions(), comparison.cells()


def resampled_difference(values: np.ndarray, first: np.ndarray, paired: bool) -> np.ndarray:
    """(B,) resamples of the difference of two models.

    Args:
        values: (B,) resamples of the one.
        first: (B,) resamples of the other.
        paired: Whether both saw the same pictures. Else resample b of the one meets another resample of the other,
            whose weights are independent of its own.
    """
    return values - (first if paired else np.roll(first, len(first) // 2))


def _words(name: str) -> str:
    return name.replace('_', ' ')
