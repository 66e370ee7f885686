import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.studies.report import significance


def test_common_seeds_are_paired():
    one, other = {0: 0.3, 1: 0.5, 2: 0.4, 9: 5.0}, {0: 0.2, 1: 0.3, 2: 0.35}
    found = significance.compare(one, other)
    # By hand: differences 0.1, 0.2, 0.05; t(2) at 97.5 % is 4.302653.
    mean, deviation = 0.35 / 3, math.sqrt(0.0116666666666667 / 2)
    half = 4.302653 * deviation / math.sqrt(3)
    assert found.test == significance.PAIRED
    assert found.num_pairs == 3
    assert found.mean == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-6)
    expected = stats.ttest_rel([0.3, 0.5, 0.4], [0.2, 0.3, 0.35])
    assert found.p_value == pytest.approx(expected.pvalue)


def test_other_seeds_are_not_paired():
    one, other = {0: 0.3, 1: 0.5, 2: 0.4}, {3: 0.1, 4: 0.15}
    found = significance.compare(one, other)
    expected = stats.ttest_ind([0.3, 0.5, 0.4], [0.1, 0.15], equal_var=False)
    assert found.test == significance.WELCH
    assert found.num_pairs is None
    assert found.p_value == pytest.approx(expected.pvalue)
    # No confidence_interval() in the locked SciPy: the t quantile by hand.
    error = math.sqrt(np.var([0.3, 0.5, 0.4], ddof=1) / 3 + np.var([0.1, 0.15], ddof=1) / 2)
    assert found.mean == pytest.approx(0.275)
    assert found.mean / error == pytest.approx(expected.statistic)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({0: 0.3}, {0: 0.2}),
        ({0: 0.3, 1: 0.4}, {0: 0.2}),
        ({}, {}),
        # Nothing varies.
        ({0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.25}),
        ({0: 0.5, 1: 0.5}, {2: 0.25, 3: 0.25}),
    ],
)
def test_too_few_values_or_no_variation_have_no_test(one, other):
    assert significance.compare(one, other) is None


def test_p_values_are_adjusted_as_holm_did():
    # Holm by hand: 0.01 * 4, then 0.02 * 3, then 0.03 * 2 (not below the one before), then 0.5.
    assert significance.adjust([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert significance.adjust([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert significance.adjust([]) == []
