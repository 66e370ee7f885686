"""Gaussian noise on samples of fixed size, whose loss distribution is ours. See test_accounting."""

import itertools
import math

import dp_accounting
import numpy as np
import pytest
from scipy import optimize, stats

from fedrec_tff.privacy import loss_distributions

DELTA = 1e-5


def fixed_size(population, sample, multiplier):
    return dp_accounting.SampledWithoutReplacementDpEvent(
        population, sample, dp_accounting.GaussianDpEvent(multiplier)
    )


@pytest.mark.parametrize(("share", "multiplier"), [(0.01, 0.5), (0.3, 1.0), (1.0, 2.0)])
def test_one_round_is_its_closed_form(share, multiplier):
    # Balle, Barthe, Gaboardi 2018, theorem 9, over theorem 8 of Balle and Wang 2018.
    def delta_of_noise(epsilon):
        normal = stats.norm(scale=multiplier)
        threshold = 0.5 - epsilon * multiplier**2
        return normal.cdf(threshold) - math.exp(epsilon) * normal.cdf(threshold - 1.0)

    expected = optimize.brentq(
        lambda e: share * delta_of_noise(math.log1p(math.expm1(e) / share)) - DELTA, 1e-6, 40.0
    )
    event = fixed_size(1000, int(1000 * share), multiplier)
    found = loss_distributions.epsilon([(event, 1)], DELTA)
    assert expected * (1.0 - 1e-9) <= found <= expected * 1.005


@pytest.mark.parametrize(("share", "multiplier", "rounds"), [(0.15, 1.25, 200), (0.1, 2.0, 30)])
def test_many_rounds_cost_no_less_than_an_attained_pair_and_little_more(share, multiplier, rounds):
    # All others send -C; the user sends C or is replaced by one more who sends -C: two normals, and
    # their mixture, in each round.
    attained = dp_accounting.pld.privacy_loss_distribution.from_gaussian_mechanism(
        multiplier, value_discretization_interval=1e-3, sampling_prob=share
    )
    lower = attained.self_compose(rounds).get_epsilon_for_delta(DELTA)
    event = fixed_size(1000, int(1000 * share), multiplier)
    found = loss_distributions.epsilon([(event, rounds)], DELTA)
    assert lower * 0.99 <= found <= lower * 1.2


@pytest.mark.parametrize(("multiplier", "rounds"), [(0.7, 2), (5.0, 6), (12.5, 100)])
def test_rounds_of_all_users_are_one_gaussian(multiplier, rounds):
    # Balle and Wang 2018, theorem 8, of one release with that much less noise.
    mu = math.sqrt(rounds) / multiplier

    def excess(epsilon):
        tail = math.exp(epsilon + stats.norm.logcdf(-mu / 2 - epsilon / mu))
        return stats.norm.cdf(mu / 2 - epsilon / mu) - tail - DELTA

    exact = optimize.brentq(excess, 0.0, 60.0)
    found = loss_distributions.epsilon([(dp_accounting.GaussianDpEvent(multiplier), rounds)], DELTA)
    assert exact * (1.0 - 1e-9) <= found <= exact * 1.005


def normal_density(x, mean):
    return np.exp(-0.5 * (x - mean) ** 2) / math.sqrt(2.0 * math.pi)


def test_two_rounds_of_any_data_cost_no_more():
    """The divergence of two rounds by quadrature, each with a worst case of its own."""
    share, delta = 0.3, 1e-3
    x, step = np.linspace(-10.0, 10.0, 1201, retstep=True)
    # The mean without the user, with the user, and with who is there instead; at most 1 apart.
    cases = [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 1.0, 0.0), (-0.5, 0.0, 1.0), (0.3, 1.0, 0.0)]
    event = fixed_size(10, 3, 1.0)
    epsilon = loss_distributions.epsilon([(event, 2)], delta)
    rounds = [
        tuple(
            (1.0 - share) * normal_density(x, without) + share * normal_density(x, mean)
            for mean in (present, replaced)
        )
        for without, present, replaced in cases
    ]
    deltas = []
    for (p, q), (r, s) in itertools.product(rounds, repeat=2):
        excess = np.outer(p, r) - math.exp(epsilon) * np.outer(q, s)
        deltas.append(np.maximum(excess, 0.0).sum() * step**2)
    assert max(deltas) <= delta
    # The worst of these cases is nearly as bad as any.
    assert max(deltas) >= 0.5 * delta


def test_others_are_left_to_other_bounds():
    laplace = dp_accounting.SampledWithoutReplacementDpEvent(
        10, 3, dp_accounting.LaplaceDpEvent(1.0)
    )
    assert loss_distributions.epsilon([(laplace, 1)], DELTA) == math.inf
    nobody = fixed_size(10, 0, 1.0)
    assert loss_distributions.epsilon([(nobody, 1)], DELTA) == math.inf


def test_several_laplace_releases_cost_about_the_sum_of_each():
    # All losses are the largest with probability 1 / 2^k: delta of at least that, less its image.
    for count in (1, 2, 3):
        event = dp_accounting.LaplaceDpEvent(0.5)
        found = loss_distributions.epsilon([(event, count)], DELTA)
        least = 2.0 * count + math.log1p(-DELTA * 2.0**count)
        assert least <= found <= 2.0 * count * 1.001


def _laplace(multiplier, probability=1.0):
    return loss_distributions.SampledNoise(False, probability, multiplier)


def _gaussian(multiplier, probability=1.0):
    return loss_distributions.SampledNoise(True, probability, multiplier)


@pytest.mark.parametrize("digit", [1, 2, 5])
@pytest.mark.parametrize("exponent", [-5, -4, -3, -2])
def test_steps_are_a_series_of_which_a_deviation_has_twelve(digit, exponent):
    # Of little Laplace loss the deviation is one over the multiplier; beyond 1e-2 none is coarser.
    step = min(float(f"{digit}e{exponent}"), 1e-2)
    for wanted in (1.01 * step, 1.99 * step):
        assert loss_distributions.choose_step([_laplace(1.0 / (12.0 * wanted))]) == step
    # The release whose loss varies least decides.
    noises = [_laplace(1.0 / (12.12 * step)), _laplace(1.0 / (24.0 * step))]
    assert loss_distributions.choose_step(noises) == step
    assert loss_distributions.choose_step([_laplace(1e9)]) == 1e-5


def test_sampling_makes_losses_vary_less():
    # A user in a hundredth of the samples: sqrt(exp(4) - 1) / 100 / 12 is 6.1e-3; noise alone has
    # a deviation of one over its multiplier, 1 / 30 / 12 or 2.8e-3, and a half of it, 1.4e-3.
    assert loss_distributions.choose_step([_gaussian(0.5, 0.01)]) == 5e-3
    assert loss_distributions.choose_step([_gaussian(30.0)]) == 2e-3
    assert loss_distributions.choose_step([_gaussian(60.0)]) == 1e-3


@pytest.mark.parametrize(("loss", "step"), [(0.4995, 2e-5), (0.5005, 5e-5), (0.9995, 5e-5)])
def test_no_loss_is_more_than_ten_thousand_steps_away(loss, step):
    # One of ten deviations of noise 1, of a user in so few samples that losses hardly vary.
    probability = math.expm1(loss) / math.expm1(10.5)
    assert loss_distributions.choose_step([_gaussian(1.0, probability)]) == step


def test_deltas_that_rounding_errors_reach_are_left_to_other_bounds():
    event = dp_accounting.GaussianDpEvent(1.0)
    # 1e-12, and 1e-15 for each round; no more than a tenth of delta.
    assert math.isfinite(loss_distributions.epsilon([(event, 1)], 1.0015e-11))
    assert loss_distributions.epsilon([(event, 2)], 1.0015e-11) == math.inf
    two = [(event, 1), (dp_accounting.LaplaceDpEvent(1.0), 1)]
    assert loss_distributions.epsilon(two, 1.0015e-11) == math.inf
