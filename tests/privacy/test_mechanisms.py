import dataclasses
import math

import dp_accounting
import numpy as np
import pytest
from scipy import stats

from fedrec_tff.errors import UserError
from fedrec_tff.privacy import (
    calibration,
    departures,
    distributed,
    factorization,
    grid,
    ledger_format,
    mechanisms,
    planning,
    statement,
)
from fedrec_tff.privacy.mechanisms import adaptive, base, kinds, sparse
from fedrec_tff.privacy.mechanisms import terms as terms_lib

FIXED_CLIP = mechanisms.Mechanism("dp_gaussian", 1.0, 0.5, num_clients=6040, clients_per_round=60)
ADAPTIVE = mechanisms.Mechanism("dp_adaptive", 1.0, 0.5, num_clients=6040, clients_per_round=20)


def test_gaussian_event():
    assert mechanisms.unit_event(FIXED_CLIP) == dp_accounting.PoissonSampledDpEvent(
        60 / 6040, dp_accounting.GaussianDpEvent(1.0)
    )
    assert FIXED_CLIP.neighbouring_relation is dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE


def test_fixed_size_halves_the_multiplier():
    fixed_size = dataclasses.replace(FIXED_CLIP, sampling="fixed_size")
    assert mechanisms.unit_event(fixed_size) == dp_accounting.SampledWithoutReplacementDpEvent(
        6040, 60, dp_accounting.GaussianDpEvent(0.5)
    )
    assert fixed_size.neighbouring_relation is dp_accounting.NeighboringRelation.REPLACE_ONE


@pytest.mark.parametrize("sampling_name", ["poisson", "fixed_size"])
def test_adaptive_event_is_worth_the_noise_multiplier(sampling_name):
    """The sensitivity of (clipped sum, shifted count), scaled by the noise, found numerically."""
    mechanism = dataclasses.replace(ADAPTIVE, sampling=sampling_name)
    value_noise_multiplier, count_stddev = adaptive.split_noise(mechanism)
    # What one user adds: a vector on the clip's sphere, and -0.5 or +0.5.
    users = [np.array([x, b]) for x in (-0.5, 0.5) for b in (-0.5, 0.5)]
    scale = np.array([value_noise_multiplier * 0.5, count_stddev])
    if sampling_name == "poisson":
        moves = [user / scale for user in users]
    else:
        moves = [(a - b) / scale for a in users for b in users]
    sensitivity = max(np.linalg.norm(move) for move in moves)
    noise = mechanisms.unit_event(mechanism).event
    assert noise.noise_multiplier == pytest.approx(1 / sensitivity)
    assert noise.noise_multiplier == pytest.approx(1.0 if sampling_name == "poisson" else 0.5)
    assert type(noise.noise_multiplier) is float


def test_split_by_hand():
    # Count: stddev 1 on sensitivity 0.5, so multiplier 2. 1 - 1/4 = 3/4 is left for the sum.
    value_noise_multiplier, count_stddev = adaptive.split_adaptive_noise(1.0, 20)
    assert count_stddev == 1.0
    assert value_noise_multiplier == pytest.approx((3 / 4) ** -0.5)
    assert adaptive.split_adaptive_noise(1.0, 20, 5.0)[0] == pytest.approx((0.99) ** -0.5)
    assert adaptive.split_adaptive_noise(0.0, 20) == (0.0, 0.0)
    # On the sum, of clip 0.5; and scaled down from five times the cohort, whose count has more.
    assert ADAPTIVE.kind.added_noise_stddev(ADAPTIVE) == pytest.approx((3 / 4) ** -0.5 * 0.5)
    scaled = dataclasses.replace(ADAPTIVE, noise_cohort_size=100, noise_population_size=10_000)
    expected = (1 - 1 / 100) ** -0.5 * 0.5 / 5
    assert scaled.kind.added_noise_stddev(scaled) == pytest.approx(expected)


@pytest.mark.parametrize("stddev", [0.5, 0.3, 0.0, -1.0, float("inf")])
def test_split_refuses_too_little_noise_on_the_count(stddev):
    with pytest.raises(UserError, match=r"clipped.count"):
        adaptive.split_adaptive_noise(1.0, 20, stddev)
    with pytest.raises(UserError, match=r"clipped.count"):
        dataclasses.replace(ADAPTIVE, clipped_count_stddev=stddev)


def test_noise_multiplier_limit_is_where_the_split_ends():
    limit = mechanisms.noise_multiplier_limit(ADAPTIVE)
    assert limit == 2.0
    adaptive.split_adaptive_noise(limit - 1e-6, 20)
    with pytest.raises(UserError):
        adaptive.split_adaptive_noise(limit, 20)


def test_a_histogram_and_the_updates_share_the_noise_by_hand():
    mechanism = mechanisms.Mechanism(
        "dp_sparse",
        *(1.2, 0.5, 100, 10),
        histogram_share=0.36,
        rows_per_user=9,
        row_threshold=0.0,
        row_selection="round",
    )
    # Parts 0.36 and 0.64 of the inverse square of 1.2: multipliers 1.2 / 0.6 and 1.2 / 0.8.
    assert sparse.split_noise(mechanism) == pytest.approx((2.0, 1.5))
    assert mechanism.kind.added_noise_stddev(mechanism) == pytest.approx(1.5 * 0.5)
    assert mechanisms.unit_event(mechanism).event.noise_multiplier == pytest.approx(1.2)
    assert mechanism.kind.needless_probability(mechanism) == 0.5
    # A count moves the histogram by a step in nine rows, an update the sum by a clip.
    limit = min(0.6 * grid.largest_noise_multiplier(3.0), 0.8 * grid.largest_noise_multiplier(1.0))
    assert mechanisms.noise_multiplier_limit(mechanism) == pytest.approx(limit)
    of_updates = dataclasses.replace(mechanism, histogram_share=0.64, rows_per_user=1)
    limit = 0.6 * grid.largest_noise_multiplier(1.0)
    assert mechanisms.noise_multiplier_limit(of_updates) == pytest.approx(limit)
    # Eight deviations more than the threshold; a count's is 2 times the root of 9.
    assert mechanism.kind.num_clients_to_choose(mechanism) == 48
    higher = dataclasses.replace(mechanism, row_threshold=1.5)
    assert higher.kind.num_clients_to_choose(higher) == 57
    scaled = dataclasses.replace(higher, noise_cohort_size=30, noise_population_size=300)
    assert scaled.kind.num_clients_to_choose(scaled) == 19
    silent = dataclasses.replace(higher, noise_multiplier=0.0)
    assert silent.kind.needless_probability(silent) == 1.0
    assert higher.kind.needless_probability(higher) == pytest.approx(stats.norm.sf(1.5))


@pytest.mark.parametrize(
    "change",
    [
        {"histogram_share": 0.0},
        {"histogram_share": 1.0},
        {"row_threshold": -0.1},
        {"row_threshold": math.inf},
        {"row_threshold": math.nan},
        {"row_selection": "always"},
        {"noise_multiplier": 2.0**20},
    ],
)
def test_numbers_that_leave_nothing_of_counts_or_updates_are_refused(change):
    sound = mechanisms.Mechanism(
        "dp_sparse",
        *(1.2, 0.5, 100, 10),
        histogram_share=0.5,
        rows_per_user=1,
        row_threshold=0.0,
        row_selection="run",
    )
    limit = mechanisms.noise_multiplier_limit(sound)
    dataclasses.replace(sound, noise_multiplier=limit * (1 - 1e-12))
    for wrong in (change, {"noise_multiplier": limit}):
        with pytest.raises(UserError, match="|".join(wrong)):
            dataclasses.replace(sound, **wrong)


# Correlated noise.

BANDED = mechanisms.Mechanism(
    "dp_banded_mf", 2.0, 0.5, 6000, 60, "cyclic_poisson", min_separation=50, rounds=1000
)
TREE = dataclasses.replace(BANDED, name="dp_tree")


def test_a_turn_under_banded_noise():
    # 50 groups of 120 users, of whom 60 are asked.
    assert mechanisms.unit_event(BANDED) == dp_accounting.PoissonSampledDpEvent(
        0.5, dp_accounting.GaussianDpEvent(2.0)
    )
    assert BANDED.sampling_probability == 0.01
    assert BANDED.neighbouring_relation is dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE


def most_nodes_over_a_leaf(leaves):
    """By drawing the tree: which released nodes hold which leaf."""
    over = np.zeros(leaves, int)
    for step in range(1, leaves + 1):
        for level in range(leaves.bit_length()):
            if step % 2**level == 0:
                over[step - 2**level : step] += 1
    return over.max()


@pytest.mark.parametrize("min_separation", [1, 2, 3, 4, 7, 8, 50, 64])
@pytest.mark.parametrize("rounds", [1, 6, 64])
def test_a_turn_under_a_tree_is_in_so_many_nodes(min_separation, rounds):
    tree = dataclasses.replace(TREE, min_separation=min_separation, rounds=rounds)
    nodes = most_nodes_over_a_leaf(min(min_separation, rounds))
    event = mechanisms.unit_event(tree)
    assert event.event.noise_multiplier == pytest.approx(2.0 / np.sqrt(nodes))
    assert event.sampling_probability == pytest.approx(min_separation / 100)


@pytest.mark.parametrize("mechanism", [BANDED, TREE])
@pytest.mark.parametrize(("rounds", "turns"), [(1, 1), (50, 1), (51, 2), (999, 20), (1000, 20)])
def test_turns_of_a_user_who_is_asked_in_turn(mechanism, rounds, turns):
    assert mechanisms.num_units(mechanism, rounds) == turns
    [(event, count)] = mechanisms.planned_events(mechanism, rounds)
    assert (event, count) == (mechanisms.unit_event(mechanism), turns)
    with pytest.raises(UserError, match="planned for 1000 rounds"):
        mechanisms.planned_events(mechanism, 1001)


def test_one_group_is_poisson_sampling():
    one_group = dataclasses.replace(BANDED, min_separation=1)
    assert mechanisms.unit_event(one_group) == dp_accounting.PoissonSampledDpEvent(
        0.01, dp_accounting.GaussianDpEvent(2.0)
    )
    assert mechanisms.num_units(one_group, 7) == 7


# Noise on the device.

LOCAL = mechanisms.Mechanism("local_gaussian", 7.0, 0.5, 100, 10, max_rounds_per_user=5)
DISTRIBUTED = mechanisms.Mechanism(
    "ddp_skellam", 6.0, 0.5, 100, 10, "shuffled_epochs", num_weights=50, modulus_bits=24
)


@pytest.mark.parametrize(
    ("law", "rounds", "turns"),
    [
        ("poisson", 3, 3),
        ("poisson", 500, 5),
        ("fixed_size", 3, 3),
        ("shuffled_epochs", 10, 1),
        ("shuffled_epochs", 11, 2),
        ("shuffled_epochs", 500, 5),
    ],
)
def test_local_units(law, rounds, turns):
    mechanism = dataclasses.replace(LOCAL, sampling=law)
    assert mechanisms.num_units(mechanism, rounds) == turns
    # A user's message, or that of another user: two clips apart.
    assert mechanisms.unit_event(mechanism) == dp_accounting.GaussianDpEvent(3.5)
    assert mechanism.neighbouring_relation is dp_accounting.NeighboringRelation.REPLACE_ONE
    laplace = dataclasses.replace(mechanism, name="local_laplace")
    assert mechanisms.unit_event(laplace) == dp_accounting.LaplaceDpEvent(3.5)


def test_those_left_over_lengthen_no_epoch():
    # 103 users, 10 a round: 10 rounds, then a new order.
    mechanism = dataclasses.replace(LOCAL, num_clients=103, sampling="shuffled_epochs")
    assert mechanism.rounds_per_epoch == 10
    assert mechanisms.num_units(mechanism, 21) == 3


def test_noise_of_a_rounds_sum_is_what_all_who_add_some_add():
    for mechanism, factor in ((FIXED_CLIP, 1.0), (LOCAL, math.sqrt(10.0))):
        expected = factor * mechanism.noise_multiplier * 0.5
        assert mechanism.kind.sum_noise_stddev(mechanism, 40) == pytest.approx(expected)
    laplace = dataclasses.replace(LOCAL, name="local_laplace")
    expected = math.sqrt(10.0) * stats.laplace.std(scale=7.0 * 0.5)
    assert laplace.kind.sum_noise_stddev(laplace, 40) == pytest.approx(expected)
    # Of bands or levels there is one: the noise of each round is independent.
    for mechanism in (BANDED, TREE):
        alone = dataclasses.replace(mechanism, min_separation=1)
        assert alone.kind.sum_noise_stddev(alone, 40) == pytest.approx(1.0)
        assert mechanism.kind.sum_noise_stddev(mechanism, 1000) < mechanism.noise_stddev


def test_correlated_noise_is_worth_what_the_running_total_suffers():
    rounds = 8
    tree, banded = (dataclasses.replace(m, min_separation=2, rounds=rounds) for m in (TREE, BANDED))
    # Trees of two rounds: nodes of the first 1, 2, ... rounds, against as many rounds' own noise.
    nodes = np.mean([1, 1, 2, 2, 3, 3, 4, 4])
    expected = tree.noise_stddev * math.sqrt(nodes / np.mean(np.arange(1, rounds + 1)))
    assert tree.kind.sum_noise_stddev(tree, rounds) == pytest.approx(expected)
    first, second = factorization.create_banded_strategy(rounds, 2).coefficients
    decoder = np.tril(np.ones([rounds, rounds])) @ np.linalg.inv(
        first * np.eye(rounds) + second * np.eye(rounds, k=-1)
    )
    ratio = np.sum(decoder**2) / np.sum(np.arange(1, rounds + 1))
    expected = banded.noise_stddev * math.sqrt(ratio)
    assert banded.kind.sum_noise_stddev(banded, rounds) == pytest.approx(expected)


# Sensitivity, and simulations of larger cohorts.


def test_two_clips_are_one_joint_sensitivity():
    mechanism = dataclasses.replace(FIXED_CLIP, clip_norm=0.3, tower_clip_norm=0.4)
    assert mechanism.sensitivity == pytest.approx(0.5)
    assert mechanism.noise_stddev == pytest.approx(0.5)
    assert FIXED_CLIP.sensitivity == 0.5
    assert dataclasses.replace(FIXED_CLIP, noise_multiplier=2.2).noise_stddev == pytest.approx(1.1)
    assert mechanisms.unit_event(mechanism) == mechanisms.unit_event(FIXED_CLIP)


@pytest.mark.parametrize("name", ["dp_gaussian", "dp_adaptive", "dp_tree", "dp_banded_mf"])
def test_a_simulation_has_the_noise_to_signal_ratio_of_the_deployment(name):
    kwargs = {}
    if name in ("dp_tree", "dp_banded_mf"):
        kwargs = {"sampling": "cyclic_poisson", "min_separation": 50, "rounds": 100}
    deployed = mechanisms.Mechanism(name, 1.5, 0.5, 1_000_000, 3000, **kwargs)
    simulated = mechanisms.Mechanism(
        name, 1.5, 0.5, 6040, 60, noise_cohort_size=3000, noise_population_size=1_000_000, **kwargs
    )
    assert simulated.is_simulated
    assert not deployed.is_simulated
    # Noise of the mean.
    assert simulated.noise_stddev / 60 == pytest.approx(deployed.noise_stddev / 3000)
    assert mechanisms.unit_event(simulated) == mechanisms.unit_event(deployed)
    assert mechanisms.planned_events(simulated, 90) == mechanisms.planned_events(deployed, 90)
    if name == "dp_adaptive":
        assert adaptive.split_noise(simulated) == adaptive.split_noise(deployed)
        assert mechanisms.noise_multiplier_limit(simulated) == 300.0


@pytest.mark.parametrize(
    ("mechanism", "change", "said"),
    [
        (FIXED_CLIP, {"noise_cohort_size": 600}, "give both"),
        (FIXED_CLIP, {"noise_population_size": 10**6}, "give both"),
        (FIXED_CLIP, {"noise_cohort_size": 50, "noise_population_size": 10**6}, "larger cohort"),
        (FIXED_CLIP, {"noise_cohort_size": 600, "noise_population_size": 500}, "more than the 500"),
        (BANDED, {"noise_cohort_size": 600, "noise_population_size": 20_000}, "a group has"),
        (LOCAL, {"noise_cohort_size": 60, "noise_population_size": 10**6}, "means nothing"),
        (FIXED_CLIP, {"min_separation": 5}, "means nothing"),
        (FIXED_CLIP, {"max_rounds_per_user": 5}, "means nothing"),
        (FIXED_CLIP, {"modulus_bits": 20}, "means nothing"),
        (FIXED_CLIP, {"colluding_clients": 1}, "means nothing"),
        (DISTRIBUTED, {"colluding_clients": 10}, "nobody is left"),
        (DISTRIBUTED, {"colluding_clients": -1}, "at least 0"),
        (DISTRIBUTED, {"colluding_clients": 1.5}, "whole number"),
        (ADAPTIVE, {"tower_clip_norm": 1.0}, "means nothing"),
        (LOCAL, {"max_rounds_per_user": 0}, "max_rounds_per_user must be a whole number"),
        (BANDED, {"min_separation": 0}, "min_separation must be a whole number"),
        (BANDED, {"rounds": 2.5}, "rounds must be a whole number"),
        (DISTRIBUTED, {"num_weights": math.inf}, "num_weights must be a whole number"),
        (LOCAL, {"max_rounds_per_user": None}, "needs max_rounds_per_user"),
        (BANDED, {"min_separation": None}, "needs min_separation"),
        (BANDED, {"rounds": None}, "needs rounds"),
        (BANDED, {"sampling": "poisson"}, "choose cyclic_poisson"),
        (LOCAL, {"sampling": "cyclic_poisson"}, "not known"),
        (FIXED_CLIP, {"sampling": "shuffled_epochs"}, "not known"),
        # 60 of 6,000 users in each of 101 rounds in a row are more than there are.
        (BANDED, {"min_separation": 101}, "to 59.4059, or --min_separation to 100"),
    ],
)
def test_combinations_without_a_known_cost_are_refused(mechanism, change, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(mechanism, **change)


@pytest.mark.parametrize("mechanism", [FIXED_CLIP, ADAPTIVE, BANDED, TREE, LOCAL])
def test_no_noise_is_no_privacy(mechanism):
    silent = dataclasses.replace(mechanism, noise_multiplier=0.0)
    assert mechanisms.unit_event(silent) == dp_accounting.NonPrivateDpEvent()


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
        {"num_clients": float("inf")},
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
    event = mechanisms.unit_event(mechanism)
    assert type(event.sampling_probability) is float
    assert type(event.event.noise_multiplier) is float
    correlated = dataclasses.replace(BANDED, min_separation=np.int64(50), rounds=np.int32(1000))
    assert correlated == BANDED
    assert type(correlated.rounds) is int


# What is true of mechanisms whatever their numbers: by hand.


_SIMULATION = {"noise_cohort_size", "noise_population_size"}
_TREE_OR_BANDS = {"tower_clip_norm", "min_separation", "rounds"}
_SHARES = {"num_weights", "modulus_bits", "colluding_clients"}
_ROW_CHOICE = {"histogram_share", "rows_per_user", "row_threshold", "row_selection"}


@pytest.mark.parametrize(
    ("name", "source", "correlates", "order", "stddev", "kurtosis", "fields"),
    [
        ("dp_gaussian", "server", False, 2, 1.0, 3.0, {"tower_clip_norm"}),
        ("dp_adaptive", "server", False, 2, 1.0, 3.0, {"clipped_count_stddev"}),
        ("dp_sparse", "server", False, 2, 1.0, 3.0, {"tower_clip_norm", *_ROW_CHOICE}),
        ("dp_tree", "server", True, 2, 1.0, 3.0, _TREE_OR_BANDS),
        ("dp_banded_mf", "server", True, 2, 1.0, 3.0, _TREE_OR_BANDS),
        ("local_gaussian", "device", False, 2, 1.0, 3.0, {"max_rounds_per_user"}),
        ("local_laplace", "device", False, 1, stats.laplace.std(), 6.0, {"max_rounds_per_user"}),
        ("ddp_discrete_gaussian", "cohort", False, 2, 1.0, 3.0, _SHARES),
        ("ddp_skellam", "cohort", False, 2, 1.0, 3.0, _SHARES),
    ],
)
def test_what_kinds_answer(name, source, correlates, order, stddev, kurtosis, fields):
    kind = kinds.get(name)
    is_central = source == "server"
    assert kind.noise_source == source
    assert kind.trusts_server is is_central
    assert kind.draws_noise_on_devices is (not is_central)
    # Those who trust the server claim amplification by sampling, others nothing.
    assert kind.counts_on_secret_cohorts is is_central
    assert kind.correlates_rounds is correlates
    assert ("KEEP THEM SECRET" in kind.covers) is correlates
    assert kind.norm_order == order
    assert kind.stddev_over_scale == pytest.approx(stddev)
    assert kind.kurtosis == kurtosis
    assert kind.plans_for_weights is (source == "cohort")
    # What one server adds can be scaled down.
    expected = fields | (_SIMULATION if is_central else set())
    assert {field for field in terms_lib.FIELDS_OF_SOME if kind.has(field)} == expected


@pytest.mark.parametrize(
    ("mechanism", "clients"), [(FIXED_CLIP, 0), (BANDED, 0), (LOCAL, 1), (DISTRIBUTED, 10)]
)
def test_how_many_clients_add_a_rounds_noise_once(mechanism, clients):
    assert mechanism.kind.num_noisy_clients(mechanism) == clients


def test_an_updates_length_on_the_grid_is_accounted():
    assert FIXED_CLIP.kind.accounted_norm(FIXED_CLIP) == 0.5
    found = DISTRIBUTED.kind.accounted_norm(DISTRIBUTED)
    noise = distributed.create_distributed_noise(
        dataclasses.replace(DISTRIBUTED, noise_multiplier=0)
    )
    # A coordinate is rounded by less than a step.
    assert 0.5 < found < 0.5 + math.sqrt(50) * noise.granularity


# A new mechanism is one file and one line.


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ServerLaplaceKind(base.MechanismKind):
    """The server adds Laplace noise to a sum of updates that are clipped in L1."""

    def neighbouring_relation(self, terms):
        return dp_accounting.NeighboringRelation.REPLACE_ONE

    def noisy_unit_event(self, terms):
        return dp_accounting.LaplaceDpEvent(terms.noise_multiplier / 2.0)

    def what_is_done(self, terms):
        return f"Each update is clipped in L1, with Laplace noise {base.describe_noise(terms)}."


_NEW = _ServerLaplaceKind(
    name="dp_laplace",
    samplings=("fixed_size",),
    rows=(),
    noise_source=base.SERVER,
    trust=kinds.DEFAULT.trust,
    covers="It covers the model",
    counts_on_secret_cohorts=False,
    norm_order=1,
    stddev_over_scale=math.sqrt(2.0),
    kurtosis=6.0,
)


def test_a_new_mechanism_is_accounted_stated_planned_and_kept(monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "dp_laplace", _NEW)
    mechanism = mechanisms.Mechanism("dp_laplace", 8.0, 0.5, 100, 10, "fixed_size")
    # Each of 4 rounds costs epsilon 2 / 8, and delta is hardly of any help.
    bound = calibration.bound_run(mechanism, 1e-6, 4)
    assert 0.999 < bound.epsilon <= 1.0
    said = departures.find_departures(departures.Choices("dp_laplace"))
    assert said.assumed == ["trusted_server", "catalogue_from_data", "users_from_data"]
    text = statement.privacy_statement(mechanism, bound, 1e-6, 4, departures=said)
    assert "It covers the model." in text
    assert "with Laplace noise at noise multiplier 8 (dp_laplace)." in text
    assert planning.effective_noise_stddev(mechanism, 4) == pytest.approx(
        stats.laplace.std(scale=8.0 * 0.5) / 10
    )
    header = ledger_format.LedgerHeader("a-run", mechanism, 1e-6)
    assert ledger_format.header_from_json(ledger_format.header_to_json(header)) == header
    with pytest.raises(UserError, match="choose fixed_size"):
        dataclasses.replace(mechanism, sampling="poisson")
    with pytest.raises(UserError, match="means nothing for dp_laplace"):
        dataclasses.replace(mechanism, tower_clip_norm=1.0)


def test_noise_is_on_all_rows_unless_a_kind_chooses_them():
    assert FIXED_CLIP.kind.needless_probability(FIXED_CLIP) == 1.0
    assert FIXED_CLIP.kind.num_clients_to_choose(FIXED_CLIP) == 0
    assert [name for name, kind in kinds.KINDS.items() if kind.chooses_rows] == ["dp_sparse"]
    assert mechanisms.noise_multiplier_limit(FIXED_CLIP) == math.inf


def test_what_is_said_of_the_clip():
    assert base.describe_clip(FIXED_CLIP) == "an L2 norm of 0.5"
    both = dataclasses.replace(FIXED_CLIP, clip_norm=3.0, tower_clip_norm=4.0)
    assert base.describe_clip(both) == (
        "an L2 norm of 3 in the item table and of 4 in the towers (5 together)"
    )


def test_first_samplings_are_said_with_the_default_first():
    assert kinds.describe_first_samplings() == (
        "poisson, cyclic_poisson for dp_tree and dp_banded_mf, "
        "shuffled_epochs for ddp_discrete_gaussian and ddp_skellam"
    )


@pytest.mark.parametrize(
    ("mechanism", "change"),
    [
        (FIXED_CLIP, {"clients_per_round": 6040}),
        (FIXED_CLIP, {"num_clients": 1, "clients_per_round": 1}),
        (FIXED_CLIP, {"noise_cohort_size": 60, "noise_population_size": 6040}),
        (FIXED_CLIP, {"clients_per_round": 0.5}),
        (BANDED, {"min_separation": 100}),
        (BANDED, {"rounds": 1}),
        (LOCAL, {"max_rounds_per_user": 1}),
        (DISTRIBUTED, {"colluding_clients": 9}),
        (DISTRIBUTED, {"clients_per_round": 100}),
    ],
)
def test_the_ends_of_each_range_belong_to_it(mechanism, change):
    changed = dataclasses.replace(mechanism, **change)
    assert {field: getattr(changed, field) for field in change} == change


def test_a_turn_has_no_probability_above_one():
    terms = terms_lib.Terms("dp_tree", 1.0, 1.0, 100, 30, "cyclic_poisson", min_separation=5)
    assert terms.turn_probability == 1.0
    assert dataclasses.replace(terms, min_separation=None).turn_probability == 0.3
