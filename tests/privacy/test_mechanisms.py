import dataclasses

import dp_accounting
import numpy as np
import pytest

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import mechanisms

FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 1.0, 0.5, num_clients=6040, clients_per_round=20)


def test_gaussian_event():
    assert mechanisms.round_event(FIXED_CLIP) == dp_accounting.PoissonSampledDpEvent(
        60 / 6040, dp_accounting.GaussianDpEvent(1.0)
    )
    assert FIXED_CLIP.neighbouring_relation is dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE


def test_fixed_size_halves_the_multiplier():
    fixed_size = dataclasses.replace(FIXED_CLIP, sampling="fixed_size")
    assert mechanisms.round_event(fixed_size) == dp_accounting.SampledWithoutReplacementDpEvent(
        6040, 60, dp_accounting.GaussianDpEvent(0.5)
    )
    assert fixed_size.neighbouring_relation is dp_accounting.NeighboringRelation.REPLACE_ONE


@pytest.mark.parametrize("sampling_name", ["poisson", "fixed_size"])
def test_adaptive_event_is_worth_the_noise_multiplier(sampling_name):
    """The sensitivity of (clipped sum, shifted count), scaled by the noise, found numerically."""
    mechanism = dataclasses.replace(ADAPTIVE, sampling=sampling_name)
    value_noise_multiplier, count_stddev = mechanisms.split_adaptive_noise(1.0, 20)
    # What one user adds: a vector on the clip's sphere, and -0.5 or +0.5.
    users = [np.array([x, b]) for x in (-0.5, 0.5) for b in (-0.5, 0.5)]
    scale = np.array([value_noise_multiplier * 0.5, count_stddev])
    if sampling_name == "poisson":
        moves = [user / scale for user in users]
    else:
        moves = [(a - b) / scale for a in users for b in users]
    sensitivity = max(np.linalg.norm(move) for move in moves)
    parts = mechanisms.round_event(mechanism).event.events
    worth = sum(part.noise_multiplier**-2 for part in parts) ** -0.5
    assert worth == pytest.approx(1 / sensitivity)
    assert worth == pytest.approx(1.0 if sampling_name == "poisson" else 0.5)
    assert all(type(part.noise_multiplier) is float for part in parts)


def test_split_by_hand():
    # Count: stddev 1 on sensitivity 0.5, so multiplier 2. 1 - 1/4 = 3/4 is left for the sum.
    value_noise_multiplier, count_stddev = mechanisms.split_adaptive_noise(1.0, 20)
    assert count_stddev == 1.0
    assert value_noise_multiplier == pytest.approx((3 / 4) ** -0.5)
    assert mechanisms.split_adaptive_noise(1.0, 20, 5.0)[0] == pytest.approx((0.99) ** -0.5)
    assert mechanisms.split_adaptive_noise(0.0, 20) == (0.0, 0.0)


@pytest.mark.parametrize("stddev", [0.5, 0.3, 0.0, -1.0, float("inf")])
def test_split_refuses_too_little_noise_on_the_count(stddev):
    with pytest.raises(UserError, match="clipped_count_stddev"):
        mechanisms.split_adaptive_noise(1.0, 20, stddev)
    with pytest.raises(UserError, match="clipped_count_stddev"):
        dataclasses.replace(ADAPTIVE, clipped_count_stddev=stddev)


def test_noise_multiplier_limit_is_where_the_split_ends():
    limit = mechanisms.noise_multiplier_limit(ADAPTIVE)
    assert limit == 2.0
    mechanisms.split_adaptive_noise(limit - 1e-6, 20)
    with pytest.raises(UserError):
        mechanisms.split_adaptive_noise(limit, 20)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "dp_magic"},
        {"sampling": "shuffled"},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("inf")},
        {"noise_multiplier": float("nan")},
        {"clip_norm": 0.0},
        {"clip_norm": float("nan")},
        {"num_clients": 0},
        {"clients_per_round": 0},
        {"clients_per_round": 6041},
        {"clients_per_round": 1.5, "sampling": "fixed_size"},
        {"clipped_count_stddev": 1.0},
    ],
)
def test_impossible_mechanisms_are_refused(change):
    with pytest.raises(UserError):
        dataclasses.replace(FIXED_CLIP, **change)


def test_numpy_numbers_become_python_numbers():
    mechanism = mechanisms.Mechanism(
        "dp_gaussian", np.float32(1.5), np.float32(0.5), np.int64(100), np.int32(10)
    )
    event = mechanisms.round_event(mechanism)
    assert type(event.sampling_probability) is float
    assert type(event.event.noise_multiplier) is float
