import math

import numpy as np
import pytest

from fedrec_tff.privacy.audit import distinguishing

_DELTA = 1e-5


def create_runs(shift, rng, num_runs=300, num_numbers=40):
    """Two worlds of normal numbers of different spreads, of which the first is shifted."""
    scale = np.logspace(-3, 3, num_numbers)
    first, second = (rng.standard_normal([num_runs, num_numbers]) for _ in range(2))
    first[:, 7] += shift
    return scale * first, scale * second


def distinguish(shift, seed, **kwargs):
    runs = create_runs(shift, np.random.default_rng(seed), **kwargs)
    return distinguishing.distinguish(*runs, _DELTA, 0.95)


def test_equal_worlds_prove_nothing_over_20_seeds():
    # 19 of 20 by confidence alone; the limits are far more careful than that.
    assert max(distinguish(0.0, seed).bound.epsilon for seed in range(20)) < 0.1


def test_what_is_proved_is_below_what_is_true():
    # A shift of one standard deviation is a Gaussian mechanism of multiplier 1: epsilon is 4.9.
    bounds = [distinguish(1.0, seed).bound.epsilon for seed in range(20)]
    assert 0.1 < max(bounds) < 4.9


def test_worlds_far_apart_prove_as_much_as_so_many_runs_can():
    done = distinguish(100.0, 0, num_runs=60)
    assert done.first.min() > done.second.max()
    # 20 runs of each prove: none in 20 is at most 0.168 of all, by Clopper and Pearson.
    expected = math.log((0.025 ** (1 / 20) - _DELTA) / (1 - 0.025 ** (1 / 20)))
    assert done.bound.epsilon == pytest.approx(expected, abs=1e-6)


def test_numbers_that_never_vary_are_no_trouble():
    first, second = np.zeros([12, 3]), np.zeros([12, 3])
    done = distinguishing.distinguish(first, second, _DELTA, 0.95)
    assert done.bound.epsilon == 0.0
    done = distinguishing.distinguish(first + np.eye(3)[1], second, _DELTA, 0.95)
    assert done.first.min() > done.second.max()


def test_the_direction_is_chosen_by_other_runs_than_prove():
    # In 2,000 dimensions a direction that has seen the runs tells any of them apart.
    rng = np.random.default_rng(0)
    runs = create_runs(0.0, rng, num_runs=60, num_numbers=2000)
    assert distinguishing.distinguish(*runs, _DELTA, 0.95).bound.epsilon == 0.0


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_the_unit_of_releases_changes_nothing(unit):
    first, second = create_runs(1.0, np.random.default_rng(0))
    expected = distinguishing.distinguish(first, second, _DELTA, 0.95)
    found = distinguishing.distinguish(unit * first, unit * second, _DELTA, 0.95)
    np.testing.assert_allclose(found.first, expected.first, rtol=1e-9)
    assert found.bound.epsilon == expected.bound.epsilon
