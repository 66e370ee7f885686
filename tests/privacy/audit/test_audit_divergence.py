import math

import numpy as np
import pytest
from scipy import stats

from fedrec_tff.privacy.audit import divergence

_CONFIDENCE = 1.0 - 1e-6


def delta_of_gaussian(multiplier, epsilon):
    """Balle and Wang 2018, theorem 8."""
    mu = 1.0 / multiplier
    gain = stats.norm.cdf(mu / 2 - epsilon / mu)
    return gain - math.exp(epsilon) * stats.norm.cdf(-mu / 2 - epsilon / mu)


CLAIMS = [(epsilon, delta_of_gaussian(1.0, epsilon)) for epsilon in (0.0, 1.0, 2.0, 3.0)]


def draw(stddev=1.0, shift=1.0, num_samples=40_000, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=stddev, size=(2, num_samples))
    return shift + noise[0], noise[1]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_claimed_exactly_is_not_contradicted(seed):
    assert divergence.find_contradiction(*draw(seed=seed), CLAIMS, _CONFIDENCE) is None


def test_the_bound_is_near_the_divergence_and_below_it():
    for epsilon, delta in CLAIMS[:3]:
        found = divergence.lower_bound_delta(*draw(num_samples=400_000), epsilon, _CONFIDENCE)
        # What is missing is what chance may have done, and the width of bins.
        assert 0.95 * delta - 0.015 < found < delta


@pytest.mark.parametrize("stddev", [0.5, 0.9])
def test_too_little_noise_is_found(stddev):
    found = divergence.find_contradiction(*draw(stddev), CLAIMS, _CONFIDENCE)
    assert found is not None
    assert found.delta < found.delta_found <= delta_of_gaussian(stddev, found.epsilon)


def test_either_direction_and_no_noise_at_all_are_found():
    present, absent = draw()
    # Only in one of the two can there be a 7.
    atoms = np.where(np.arange(len(absent)) % 7 == 0, 7.0, absent)
    for pair in ((present, atoms), (atoms, present)):
        assert divergence.find_contradiction(*pair, [(2.0, 0.05)], _CONFIDENCE) is not None
    nothing = (np.ones(1000), np.zeros(1000))
    assert divergence.find_contradiction(*nothing, CLAIMS, _CONFIDENCE) is not None
    not_numbers = np.where(np.arange(len(absent)) % 7 == 0, np.nan, absent)
    assert divergence.find_contradiction(not_numbers, absent, [(2.0, 0.05)], _CONFIDENCE)


def test_all_claims_and_both_directions_share_the_confidence():
    pair, claims = draw(0.5), [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]
    found = divergence.find_contradiction(*pair, claims, 0.7)
    # A union bound: six events are looked at, which may be wrong in 3 of 10 cases together.
    limits = [
        divergence.lower_bound_delta(*samples, epsilon, 1.0 - 0.3 / 6)
        for epsilon, _ in claims
        for samples in (pair, pair[::-1])
    ]
    assert found.delta_found == pytest.approx(max(limits), rel=1e-12)


def test_false_alarms_are_as_rare_as_stated():
    # 300 trials of a true claim, tight at both ends: at 90 % some 15 alarms would be expected if
    # the limits were exact in both directions; more than 48 has a probability below 1e-4 at 10 %.
    alarms = sum(
        divergence.find_contradiction(
            *draw(num_samples=2_000, seed=seed), [(1.0, delta_of_gaussian(1.0, 1.0))], 0.9
        )
        is not None
        for seed in range(300)
    )
    assert alarms <= 48


@pytest.mark.parametrize("turned", [False, True])
def test_scores_that_choose_an_event_do_not_prove_it(turned):
    # Every other score chooses, by which both look the same; what proves would tell them apart.
    present, absent = np.tile([0.0, 5.0, 5.0, 5.0], 500), np.tile([0.0, 0.0, 5.0, 0.0], 500)
    pair = (-absent, -present) if turned else (present, absent)
    assert divergence.lower_bound_delta(*pair, 0.0, 0.95) == 0.0
    assert divergence.lower_bound_delta(*(half[1:] for half in pair), 0.0, 0.95) == 0.0
    mixed = (np.roll(half.reshape(-1, 4), 1, axis=0) for half in pair)
    assert divergence.lower_bound_delta(*(np.sort(m, axis=1).ravel() for m in mixed), 0.0, 0.9) > 0


def test_a_claim_that_is_just_met_is_not_contradicted():
    same = np.arange(200.0)
    assert divergence.find_contradiction(same, same, [(0.5, 0.0)], 0.95) is None


def test_edges_of_an_event_are_chosen_by_those_who_choose_it():
    # Nobody who chooses has seen a 7: it is in the event of all from 5 on, and nothing is proved.
    present, absent = np.tile([0.0, 5.0, 5.0, 5.0], 500), np.tile([0.0, 7.0, 0.0, 7.0], 500)
    assert divergence.lower_bound_delta(present, absent, 0.0, 0.95) == 0.0
    seen = np.tile([0.0, 7.0, 7.0, 0.0], 500)
    assert divergence.lower_bound_delta(present, seen, 0.0, 0.95) > 0.2


def test_the_claim_that_is_farthest_from_true_is_told():
    pair = np.ones(1000), np.zeros(1000)
    for claims in ([(0.0, 0.5), (0.0, 0.1)], [(0.0, 0.1), (0.0, 0.5)]):
        assert divergence.find_contradiction(*pair, claims, 0.95).delta == 0.1
