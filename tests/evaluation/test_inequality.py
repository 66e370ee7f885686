import itertools

import numpy as np
import pytest

from fedrec_tff.evaluation import inequality


@pytest.mark.parametrize("seed", range(5))
def test_it_is_half_the_mean_difference_over_the_mean(seed):
    amounts = np.random.default_rng(seed).integers(0, 5, 17).astype(float)
    pairs = [abs(a - b) for a, b in itertools.product(amounts, amounts)]
    expected = np.mean(pairs) / 2 / np.mean(amounts)
    assert inequality.gini(amounts) == pytest.approx(expected)


def test_ends_of_the_scale():
    assert inequality.gini(np.zeros(4)) == 0.0
    assert inequality.gini(np.full(7, 3)) == pytest.approx(0.0)
    assert inequality.gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
