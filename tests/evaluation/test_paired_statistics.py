"""Differences paired by seed, against sums written out by hand and against every choice of signs."""

import itertools
import math

import numpy as np
import pytest

from mmseg_tapadl.evaluation.paired_statistics import (
    interval_of_mean,
    paired_difference,
    sign_flip_p_value,
)

# Two-sided 95 % points of Student's t from a printed table, by degrees of freedom.
T_TABLE = {2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262}


def test_a_case_worked_by_hand():
    told = paired_difference({0: 33.0, 1: 35.0, 2: 34.0, 9: 99.0}, {0: 32.0, 1: 32.0, 2: 32.0, 7: 1.0})
    assert told.seeds == (0, 1, 2) and told.values == (1.0, 3.0, 2.0)
    assert told.mean == 2.0 and told.sd == 1.0
    half = T_TABLE[2] / math.sqrt(3)
    assert told.low == pytest.approx(2 - half, abs=1e-3) and told.high == pytest.approx(2 + half, abs=1e-3)
    assert told.p_value == 2 / 2**3  # all differences have one sign
    assert told.note == ''


def test_pairing_takes_out_what_seeds_share():
    seeds = {0: 10.0, 1: 50.0, 2: 90.0, 3: 30.0}
    better = {seed: value + 1.0 + 0.01 * seed for seed, value in seeds.items()}
    told = paired_difference(better, seeds)
    assert told.low > 0.9 and told.high < 1.2


@pytest.mark.parametrize('count', [1, 2])
def test_fewer_than_three_seeds_have_no_interval_and_say_why(count):
    told = paired_difference({s: 2.0 + s for s in range(count)}, dict.fromkeys(range(count), 1.0))
    assert told.mean == pytest.approx(1.0 + (count - 1) / 2)
    assert told.low is None and told.high is None and told.p_value is None
    assert f'{count} seed' in told.note and 'no interval' in told.note


def test_no_common_seed_is_no_difference():
    told = paired_difference({0: 1.0}, {1: 1.0})
    assert told.mean is None and told.low is None and told.note


def test_equal_differences_have_an_interval_without_width():
    told = paired_difference(dict.fromkeys(range(4), 3.0), dict.fromkeys(range(4), 1.0))
    assert (told.low, told.mean, told.high, told.sd) == (2.0, 2.0, 2.0, 0.0)
    same = paired_difference(dict.fromkeys(range(4), 3.0), dict.fromkeys(range(4), 3.0))
    assert same.mean == 0 and same.p_value == 1.0


@pytest.mark.parametrize('count', [3, 4, 7])
def test_the_sign_flip_test_counts_every_choice_of_signs(count):
    rng = np.random.default_rng(count)
    for _ in range(5):
        values = rng.normal(0.4, 1.0, count)
        means = [np.mean(values * signs) for signs in itertools.product((-1, 1), repeat=count)]
        expected = np.mean([abs(mean) >= abs(values.mean()) - 1e-12 for mean in means])
        assert sign_flip_p_value(values) == pytest.approx(expected, abs=1e-12)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        _, _, low, high = interval_of_mean(rng.normal(1.0, 2.0, 5))
        held += low <= 1.0 <= high
    # Binomial standard deviation is 0.5 %.
    assert abs(held / 2000 - 0.95) < 0.02


def test_many_seeds_keep_their_interval():
    rng = np.random.default_rng(1)
    told = paired_difference(dict(enumerate(rng.normal(1, 1, 25))), dict.fromkeys(range(25), 0.0))
    assert told.low < told.mean < told.high and told.p_value is None and 'signs' in told.note


def test_a_figure_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match='finite'):
        paired_difference({0: float('nan')}, {0: 1.0})
