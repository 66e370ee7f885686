import dataclasses
import math

import dp_accounting
import pytest

from fedrec_tff.privacy import (
    accounting,
    calibration,
    departures,
    mechanisms,
    statement,
)
from fedrec_tff.privacy.mechanisms import kinds

GAUSSIAN = mechanisms.Mechanism("dp_gaussian", 1.1, 0.5, num_clients=6040, clients_per_round=60)
BANDED = mechanisms.Mechanism(
    "dp_banded_mf", 2.0, 0.5, 6040, 60, "cyclic_poisson", min_separation=64, rounds=1000
)
LOCAL = mechanisms.Mechanism(
    "local_gaussian", 9.0, 0.5, 6040, 60, "shuffled_epochs", max_rounds_per_user=5
)
SKELLAM = mechanisms.Mechanism(
    "ddp_skellam", 2.0, 0.5, 6040, 60, "shuffled_epochs", num_weights=5000, modulus_bits=24
)
ALL = {
    "gaussian": GAUSSIAN,
    "fixed_size": dataclasses.replace(GAUSSIAN, sampling="fixed_size"),
    "two clips": dataclasses.replace(GAUSSIAN, clip_norm=0.3, tower_clip_norm=0.4),
    "adaptive": dataclasses.replace(GAUSSIAN, name="dp_adaptive"),
    "sparse": dataclasses.replace(
        GAUSSIAN,
        name="dp_sparse",
        histogram_share=0.2,
        rows_per_user=50,
        row_threshold=3.0,
        row_selection="run",
    ),
    "banded": BANDED,
    "tree": dataclasses.replace(BANDED, name="dp_tree"),
    "local gaussian": LOCAL,
    "local laplace": dataclasses.replace(LOCAL, name="local_laplace", sampling="poisson"),
    "discrete gaussian": dataclasses.replace(SKELLAM, name="ddp_discrete_gaussian"),
    "skellam": SKELLAM,
    "simulated": dataclasses.replace(
        GAUSSIAN, noise_cohort_size=6000, noise_population_size=1_000_000
    ),
}
BOUND = accounting.EpsilonBound(1.81234, "PLD")
POPULARITY = accounting.PlannedRelease("popularity", dp_accounting.GaussianDpEvent(5.0))
METRICS = accounting.PlannedRelease("metrics", dp_accounting.GaussianDpEvent(20.0), count=10)


def find_departures(mechanism, **choices):
    return departures.find_departures(
        departures.Choices(mechanism.name, simulates_deployment=mechanism.is_simulated, **choices)
    )


def state(mechanism, bound=BOUND, rounds=1000, delta=1e-7, said=None, **kwargs):
    said = said or find_departures(mechanism)
    return statement.privacy_statement(mechanism, bound, delta, rounds, departures=said, **kwargs)


def test_every_mechanism_is_covered():
    assert {mechanism.name for mechanism in ALL.values()} == set(kinds.KINDS)


@pytest.mark.parametrize("mechanism", ALL.values(), ids=ALL)
def test_what_every_statement_says(mechanism):
    text = state(mechanism)
    for part in (
        "(1.813, 1e-07)-differential privacy",  # Rounded up.
        "each user with all of that user's data",
        "1000 rounds",
        "privacy loss distributions",
        f"({mechanism.name})",
        f"noise multiplier {mechanism.noise_multiplier:g}",
        f"{mechanism.clip_norm:g}",
        "nothing is released about the users who train",
        "Which users there are is taken from the data and treated as public.",
        "Outside the guarantee are: metrics marked non_private, validation and test among them",
        # exp(1.81234) = 6.1247.
        "more than 6.13 times as likely",
        "plus a probability of 1e-07",
    ):
        assert part in text, part
    assert "NOT PRIVATE" not in text
    assert "Warning" not in text
    assert "None" not in text
    for ugly in ("\n", "  ", "..", " ,", "that ;"):
        assert ugly not in text, ugly
    assert text.startswith("SIMULATED:" if mechanism.is_simulated else "This run has ")
    # What a deployment would promise is no promise of this run.
    assert ("There, that would mean: " in text) == mechanism.is_simulated
    assert ("That is: " in text) == (not mechanism.is_simulated)


@pytest.mark.parametrize("mechanism", ALL.values(), ids=ALL)
def test_the_relation_in_plain_words(mechanism):
    text = state(mechanism)
    if mechanism.neighbouring_relation is accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE:
        assert "(add-or-remove-one)" in text
        assert "any one user had not taken part at all" in text
        assert "need not hide" not in text
    else:
        assert "(replace-one)" in text
        assert "any one user had had another user's data" in text
        assert "It need not hide that a user takes part" in text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "gaussian",
            [
                "Poisson sampling, 60 expected",
                "6040 users",
                "0.00993377",
                "an L2 norm of 0.5, with Gaussian noise on the sum at",
                "every checkpoint together",
            ],
        ),
        ("fixed_size", ["exactly 60 of 6040 users", "without replacement"]),
        ("two clips", ["0.3 in the item table and of 0.4 in the towers (0.5 together)"]),
        ("adaptive", ["adapts privately from 0.5", "on the clipped count"]),
        (
            "banded",
            [
                "64 groups at random",
                "at least 64 rounds apart",
                # 60 of the 94.375 users that a group has in the mean.
                "with probability 0.635762",
                "No user takes part in more than 16 of these rounds.",
                "correlated over 64 rounds by a banded matrix",
            ],
        ),
        ("tree", ["binary trees, each node at noise multiplier 2"]),
        (
            "local gaussian",
            [
                "an L2 norm of 0.5 and adds Gaussian noise before it sends it",
                "a random order of all",
                "No user takes part in more than 5 of these rounds (--max_rounds_per_user=5).",
            ],
        ),
        ("local laplace", ["an L1 norm of 0.5 and adds Laplace noise", "more than 5 of these"]),
        ("discrete gaussian", ["a share of discrete Gaussian noise", "modulo 2^24"]),
        # An epoch of 6,040 users, 60 in a round, is 100 rounds.
        ("skellam", ["a share of Skellam noise", "more than 10 of these rounds."]),
    ],
)
def test_how_it_is_done(name, parts):
    text = state(ALL[name])
    for part in parts:
        assert part in text, part


@pytest.mark.parametrize("mechanism", ALL.values(), ids=ALL)
def test_against_whom_it_holds(mechanism):
    text = state(mechanism)
    trusts_server = mechanism.name.startswith("dp_")
    assert ("The server is trusted" in text) == trusts_server
    assert ("Who was in which round is taken to be secret" in text) == trusts_server
    assert ("holds against the server too" in text) == (mechanism.name.startswith("local_"))
    assert ("drawn on the device" in text) == (mechanism.name.startswith("local_"))
    is_distributed = mechanism.name.startswith("ddp_")
    for part in ("sees only the secure sum", "honest but curious", "drop-out", "colludes"):
        assert (part in text) == is_distributed, part
    assert ("Floating-point" in text) == (mechanism.name.startswith("local_"))
    # Noise of past rounds is in the checkpoints.
    is_correlated = mechanism.name in ("dp_tree", "dp_banded_mf")
    assert ("does not cover the checkpoints" in text) == is_correlated
    assert ("KEEP THEM SECRET" in text) == is_correlated
    assert ("checkpoint together" in text) == (not is_correlated and not mechanism.is_simulated)


def test_colluding_devices_are_counted():
    assert "No client of a cohort may tell the server what noise it added" in state(SKELLAM)
    one = state(dataclasses.replace(SKELLAM, colluding_clients=1))
    assert "also if up to 1 client of each cohort collude with the server" in one
    some = state(dataclasses.replace(SKELLAM, colluding_clients=7))
    assert "up to 7 clients of each cohort" in some


def test_a_simulation_says_whose_epsilon_it_is():
    text = state(ALL["simulated"])
    for part in (
        "a deployment with 1000000 users, 6000 of them in a round",
        "That deployment would have (1.813",
        "The 6040 users of THIS DATA SET have no guarantee of that epsilon",
    ):
        assert part in text, part
    assert "This run has" not in text
    assert "It covers" not in text
    # Of so many users, 1e-5 is no small delta.
    assert "Warning: delta" in state(ALL["simulated"], rounds=10, delta=1e-5)


def test_releases_besides_the_model():
    text = state(GAUSSIAN, releases=[POPULARITY, METRICS])
    assert "under the same epsilon and with noise: popularity (once), metrics (10 times)." in text
    assert "nothing is released" not in text
    assert "exact sums" not in text
    # As often as it was, if that is known.
    counts = {"popularity": 2}
    text = state(GAUSSIAN, releases=[POPULARITY, METRICS], num_releases=counts)
    assert "with noise: popularity (2 times)." in text
    text = state(GAUSSIAN, releases=[POPULARITY], num_releases={})
    assert "nothing is released" in text
    # Local noise does not help against who computes these.
    assert "For these the server is trusted" in state(LOCAL, releases=[POPULARITY])


def test_rounds_executed_again_are_said():
    assert "1000 rounds, executed 1012 times in all, every execution counted," in state(
        GAUSSIAN, num_executions=1012
    )
    assert "executed" not in state(GAUSSIAN, num_executions=1000)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("PLD", "privacy loss distributions"),
        ("RDP", "Renyi differential privacy"),
        ("pure", "adding up the epsilons"),
        ("exact", "exact cost of Gaussian noise"),
    ],
)
def test_every_method_of_accounting_has_a_name(method, said):
    assert said in state(LOCAL, accounting.EpsilonBound(3.0, method))


def test_a_large_epsilon_is_no_long_number():
    text = state(GAUSSIAN, accounting.EpsilonBound(900.0, "RDP"))
    assert "more than exp(900.000) times" in text


@pytest.mark.parametrize("mechanism", [GAUSSIAN, ALL["adaptive"], BANDED, ALL["simulated"]])
def test_with_the_bound_of_a_plan(mechanism):
    bound = calibration.bound_run(mechanism, 1e-7, 500, [POPULARITY])
    text = state(mechanism, bound, 500, releases=[POPULARITY])
    stated = float(text.split("-differential")[0].rsplit("(", 1)[1].split(",")[0])
    assert bound.epsilon <= stated < bound.epsilon + 1e-3


@pytest.mark.parametrize(
    ("mechanism", "choices"),
    [
        (GAUSSIAN, {"has_deterministic_noise": True}),
        (GAUSSIAN, {"has_secret_cohorts": False}),
        (ALL["simulated"], {"has_deterministic_noise": True, "has_secret_cohorts": False}),
        (SKELLAM, {"has_deterministic_noise": True}),
        (dataclasses.replace(GAUSSIAN, noise_multiplier=0.0), {}),
    ],
)
def test_no_guarantee_is_said_first_and_plainly(mechanism, choices):
    bound = BOUND if choices else accounting.EpsilonBound(math.inf, "RDP")
    text = state(mechanism, bound, said=find_departures(mechanism, **choices))
    assert text.startswith("NOT PRIVATE")
    assert "This run has (" not in text
    assert "guarantee holds" not in text
    assert mechanism.kind.what_is_done(mechanism) in text
    assert ("Accounted by" in text) == bool(choices)
    assert ("which assumes " in text) == bool(choices)
    assert ("predictable" in text) == ("has_deterministic_noise" in choices)
    assert ("Who is in which round follows from --seed" in text) == (
        "has_secret_cohorts" in choices
    )
    assert statement.privacy_statement(None).startswith("NOT PRIVATE")


def test_large_delta_is_warned_of():
    assert "Warning: delta" in state(GAUSSIAN, rounds=10, delta=1e-3)


def test_statement_of_a_mechanism_needs_numbers_and_what_they_assume():
    for arguments in ((), (BOUND, 1e-7, 10)):
        with pytest.raises(ValueError, match="needs bound"):
            statement.privacy_statement(GAUSSIAN, *arguments)


def test_the_factor_is_told_up_to_an_epsilon_of_ten_and_rounded_up():
    # exp(10) = 22026.4657...
    assert "more than 22026.47 times" in state(GAUSSIAN, accounting.EpsilonBound(10.0, "RDP"))
    assert "more than exp(10.001) times" in state(GAUSSIAN, accounting.EpsilonBound(10.0001, "RDP"))


def test_an_infinite_epsilon_that_is_nobodys_is_told():
    said = find_departures(GAUSSIAN, has_deterministic_noise=True)
    text = state(GAUSSIAN, accounting.EpsilonBound(math.inf, "RDP"), said=said)
    assert "Otherwise the run would have (inf, 1e-07)-differential privacy" in text


def test_a_run_that_went_on_in_copies_says_so():
    assert statement.describe_copies(0) == ""
    for num_copies in (1, 3):
        assert statement.describe_copies(num_copies).startswith(
            " The run went on in a copy of its folder (--resume_copy)"
        )


def test_each_of_the_numbers_is_needed():
    numbers = {"bound": BOUND, "delta": 1e-7, "rounds": 10, "departures": find_departures(GAUSSIAN)}
    assert statement.privacy_statement(GAUSSIAN, **numbers).startswith("This run has")
    for name in numbers:
        with pytest.raises(ValueError, match="needs bound"):
            statement.privacy_statement(GAUSSIAN, **{**numbers, name: None})
