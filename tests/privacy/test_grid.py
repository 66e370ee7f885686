import math

import numpy as np
import pytest
from scipy import special

from fedrec_tff import errors
from fedrec_tff.privacy import grid, noise_tables


def _log_discrete_gaussian(values, variance, centre=0):
    return -np.square(values - centre) / (2.0 * variance) - 0.5 * math.log(2.0 * math.pi * variance)


@pytest.mark.parametrize("growth", [0.0, 300.0])
@pytest.mark.parametrize("multiplier", [1e-7, 1e-3, 1 / 65, 0.3, 1.0, 7.5, 300.0])
def test_noise_is_worth_its_multiplier_and_little_more(multiplier, growth):
    found = grid.create_grid(multiplier, growth)
    # Four is what randomised rounding takes of the variance.
    worth = math.sqrt(found.noise_variance - 4.0)
    assert 1 <= found.max_norm <= 2**26
    assert worth >= multiplier * (found.max_norm + growth)
    # A whole number of steps: one more would be too many.
    assert worth <= multiplier * (found.max_norm + 1 + growth) * (1 + 1e-9)


def test_without_noise_the_grid_is_the_finest():
    assert grid.create_grid(0.0) == grid.Grid(2**26, 0.0)


@pytest.mark.parametrize(("multiplier", "growth"), [(2.0**20, 0.0), (1e30, 0.0), (10.0, 2.0**20)])
def test_too_much_noise_is_told(multiplier, growth):
    with pytest.raises(errors.UserError, match="leaves nothing of an update: choose one below"):
        grid.create_grid(multiplier, growth)


@pytest.mark.parametrize("multiplier", [1e-8, 1e-6, 1e-4, 0.015, 1.0])
def test_tables_reach_to_the_noise(multiplier):
    variance, _ = grid.split_variance(grid.create_grid(multiplier).noise_variance)
    assert 0.0 < variance <= noise_tables.MAX_STDDEV**2


@pytest.mark.parametrize("variance", [0.5, 4.0, 15.9, 16.0, 17.0, 250.0, 4096.0])
def test_two_tables_make_one_discrete_gaussian(variance):
    """The convolution, number by number, against the law itself."""
    part, factor = grid.split_variance(variance)
    radius = int(12 * math.sqrt(variance)) + 1
    values = np.arange(-radius, radius + 1)
    law = np.exp(-np.square(values) / (2.0 * variance))
    law /= law.sum()
    if not factor:
        assert part == variance
        return
    assert part * (1 + factor**2) == pytest.approx(variance, rel=1e-15)
    weights = np.exp(-np.square(values) / (2.0 * part))
    weights /= weights.sum()
    coarse = np.zeros(2 * factor * radius + 1)
    coarse[::factor] = weights
    found = np.convolve(coarse, weights)
    middle = len(found) // 2
    found = found[middle - radius : middle + radius + 1]
    np.testing.assert_allclose(found, law, rtol=1e-10, atol=1e-16)


def test_the_law_is_a_gaussian_that_is_rounded_at_random():
    """Why accounting may take the noise for a Gaussian: by numerical integration, no theorem."""
    variance = 30.0
    points = np.linspace(-80.0, 80.0, 160_001)
    gaussian = np.exp(-np.square(points) / (2.0 * (variance - 4.0)))
    gaussian /= gaussian.sum()
    candidates = np.arange(-100, 101)
    for shift in (0, 3):
        found = np.zeros(len(candidates))
        for chunk in np.split(np.arange(160_000), 160):
            x = points[chunk] + shift
            weights = np.exp(-np.square(candidates[:, np.newaxis] - x) / (2.0 * 4.0))
            found += (weights / weights.sum(axis=0)) @ gaussian[chunk]
        expected = np.exp(_log_discrete_gaussian(candidates, variance, shift))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-15)


def _hockey_stick(log_p, log_q, epsilon):
    return np.maximum(np.exp(log_p) - np.exp(epsilon + log_q), 0.0).sum()


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("probability", [1.0, 0.05])
@pytest.mark.parametrize("multiplier", [0.7, 2.0])
def test_exact_deltas_are_those_of_the_accounted_gaussian(multiplier, probability, epsilon):
    """One number, on a coarse grid, where the law could differ most; sampled and not."""
    variance = 2500.0
    worth = math.sqrt(variance - 4.0)
    shift = int(worth / multiplier)
    values = np.arange(-1000, 1001)
    absent = _log_discrete_gaussian(values, variance)
    there = _log_discrete_gaussian(values, variance, shift)
    present = np.logaddexp(math.log(probability) + there, _log(1.0 - probability) + absent)
    # In closed form: the tail where the density of one is above exp(epsilon) times the other's.
    accounted = _gaussian_deltas(worth / shift, probability, epsilon)
    found = _hockey_stick(present, absent, epsilon), _hockey_stick(absent, present, epsilon)
    for exact, bound in zip(found, accounted, strict=True):
        assert exact <= bound
        if bound > 1e-6:
            assert exact > 0.9 * bound


def _log(value):
    return math.log(value) if value else -math.inf


def _gaussian_deltas(multiplier, probability, epsilon):
    """Of a Gaussian mechanism on a Poisson sample, a user added and removed."""
    mu = 1.0 / multiplier
    deltas = []
    # present / absent = 1 - q + q exp(mu x - mu^2 / 2), which grows with x.
    edge = (math.exp(epsilon) - 1.0 + probability) / probability
    x = (math.log(edge) + mu**2 / 2) / mu
    present = probability * special.ndtr(mu - x) + (1 - probability) * special.ndtr(-x)
    deltas.append(present - math.exp(epsilon) * special.ndtr(-x))
    edge = (math.exp(-epsilon) - 1.0 + probability) / probability
    if edge <= 0.0:
        deltas.append(0.0)
    else:
        x = (math.log(edge) + mu**2 / 2) / mu
        present = probability * special.ndtr(x - mu) + (1 - probability) * special.ndtr(x)
        deltas.append(special.ndtr(x) - math.exp(epsilon) * present)
    return deltas


@pytest.mark.parametrize("least_norm", [1.0, 3.0, 6.5, 1000.0])
def test_below_the_largest_multiplier_a_record_has_its_steps(least_norm):
    limit = grid.largest_noise_multiplier(least_norm)
    steps = math.ceil(least_norm)
    assert grid.create_grid(limit * (1 - 1e-12)).max_norm == steps
    if steps > 1:
        assert grid.create_grid(limit * (1 + 1e-12)).max_norm == steps - 1
    else:
        with pytest.raises(errors.UserError, match="leaves nothing of an update"):
            grid.create_grid(limit * (1 + 1e-12))


@pytest.mark.parametrize("multiplier", [1e-6, 1 / 65])
def test_the_finest_grid_has_just_the_noise_it_needs(multiplier):
    # Two steps of the standard deviation are what randomised rounding takes.
    found = grid.create_grid(multiplier, 5.0)
    assert found.max_norm == 2**26
    needed = (multiplier * (2**26 + 5)) ** 2 + 4.0
    assert needed <= found.noise_variance < needed * (1 + 1e-12)


@pytest.mark.parametrize("variance", [0.5, 15.9, 16.0, 63.9, 64.0, 4096.0, 2.0**40])
def test_the_coarse_part_is_as_coarse_as_the_fine_one_smooths(variance):
    part, factor = grid.split_variance(variance)
    assert part == variance / (1 + factor**2)
    # What is left of the coarse number, given the sum, has a variance of 4 at least; no coarser
    # one would have.
    assert factor == 0 or part / (1 + factor**2) >= 4.0
    assert variance / (1 + (factor + 1) ** 2) ** 2 < 4.0
