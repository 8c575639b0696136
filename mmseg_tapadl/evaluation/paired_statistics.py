"""How sure a difference between two ways to train is: runs paired by seed, and the seeds alone.

A run's figure (one number: a clean mIoU, or a mean over corruptions) moves with the seed. Two runs of one seed see the
same pictures in the same order, so their difference moves less than each of them. What is told here is about other
seeds; what other test pictures would do (:mod:`mmseg_tapadl.robustness.bootstrap`) is another question, and the two are
never put into one interval.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
# With two differences the interval is 13 times as wide as they lie apart, with one there is none.
FEWEST_SEEDS = 3
# 2^20 signs are a second; more seeds than that need no exact test.
_MOST_EXACT = 20


@dataclass(frozen=True)
class PairedDifference:
    """What the seeds say of one figure minus another.

    Attributes:
        seeds: Those that both have, in rising order.
        values: The difference of each.
        mean: Of the differences; None without any.
        sd: Their sample standard deviation (n - 1); None for fewer than two.
        low, high: The 95 % interval of the mean by Student's t, n - 1 degrees of freedom; None for fewer than three.
        p_value: Exact two-sided sign-flip test of "no difference": the share of all 2^n choices of signs whose mean is at
            least as far from 0. Never below 2 / 2^n. None for fewer than three seeds and for more than 20.
        note: Why there is no interval or test; empty where there are both.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    p_value: float | None
    note: str


def paired_difference(values: Mapping[int, float], against: Mapping[int, float]) -> PairedDifference:
    """One figure minus another, seed by seed.

    Args:
        values: The figure of each seed, finite.
        against: The figure that is taken away, of each seed. Seeds that only one of the two has are left out.

    Raises:
        ValueError: For a figure that is not finite.
    """
    seeds = tuple(sorted(set(values) & set(against)))
    differences = np.array([values[seed] - against[seed] for seed in seeds], dtype=float)
    if not np.isfinite(differences).all():
        raise ValueError(f'not every figure is finite: {dict(values)} against {dict(against)}')
    count = len(seeds)
    if count == 0:
        return PairedDifference((), (), None, None, None, None, None, 'No seed was run with both.')
    mean, sd, low, high = interval_of_mean(differences)
    note = few_seeds_note(count)
    if count > _MOST_EXACT:
        note = f'More than {_MOST_EXACT} seeds: the signs are too many to try them all.'
    exact = FEWEST_SEEDS <= count <= _MOST_EXACT
    return PairedDifference(
        seeds=seeds,
        values=tuple(differences.tolist()),
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        p_value=sign_flip_p_value(differences) if exact else None,
        note=note,
    )


def few_seeds_note(count: int) -> str:
    """Why so few seeds have no interval; empty for three or more."""
    if count >= FEWEST_SEEDS:
        return ''
    return (
        f'{count} {"seed" if count == 1 else "seeds"}: no interval. With fewer than {FEWEST_SEEDS} how much another seed '
        'moves the result cannot be told from what was measured.'
    )


def interval_of_mean(values: np.ndarray) -> tuple[float, float | None, float | None, float | None]:
    """Mean, sample standard deviation and the ends of the 95 % t-interval of (n,) numbers, n >= 1.

    Returns:
        ``(mean, sd, low, high)``; ``sd`` is None for one number, the ends for fewer than three.
    """
    count = len(values)
    mean = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if count > 1 else None
    if sd is None or count < FEWEST_SEEDS:
        return mean, sd, None, None
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * sd / math.sqrt(count)
    return mean, sd, mean - half, mean + half


def sign_flip_p_value(differences: np.ndarray) -> float:
    """The exact two-sided p-value of (n,) differences under "each could as well have had the other sign"."""
    if not np.any(differences):
        return 1.0
    # For one sample scipy's 'samples' permutations are the flips of its signs; all of them, so nothing is drawn.
    test = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type='samples',
        n_resamples=np.inf,
        vectorized=True,
        batch=1 << 14,
    )
    return float(test.pvalue)
