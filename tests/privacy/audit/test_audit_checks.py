import numpy as np
import pytest

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
