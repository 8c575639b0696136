"""From the mIoU of every cell to the scores that papers print. All in percent, full precision."""

from collections.abc import Mapping

from mmseg_tapadl.evaluation.robustness_presets import Cell


def mean(values: list[float]) -> float:
    """The plain mean of at least one number."""
    if not values:
        raise ValueError('there is no mean of nothing')
    return sum(values) / len(values)


def corruption_means(cells: Mapping[Cell, float]) -> dict[str, float]:
    """The mean over its severities of every corruption, by name, in the order of the cells."""
    by_name: dict[str, list[float]] = {}
    for cell, value in cells.items():
        by_name.setdefault(cell.corruption, []).append(value)
    return {name: mean(values) for name, values in by_name.items()}


def average_of_averages(cells: Mapping[Cell, float]) -> float:
    """The score of Cityscapes-C: every corruption averaged over its severities, then the corruptions, unweighted.

    Noise has three severities and the others five, so this is not the mean of all cells.
    """
    return mean(list(corruption_means(cells).values()))


def mean_performance_under_corruption(cells: Mapping[Cell, float]) -> float:
    """mPC of the robust detection benchmark: all cells equally weighted."""
    return mean(list(cells.values()))


def relative_performance(mpc: float, clean: float) -> float | None:
    """rPC = mPC / P, a fraction (1: nothing is lost); None where the clean score is 0."""
    return mpc / clean if clean else None
