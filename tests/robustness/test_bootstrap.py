"""The noise estimate: against an ordinary bootstrap, and paired between models."""

import numpy as np
import pytest

from mmseg_tapadl.evaluation.class_counts import percentages
from mmseg_tapadl.robustness.bootstrap import (
    RESAMPLES,
    pack,
    poisson_weights,
    resampled_miou,
    spread,
    unpack,
    within_noise,
)


def made_up(pictures: int, quality: float, seed: int = 0) -> np.ndarray:
    """(pictures, 3, 4) counts of pictures of differing difficulty."""
    random = np.random.default_rng(seed)
    labelled = random.integers(50, 200, (pictures, 4))
    ease = np.clip(quality + 0.15 * random.standard_normal((pictures, 1)), 0, 1)
    right = random.binomial(labelled, np.broadcast_to(ease, labelled.shape))
    return np.stack([right, labelled, labelled], axis=1)


def resample(counts: np.ndarray) -> np.ndarray:
    weights = np.stack([poisson_weights(number) for number in range(len(counts))])
    return resampled_miou(np.einsum('nb,nsc->bsc', weights, counts))


def test_weights_are_poisson_and_depend_on_the_picture_alone():
    drawn = np.stack([poisson_weights(number) for number in range(500)])
    assert drawn.shape == (500, RESAMPLES)
    # Mean and variance of 100,000 draws; five standard errors.
    assert drawn.mean() == pytest.approx(1, abs=5 * 1 / np.sqrt(drawn.size))
    assert drawn.var() == pytest.approx(1, abs=5 * np.sqrt(3 / drawn.size))
    assert np.array_equal(poisson_weights(7), drawn[7])
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 5 / np.sqrt(RESAMPLES)


def test_agrees_with_drawing_pictures_with_replacement():
    counts = made_up(120, 0.6)
    random = np.random.default_rng(1)
    ordinary = [percentages(counts[random.integers(0, 120, 120)].sum(axis=0)).miou for _ in range(2000)]
    ours = resample(counts)
    # A standard deviation from B draws has a relative error of 1 / sqrt(2 B), here 5 %; four of those.
    assert spread(ours) == pytest.approx(np.std(ordinary), rel=0.2)
    assert ours.mean() == pytest.approx(
        percentages(counts.sum(axis=0)).miou, abs=5 * spread(ours) / np.sqrt(RESAMPLES)
    )


def test_models_on_the_same_pictures_are_told_apart_more_finely():
    worse, better = made_up(120, 0.60), made_up(120, 0.62)
    difference = percentages(better.sum(axis=0)).miou - percentages(worse.sum(axis=0)).miou
    paired = resample(better) - resample(worse)
    assert spread(paired) < 0.5 * np.hypot(spread(resample(better)), spread(resample(worse)))
    assert within_noise(difference, paired) is False
    assert within_noise(0.1 * spread(paired), paired) is True


def test_packing():
    values = np.linspace(0, 100, RESAMPLES)
    assert np.abs(unpack(pack(values)) - values).max() < 1e-5
    for broken in (pack(values)[:-8], 'AAAA', '!'):
        with pytest.raises(ValueError):
            unpack(broken)


def test_nothing_to_tell():
    assert spread(np.full(5, np.nan)) is None
    assert within_noise(1.0, np.full(5, np.nan)) is None
