"""The noise estimate: against an ordinary bootstrap, on pictures alike and unlike, and paired between models."""

import numpy as np
import pytest

from mmseg_tapadl.evaluation.class_counts import percentages
from mmseg_tapadl.robustness.bootstrap import (
    BOOTSTRAP_VERSION,
    RESAMPLES,
    pack,
    poisson_weights,
    resampled_miou,
    spread,
    unpack,
    within_noise,
)
from mmseg_tapadl.robustness.compare import resampled_difference


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


def test_no_picture_has_the_weights_of_another_also_not_shifted():
    drawn = np.stack([poisson_weights(number) for number in range(120)])
    for distance in (1, 2, 3, 25):
        first, second = drawn[:-distance], drawn[distance:]
        for lag in range(100):
            left, right = first[:, lag:], second[:, : RESAMPLES - lag]
            assert not (left == right).all(axis=1).any()
            # 9,500 pairs and more of independent draws; the largest of 800 such correlations stays below 4.5.
            for one, other in ((left, right), (first[:, : RESAMPLES - lag], second[:, lag:])):
                assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_weights_are_the_same_on_every_machine_in_every_order():
    # A change of these needs a new BOOTSTRAP_VERSION: results of both could not be compared.
    assert BOOTSTRAP_VERSION == 2
    beginnings = {
        0: [1, 0, 0, 1, 2, 1, 1, 2, 0, 1, 1, 0],
        7: [1, 1, 0, 0, 2, 1, 2, 2, 1, 1, 2, 1],
        2**40: [0, 1, 0, 2, 1, 1, 0, 1, 0, 0, 1, 0],
    }
    for number, beginning in reversed(beginnings.items()):
        assert poisson_weights(number)[:12].tolist() == beginning


def autoregressive(correlation: float, draws: int, pictures: int) -> np.ndarray:
    """(draws, pictures) scores of which neighbours are alike, mean 0 and variance 1."""
    random = np.random.default_rng(5)
    values = random.standard_normal((draws, pictures))
    for number in range(1, pictures):
        values[:, number] *= np.sqrt(1 - correlation**2)
        values[:, number] += correlation * values[:, number - 1]
    return values


def standard_errors(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(draws,) standard errors of the mean, from (pictures, B) weights."""
    centred = values - values.mean(axis=1, keepdims=True)
    return np.array([spread(means) for means in centred @ weights / weights.sum(axis=0)])


def test_correlated_pictures_get_the_standard_error_of_independent_weights():
    values = autoregressive(0.95, draws=300, pictures=400)
    weights = np.stack([poisson_weights(number) for number in range(400)])
    # Of independent weights the standard error is known: that of the mean of 400 independent draws.
    ratio = standard_errors(weights, values) / (values.std(axis=1) / np.sqrt(400))
    assert 0.96 <= ratio.mean() <= 1.04
    assert ratio.std() <= 0.09


def test_independent_pictures_are_covered_as_often_as_promised():
    random = np.random.default_rng(6)
    values = random.gamma(2.0, 1.0, (3000, 400))
    weights = np.stack([poisson_weights(number) for number in range(400)])
    resampled = values @ weights / weights.sum(axis=0)
    covered = [
        within_noise(found - 2.0, moved) for found, moved in zip(values.mean(axis=1), resampled, strict=True)
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_models_on_other_pictures_are_resampled_apart():
    values = autoregressive(0.95, draws=300, pictures=400)
    weights = np.stack([poisson_weights(number) for number in range(400)])
    resampled = values @ weights / weights.sum(axis=0)
    # The same numbers of pictures have the same weights; what is subtracted must not move along with it.
    apart = [
        spread(resampled_difference(moved, moved, paired=False)) / (np.sqrt(2) * spread(moved))
        for moved in resampled
    ]
    assert np.mean(apart) == pytest.approx(1, abs=0.03) and np.std(apart) < 0.09
    assert not resampled_difference(resampled[0], resampled[0], paired=True).any()


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
