import numpy as np
import pytest
from scipy import stats

from fedrec_tff.privacy.audit import checks

_SIZE = 2000


def noise(seed, stddev=1.0, size=_SIZE):
    return np.random.default_rng(seed).normal(0.0, stddev, size).astype(np.float32)


def test_noise_as_claimed_passes_and_p_values_are_fair():
    # 400 seeds: 4 below 0.01 expected, 14 or more with probability 1e-4.
    found = [checks.check_noise_level(3.0 * noise(seed), 3.0) for seed in range(400)]
    assert all(check.passed for check in found)
    assert sum(check.p_value < 0.01 for check in found) < 14


@pytest.mark.parametrize("stddev", [0.0, 0.1, 0.5, 0.85])
def test_noise_below_the_claim_fails(stddev):
    assert not checks.check_noise_level(noise(0, stddev), 1.0).passed


def test_more_noise_than_claimed_is_no_fault():
    assert checks.check_noise_level(noise(0, 2.0), 1.0).passed


def test_laplace_noise_varies_more_and_is_given_room():
    # Of Laplace vectors, 400 seeds as above. Taken for Gaussian they would look unlikely too often.
    found, mistaken = [], []
    for seed in range(400):
        values = np.random.default_rng(seed).laplace(0.0, 1.0, _SIZE)
        found.append(checks.check_noise_level(values, 2.0**0.5, kurtosis=6.0).p_value)
        mistaken.append(checks.check_noise_level(values, 2.0**0.5).p_value)
    assert sum(p < 0.01 for p in found) < 14 < sum(p < 0.01 for p in mistaken)


def test_reused_noise_is_found_even_in_part_and_turned_around():
    first = noise(1)
    assert checks.check_noise_is_fresh("x", first, noise(2)).passed
    assert not checks.check_noise_is_fresh("x", first, 5.0 * first).passed
    assert not checks.check_noise_is_fresh("x", first, -first).passed
    assert not checks.check_noise_is_fresh("x", first, 0.3 * first + noise(2)).passed


def test_freshness_p_values_are_fair():
    found = [checks.check_noise_is_fresh("x", noise(s), noise(1000 + s)) for s in range(400)]
    assert sum(check.p_value < 0.01 for check in found) < 14


def test_correlated_noise_must_bring_something_new():
    first, fresh = noise(1), noise(2)
    # Correlated on purpose, as in a tree or a matrix mechanism, with all the noise it needs.
    assert checks.check_noise_is_renewed("x", np.stack([first, fresh - 0.5 * first]), 1.0).passed
    # The same amount in sum, of which a fifth is new.
    mixed = 0.2 * fresh + 0.98 * first
    assert checks.check_noise_level(mixed, 0.98).passed
    assert not checks.check_noise_is_renewed("x", np.stack([first, mixed]), 1.0).passed
    # What is claimed is a standard deviation, in the unit of the releases.
    for scale in (0.25, 4.0):
        for new, passed in ((fresh - 0.5 * first, True), (mixed, False)):
            releases = scale * np.stack([first, new])
            assert checks.check_noise_is_renewed("x", releases, scale).passed == passed
    third = 0.5 * first + 0.5 * fresh
    assert not checks.check_noise_is_renewed("x", np.stack([first, fresh, third]), 1.0).passed
    # Nor may it be that of any release before.
    assert not checks.check_noise_is_renewed("x", np.stack([first, fresh, fresh]), 1.0).passed


def test_sensitivity_is_the_worst_of_all_that_was_tried():
    assert checks.check_sensitivity({"a": 0.4, "b": 0.5}, 0.5).passed
    check = checks.check_sensitivity({"a": 0.4, "b": 0.51}, 0.5)
    assert not check.passed
    assert "(b)" in check.detail
    assert checks.check_sensitivity({"a": 0.55}, 0.5, uncertainty=0.1).passed


def test_the_most_that_a_client_may_move_the_sum_is_the_claim_and_rounding():
    for found, passed in ((0.5, True), (0.5004, True), (0.5006, False)):
        assert checks.check_sensitivity({"a": found}, 0.5).passed == passed


def test_where_no_noise_is_claimed_none_is_missed():
    zeros = np.zeros(5)
    found = [
        checks.check_noise_level(np.zeros(0), 1.0),
        checks.check_noise_level(zeros, 0.0),
        checks.check_noise_is_fresh("x", zeros, zeros),
        checks.check_noise_is_fresh("x", zeros, np.ones(5)),
        checks.check_noise_is_renewed("x", np.stack([zeros, zeros]), 0.0),
    ]
    assert all(check.passed and check.p_value is None for check in found)


def test_what_is_told_of_noise_is_what_was_measured():
    told = checks.check_noise_level(np.array([3.0, 4.0, 0.0, 0.0]), 2.0)
    assert told.detail == "standard deviation 2.5, claimed 2"
    assert told.p_value == pytest.approx(stats.chi2.cdf(4 * 2.5**2 / 2.0**2, 4))
    told = checks.check_noise_is_fresh("x", np.array([3.0, 4.0]), np.array([4.0, 3.0]))
    assert told.detail == "correlation 0.9600, claimed 0"
    assert told.p_value == pytest.approx(2 * stats.norm.sf(0.96 * 2**0.5))
    # The second is twice the first and something that is orthogonal to it: three degrees are left.
    releases = np.array([[1.0, 1.0, 1.0, 1.0], [3.0, 1.0, 3.0, 1.0]])
    told = checks.check_noise_is_renewed("x", releases, 2.0)
    assert told.detail == f"new noise of standard deviation {(4 / 3) ** 0.5:.4g}, claimed 2"
    assert told.p_value == pytest.approx(stats.chi2.cdf(1.0, 3))


@pytest.mark.parametrize("num_chosen", [0, 2, 5])
def test_choices_are_coins_of_the_claimed_probability(num_chosen):
    check = checks.check_choice(num_chosen, 5, 0.4)
    law = stats.binom(5, 0.4).pmf(np.arange(6))
    assert check.p_value == pytest.approx(law[law <= law[num_chosen] * (1 + 1e-9)].sum())
    assert check.detail == f"{num_chosen} of 5 untouched rows, claimed 0.4 of them"
    assert check.passed
    assert not checks.check_choice(50, 50, 0.4).passed


def test_one_in_ten_million_is_the_least_that_passes():
    assert checks.from_p_value("x", 1e-7, "").passed
    assert not checks.from_p_value("x", 0.99e-7, "").passed
