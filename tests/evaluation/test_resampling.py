import itertools
import math

import numpy as np
import pytest

from fedrec_tff.evaluation import resampling, user_values


def _values(totals, weights=None):
    totals = np.atleast_2d(np.asarray(totals, float))
    weights = np.ones_like(totals) if weights is None else np.atleast_2d(np.asarray(weights, float))
    return user_values.UserValues(tuple("abcdef"[: len(totals)]), totals, weights)


def test_draws_are_means_of_users_drawn_with_replacement(monkeypatch):
    totals = np.random.default_rng(0).random((2, 6))
    weights = np.array([[1.0] * 6, [1.0, 2.0, 0.0, 1.0, 3.0, 1.0]])
    totals[1, 2] = 0.0
    whole = resampling.bootstrap(_values(totals, weights), 9, seed=3)
    monkeypatch.setattr(resampling, "_CELLS_PER_BLOCK", 13)
    found = resampling.bootstrap(_values(totals, weights), 9, seed=3)
    np.testing.assert_allclose(found, whole)
    rng = np.random.default_rng([3, 0])
    for draw in range(9):
        users = rng.integers(0, 6, 6)
        expected = totals[:, users].sum(axis=1) / weights[:, users].sum(axis=1)
        np.testing.assert_allclose(found[:, draw], expected)


def test_intervals_have_the_width_of_the_normal_approximation():
    values = np.random.default_rng(1).random(2_000)
    low, high = resampling.interval(resampling.bootstrap(_values(values), 4_000, seed=0), 0.95)
    half = 1.96 * values.std() / math.sqrt(2_000)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_an_interval_of_nothing_is_nothing():
    samples = np.array([[np.nan] * 3, [1.0, np.nan, 1.0], [2.0, np.nan, 4.0]])
    low, high = resampling.interval(samples, 0.5)
    np.testing.assert_array_equal(low, [np.nan, np.nan, 2.5])
    np.testing.assert_array_equal(high, [np.nan, np.nan, 3.5])


def test_p_values_are_near_those_of_all_swappings():
    rng = np.random.default_rng(2)
    one, other = rng.normal(0.4, 1.0, 10), rng.normal(0.0, 1.0, 10)
    difference = one - other
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product([-1, 1], repeat=10)]
    expected = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12)
    found = resampling.randomisation_p_values(_values(one), _values(other), 20_000, seed=0)
    # Three standard deviations of a share of 20,000 coins.
    assert found[0] == pytest.approx(expected, abs=3 * math.sqrt(0.25 / 20_000))
    assert 0.05 < expected < 0.95


def test_equal_models_do_not_differ_and_a_large_difference_is_as_sure_as_can_be():
    values = _values(np.random.default_rng(3).random((1, 50)))
    better = _values(values.totals + 0.5)
    assert resampling.randomisation_p_values(values, values, 99, seed=0)[0] == 1.0
    assert resampling.randomisation_p_values(better, values, 99, seed=0)[0] == 1 / 100


def test_users_of_whom_one_model_tells_nothing_are_left_out_of_the_test():
    one = _values([[1.0, 9.0, 0.0]], [[1.0, 1.0, 0.0]])
    other = _values([[1.0, 0.0, 9.0]], [[1.0, 0.0, 1.0]])
    assert resampling.randomisation_p_values(one, other, 99, seed=0)[0] == 1.0
