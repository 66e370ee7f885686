import dataclasses
import math

import dp_accounting
import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, calibration, mechanisms

FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 0.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 0.0, 0.5, num_clients=6040, clients_per_round=60)
FIXED_SIZE = mechanisms.Mechanism("dp_gaussian", 0.0, 0.5, 6040, 60, sampling="fixed_size")
BANDED = mechanisms.Mechanism(
    "dp_banded_mf", 0.0, 0.5, 6040, 60, "cyclic_poisson", min_separation=50, rounds=400
)
TREE = dataclasses.replace(BANDED, name="dp_tree")
LOCAL = mechanisms.Mechanism("local_laplace", 0.0, 0.5, 6040, 60, max_rounds_per_user=4)
SIMULATED = dataclasses.replace(FIXED_CLIP, noise_cohort_size=2000, noise_population_size=1_000_000)
POPULARITY = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(8.0))
METRICS = accounting.PlannedRelease("metrics", dp_accounting.GaussianDpEvent(30.0), count=5)


@pytest.mark.parametrize(
    ("mechanism", "target_epsilon", "delta", "rounds"),
    [
        (FIXED_CLIP, 1.82, 1e-5, 1000),
        (FIXED_CLIP, 0.1, 1e-6, 300),
        (FIXED_CLIP, 50.0, 1e-5, 10),
        (ADAPTIVE, 2.0, 1e-5, 1000),
        (FIXED_SIZE, 8.0, 1e-5, 100),
        (BANDED, 4.0, 1e-5, 400),
        (TREE, 4.0, 1e-5, 400),
        (LOCAL, 6.0, 1e-5, 400),
        (SIMULATED, 1.0, 1e-7, 1000),
    ],
)
def test_result_meets_the_target_and_barely(mechanism, target_epsilon, delta, rounds):
    found = calibration.calibrate_noise_multiplier(mechanism, target_epsilon, delta, rounds)
    epsilon, less_noise = (
        calibration.bound_run(
            dataclasses.replace(mechanism, noise_multiplier=z), delta, rounds
        ).epsilon
        for z in (found, found * (1 - 5e-3))
    )
    assert epsilon <= target_epsilon
    assert less_noise > target_epsilon
    assert found * 10_000 == pytest.approx(round(found * 10_000), abs=1e-6)


@pytest.mark.parametrize("first_guess", [0.8, 1.0, 1.5])
def test_a_target_that_is_just_met_is_met(first_guess):
    noisy = dataclasses.replace(LOCAL, noise_multiplier=1.0)
    target = calibration.bound_run(noisy, 1e-5, 400).epsilon
    found = calibration.calibrate_noise_multiplier(
        LOCAL, target, 1e-5, 400, first_guess=first_guess
    )
    assert found == 1.0


def test_known_number():
    # 60 of 6,040 users, 1,000 rounds, noise multiplier 1: epsilon 1.82.
    found = calibration.calibrate_noise_multiplier(FIXED_CLIP, 1.82, 1e-5, 1000)
    assert found == pytest.approx(1.0, abs=0.003)


def test_the_first_guess_changes_nothing_but_the_way():
    found = [
        calibration.calibrate_noise_multiplier(LOCAL, 6.0, 1e-5, 400, first_guess=guess)
        for guess in (1e-6, 0.3, 1.0, 50.0, 1e9)
    ]
    assert max(found) <= min(found) * 1.0003


@pytest.mark.parametrize("start", [10_000, 300_000])
@pytest.mark.parametrize(
    ("excess", "root", "most"),
    [
        # Logarithms of epsilon over its target, which is met at 20,000 units: powers of the noise
        # are lines, and what is none takes fewer questions than the 15 of a bisection.
        (lambda units: math.log(2e4 / units), 20_000, 5),
        (lambda units: 2.0 * math.log(2e4 / units), 20_000, 5),
        (lambda units: math.log(((2e4 / units) ** 1.5 + (2e4 / units) ** 3) / 2.0), 20_000, 10),
        (lambda units: 5.0 * (1.0 - units / 2e4), 20_000, 15),
        # A step says nothing of where it is: every third question is in the middle.
        (lambda units: 20.0 if units < 23_456 else -1.0, 23_456, 3 * 15 + 3),
    ],
)
def test_few_bounds_are_asked_for(excess, root, most, start):
    asked = []

    def ask(units):
        asked.append(units)
        return excess(units)

    too_little, enough = calibration._find_bracket(ask, start, 10**10)
    found = calibration._find_root(ask, too_little, enough)
    # The least that is enough, but for a ten-thousandth.
    assert root <= found <= root + 2
    assert len(asked) <= most


def test_so_little_noise_is_never_asked_for():
    found = calibration.calibrate_noise_multiplier(FIXED_CLIP, 1e9, 1e-5, 1)
    assert found == 0.01


def test_releases_leave_less_for_the_rounds():
    alone = calibration.calibrate_noise_multiplier(FIXED_CLIP, 2.0, 1e-5, 300)
    releases = [POPULARITY, METRICS]
    together = calibration.calibrate_noise_multiplier(FIXED_CLIP, 2.0, 1e-5, 300, releases)
    assert together > alone
    # The run that is planned so keeps the target, and uses it up.
    accountant = accounting.PrivacyAccountant(
        dataclasses.replace(FIXED_CLIP, noise_multiplier=together), 1e-5, releases
    )
    for round_number in range(1, 301):
        if round_number in (1, 300):
            assert not accountant.would_exceed(2.0, round_number)
        accountant.record(round_number)
    for release in releases:
        for _ in range(release.count):
            accountant.record_release(release.name)
    assert 1.99 < accountant.epsilon() <= 2.0
    assert accountant.would_exceed(2.0, 301)


def test_releases_that_spend_all_are_refused():
    loud = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(0.5))
    with pytest.raises(UserError, match=r"\(popularity\) alone spends"):
        calibration.calibrate_noise_multiplier(FIXED_CLIP, 2.0, 1e-5, 300, [loud])


def test_correlated_noise_is_planned_for_its_rounds_alone():
    with pytest.raises(UserError, match="planned for 400 rounds"):
        calibration.calibrate_noise_multiplier(BANDED, 2.0, 1e-5, 401)


def test_noise_multiplier_given_is_ignored():
    loud = dataclasses.replace(ADAPTIVE, noise_multiplier=3.0)
    results = {calibration.calibrate_noise_multiplier(m, 3.0, 1e-5, 50) for m in (loud, ADAPTIVE)}
    assert len(results) == 1


def test_unreachable_target_is_refused_with_a_way_out():
    # Ten users a round: the default noise on the clipped count is worth 1.0 at most.
    few = dataclasses.replace(ADAPTIVE, clients_per_round=10)
    with pytest.raises(UserError, match="raise --clients_per_round"):
        calibration.calibrate_noise_multiplier(few, 0.1, 1e-5, 1000)
    enough = dataclasses.replace(few, clipped_count_stddev=50.0)
    assert calibration.calibrate_noise_multiplier(enough, 0.1, 1e-5, 1000) > 1.0


def test_one_step_of_noise_is_some_and_none_is_none():
    # The count's noise over its sensitivity of a half: just above and just below a step of 0.0001.
    one = dataclasses.replace(ADAPTIVE, clipped_count_stddev=0.6e-4)
    with pytest.raises(UserError, match=r"no noise multiplier up to 0\.0001 keeps 10 rounds"):
        calibration.calibrate_noise_multiplier(one, 1.0, 1e-5, 10)
    none = dataclasses.replace(ADAPTIVE, clipped_count_stddev=0.4e-4)
    with pytest.raises(UserError, match="leaves no room for any noise multiplier"):
        calibration.calibrate_noise_multiplier(none, 1.0, 1e-5, 10)


@pytest.mark.parametrize(
    ("target_epsilon", "delta", "rounds"),
    [(0.0, 1e-5, 1), (float("inf"), 1e-5, 1), (1.0, 0.0, 1), (1.0, 1e-5, 0), (1.0, 1e-5, 1.5)],
)
def test_impossible_targets_are_refused(target_epsilon, delta, rounds):
    with pytest.raises(UserError):
        calibration.calibrate_noise_multiplier(FIXED_CLIP, target_epsilon, delta, rounds)
