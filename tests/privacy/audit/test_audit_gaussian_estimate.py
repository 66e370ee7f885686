import math

import numpy as np
import pytest
from scipy import integrate, stats

from fedrec_tff.privacy.audit import gaussian_estimate


def delta_of_shift(shift, epsilon):
    """Balle and Wang 2018 (arXiv 1805.06530), theorem 8, for sensitivity over noise `shift`."""
    first = stats.norm.cdf(shift / 2 - epsilon / shift)
    return first - math.exp(epsilon) * stats.norm.cdf(-shift / 2 - epsilon / shift)


@pytest.mark.parametrize("shift", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_equal_spreads_give_the_gaussian_mechanism(shift, delta):
    epsilon = gaussian_estimate.epsilon((5.0 + 2.0 * shift, 2.0), (5.0, 2.0), delta)
    assert delta_of_shift(shift, epsilon) == pytest.approx(delta, rel=1e-6)


def test_a_published_epsilon_comes_out():
    # Noise of one sensitivity at delta 1e-5, by Balle and Wang's analytic Gaussian mechanism.
    assert gaussian_estimate.epsilon((1.0, 1.0), (0.0, 1.0), 1e-5) == pytest.approx(4.377, abs=1e-3)


@pytest.mark.parametrize(
    ("p", "q"),
    [((0.0, 1.0), (0.0, 2.0)), ((0.0, 2.0), (0.5, 1.0)), ((1.0, 1.1), (0.0, 1.0)),
     ((0.02, 0.013), (0.0, 0.01))],
)  # fmt: skip
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 2.0])
def test_divergence_is_the_integral_it_stands_for(p, q, epsilon):
    grid = np.linspace(q[0] - 30 * q[1], q[0] + 30 * q[1], 400_001)
    excess = stats.norm.pdf(grid, *p) - math.exp(epsilon) * stats.norm.pdf(grid, *q)
    expected = integrate.trapezoid(np.maximum(excess, 0.0), grid)
    found = math.exp(gaussian_estimate.log_delta(p, q, epsilon))
    assert found == pytest.approx(expected, abs=1e-7)


def test_epsilon_counts_both_directions():
    narrow, wide = (0.0, 1.0), (0.0, 3.0)
    both = gaussian_estimate.epsilon(narrow, wide, 1e-5)
    assert both == gaussian_estimate.epsilon(wide, narrow, 1e-5)
    # Far out only the wide one has mass, so that direction is the costly one.
    assert math.exp(gaussian_estimate.log_delta(wide, narrow, both)) == pytest.approx(1e-5)
    assert gaussian_estimate.log_delta(narrow, wide, both) < math.log(1e-5)


def test_equal_distributions_and_distant_ones():
    assert gaussian_estimate.epsilon((1.0, 2.0), (1.0, 2.0), 1e-5) == 0.0
    assert gaussian_estimate.epsilon((1e5, 1.0), (0.0, 1.0), 1e-5) == math.inf
    # 11 standard deviations, as a canary has in a round without noise: finite, and large.
    assert 90 < gaussian_estimate.epsilon((11.0, 1.0), (0.0, 1.0), 1e-5) < 120


def test_a_fit_has_the_mean_and_the_spread_of_a_sample():
    assert gaussian_estimate.fit(np.array([1.0, 3.0])) == (2.0, pytest.approx(2.0**0.5))
