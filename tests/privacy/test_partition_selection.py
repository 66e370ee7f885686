"""The threshold of partition selection, against the formula by hand and by simulation."""

import statistics

import numpy as np
import pytest

from fedrec_tff.privacy import partition_selection


def test_one_item_is_a_normal_quantile():
    threshold = partition_selection.find_threshold(3.0, 0.01, 1)
    assert threshold == pytest.approx(1.0 + 3.0 * statistics.NormalDist().inv_cdf(0.99))


def test_more_items_take_the_worst_number_of_them():
    normal = statistics.NormalDist()
    expected = max(s**-0.5 + 0.1 * normal.inv_cdf((1.0 - 0.05) ** (1.0 / s)) for s in range(1, 21))
    assert partition_selection.find_threshold(0.1, 0.05, 20) == pytest.approx(expected)
    # With little noise one item of weight 1 is the worst case, with much noise many items are.
    assert partition_selection.find_threshold(1e-3, 0.05, 20) == pytest.approx(1.0, abs=0.01)
    assert partition_selection.find_threshold(50.0, 0.05, 20) == pytest.approx(
        20**-0.5 + 50.0 * normal.inv_cdf(0.95**0.05)
    )


@pytest.mark.parametrize("size", [1, 3, 10])
def test_items_of_one_user_hardly_ever_pass(size):
    delta, stddev, trials = 0.05, 0.7, 200_000
    threshold = partition_selection.find_threshold(stddev, delta, 10)
    rng = np.random.default_rng(0)
    sums = size**-0.5 + stddev * rng.standard_normal([trials, size])
    passed = np.mean(sums.max(axis=1) > threshold)
    # Six standard deviations of a binomial: chance alone fails once in a billion.
    assert passed < delta + 6.0 * np.sqrt(delta / trials)


def test_a_tiny_delta_keeps_its_precision():
    normal = statistics.NormalDist()
    threshold = partition_selection.find_threshold(100.0, 1e-12, 100)
    assert threshold == pytest.approx(0.1 - 100.0 * normal.inv_cdf(1e-14), rel=1e-6)


def test_what_passes_is_selected():
    chosen = partition_selection.select(np.array([5.0, 4.9, -3.0, 7.0]), 4.95)
    np.testing.assert_array_equal(chosen, [0, 3])
