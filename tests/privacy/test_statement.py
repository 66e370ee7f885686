import dataclasses
import math

import pytest

from fedrec_tff.privacy import accounting, mechanisms, statement

MECHANISM = mechanisms.Mechanism("dp_gaussian", 1.1, 0.5, num_clients=6040, clients_per_round=60)
BOUND = accounting.EpsilonBound(1.81234, "PLD")


def test_says_all_that_the_guarantee_rests_on():
    text = statement.privacy_statement(MECHANISM, BOUND, 1e-5, 1000)
    for part in (
        "(1.813, 1e-05)",  # Rounded up.
        "each user",
        "add-or-remove-one",
        "every checkpoint",
        "1000 rounds",
        "Poisson",
        "6040 users",
        "0.00993377",
        "norm of 0.5",
        "noise multiplier 1.1",
        "privacy loss distributions",
        "--seed",
        "trusted",
    ):
        assert part in text, part
    assert "NOT PRIVATE" not in text
    assert "Warning" not in text
    assert "\n" not in text


def test_other_mechanisms():
    text = statement.privacy_statement(
        mechanisms.Mechanism("dp_adaptive", 1.0, 0.5, 6040, 60, sampling="fixed_size"),
        accounting.EpsilonBound(3.0, "RDP"),
        1e-5,
        10,
        num_executions=12,
    )
    for part in ("replace-one", "exactly 60 of 6040", "clipped count", "Renyi", "12 times"):
        assert part in text, part


@pytest.mark.parametrize(
    ("mechanism", "bound", "deterministic"),
    [
        (None, None, False),
        (MECHANISM, BOUND, True),
        (
            dataclasses.replace(MECHANISM, noise_multiplier=0.0),
            accounting.EpsilonBound(math.inf, "RDP"),
            False,
        ),
    ],
)
def test_no_guarantee_is_said_first_and_plainly(mechanism, bound, deterministic):
    text = statement.privacy_statement(
        mechanism, bound, 1e-5, 10, insecure_deterministic_noise=deterministic
    )
    assert text.startswith("NOT PRIVATE")
    assert "This run has" not in text
    assert ("predictable" in text) == deterministic


def test_large_delta_is_warned_of():
    assert "Warning: delta" in statement.privacy_statement(MECHANISM, BOUND, 1e-3, 10)


def test_statement_of_a_mechanism_needs_numbers():
    with pytest.raises(ValueError, match="needs bound"):
        statement.privacy_statement(MECHANISM)
