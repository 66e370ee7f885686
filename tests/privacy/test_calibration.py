import dataclasses

import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import calibration, mechanisms

FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 0.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 0.0, 0.5, num_clients=6040, clients_per_round=60)
FIXED_SIZE = mechanisms.Mechanism("dp_gaussian", 0.0, 0.5, 6040, 60, sampling="fixed_size")


@pytest.mark.parametrize(
    ("mechanism", "target_epsilon", "delta", "rounds"),
    [
        (FIXED_CLIP, 1.82, 1e-5, 1000),
        (FIXED_CLIP, 0.1, 1e-6, 300),
        (FIXED_CLIP, 50.0, 1e-5, 10),
        (ADAPTIVE, 2.0, 1e-5, 1000),
        (FIXED_SIZE, 8.0, 1e-5, 100),
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


def test_known_number():
    # 60 of 6,040 users, 1,000 rounds, noise multiplier 1: epsilon 1.82.
    found = calibration.calibrate_noise_multiplier(FIXED_CLIP, 1.82, 1e-5, 1000)
    assert found == pytest.approx(1.0, abs=0.003)


def test_noise_multiplier_given_is_ignored():
    loud = dataclasses.replace(ADAPTIVE, noise_multiplier=3.0)
    results = {calibration.calibrate_noise_multiplier(m, 3.0, 1e-5, 50) for m in (loud, ADAPTIVE)}
    assert len(results) == 1


def test_unreachable_target_is_refused_with_a_way_out():
    # Ten users a round: the default noise on the clipped count is worth 1.0 at most.
    few = dataclasses.replace(ADAPTIVE, clients_per_round=10)
    with pytest.raises(UserError, match="raise clipped_count_stddev or clients_per_round"):
        calibration.calibrate_noise_multiplier(few, 0.1, 1e-5, 1000)
    enough = dataclasses.replace(few, clipped_count_stddev=50.0)
    assert calibration.calibrate_noise_multiplier(enough, 0.1, 1e-5, 1000) > 1.0


@pytest.mark.parametrize(
    ("target_epsilon", "delta", "rounds"),
    [(0.0, 1e-5, 1), (float("inf"), 1e-5, 1), (1.0, 0.0, 1), (1.0, 1e-5, 0), (1.0, 1e-5, 1.5)],
)
def test_impossible_targets_are_refused(target_epsilon, delta, rounds):
    with pytest.raises(UserError):
        calibration.calibrate_noise_multiplier(FIXED_CLIP, target_epsilon, delta, rounds)
