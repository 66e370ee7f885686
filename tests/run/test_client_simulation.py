import dataclasses

import numpy as np
import pytest
from scipy import stats

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import clients, keyed_draws, sequences
from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation import simulated_clients
from fedrec_tff.privacy import sampling
from fedrec_tff.run import attack_knowledge, attack_targets, client_simulation, cohorts, data

_CONFIG = RunConfig(synthetic_users=200, synthetic_items=60)
_DATASET = data.load_data(_CONFIG)
_LENGTHS = np.asarray(_DATASET.split.train.lengths)
_EVERYBODY = np.arange(200)


def simulate(**flags):
    config = dataclasses.replace(_CONFIG, **flags)
    draws = keyed_draws.KeyedDraws(_DATASET.train_user_ids, config.seed)
    return client_simulation.create_simulation(config, _DATASET, draws)


def test_a_fixed_part_of_the_users_attacks_and_the_seed_chooses_them():
    attack = {"attack": "nan", "attack_fraction": 0.15}
    first = simulate(**attack).is_attacker
    assert first.sum() == 30
    np.testing.assert_array_equal(first, simulate(**attack).is_attacker)
    assert (first != simulate(**attack, seed=1).is_attacker).any()
    assert simulate(attack="nan", attack_fraction=1e-6).is_attacker.sum() == 1
    assert simulate(failure="dropout").is_attacker.sum() == 0
    assert simulate() is None


def test_under_differential_privacy_each_user_attacks_by_a_coin():
    private = {"attack": "nan", "attack_fraction": 0.15, "target_epsilon": 8.0}
    counts = [simulate(**private, seed=s).is_attacker.sum() for s in range(40)]
    # 8,000 coins; 5 standard deviations of their mean, and not one number for all.
    assert np.mean(counts) == pytest.approx(30, abs=5 * (200 * 0.15 * 0.85 / 40) ** 0.5)
    assert len(set(counts)) > 5
    assert simulate(attack="nan", attack_fraction=1e-6, target_epsilon=8.0).is_attacker.sum() == 0


def test_the_target_is_found_by_its_id_or_the_seed_chooses_a_cold_one():
    ids = _DATASET.interactions.item_ids
    named = simulate(attack="target_promotion", attack_target_item=str(ids[17]))
    assert named.attack.targets == (17,)
    chosen = {simulate(attack="target_promotion", seed=s).attack.targets for s in range(8)}
    assert len(chosen) > 2
    counts = np.bincount(_DATASET.split.train.items, minlength=60)
    taken = np.sort(counts[counts > 0])
    # A tenth of the items that are taken at all.
    limit = taken[-(-len(taken) // 10) - 1]
    assert all(0 < counts[target] <= limit for (target,) in chosen)
    three = simulate(attack="target_promotion", attack_num_targets=3).attack.targets
    assert len(set(three)) == 3
    assert three == simulate(attack="target_promotion", attack_num_targets=3).attack.targets
    with pytest.raises(errors.UserError, match="--attack_target_item=unheard-of"):
        simulate(attack="target_promotion", attack_target_item="unheard-of")
    with pytest.raises(errors.UserError, match="--attack_num_targets=30: there are 6 items"):
        simulate(attack="target_promotion", attack_num_targets=30)


def test_under_differential_privacy_the_seed_chooses_the_target_among_all_items():
    private = {"attack": "target_promotion", "target_epsilon": 8.0}
    chosen = [simulate(**private, seed=s).attack.targets[0] for s in range(40)]
    counts = np.bincount(_DATASET.split.train.items, minlength=60)
    # The chance that none of 40 is in the more popular half is 2**-40.
    assert max(counts[chosen]) > np.median(counts)


def test_a_promotion_knows_what_its_paper_gives_it():
    mined = simulate(attack="pieck_uea", attack_scale=2.0, attack_num_popular=7).attack.promotion
    assert (mined.num_popular, mined.aim.scale) == (7, 2.0)
    assert mined.aim.learning_rate == _CONFIG.client_learning_rate
    classes = simulate(attack="pipattack").attack.promotion.popularity_class
    counts = np.bincount(_DATASET.split.train.items, minlength=60)
    assert np.bincount(classes).tolist() == [6, 27, 27]
    assert counts[classes == 0].min() >= counts[classes == 1].max()
    assert counts[classes == 1].min() >= counts[classes == 2].max()
    known = simulate(attack="fedrecattack", attack_num_rows=9).attack.promotion
    assert known.num_rows == 9
    assert simulate(attack="fedrecattack", num_negatives=8).attack.promotion.num_rows == 8
    with pytest.raises(errors.UserError, match="attackers know nothing"):
        simulate(attack="fedrecattack", attack_public_fraction=1e-9)


def test_public_interactions_are_drawn_for_each_user_alone():
    train = _DATASET.split.train
    draws = keyed_draws.KeyedDraws(_DATASET.train_user_ids, 3)
    public = attack_knowledge.draw_public(train, 0.3, draws)
    # 200 users: the share of all interactions is known to less than 0.01; 4 of that.
    assert len(public.items) / len(train.items) == pytest.approx(0.3, abs=0.04)
    assert public.lengths.min() >= 1
    # Without the first user all others show what they showed.
    others = np.arange(1, 200)
    fewer = attack_knowledge.draw_public(train.take(others), 0.3, draws.take(others))
    shown = [tuple(fewer.row(i)) for i in range(fewer.num_rows)]
    assert shown == [tuple(public.row(i)) for i in range(public.num_rows)][-len(shown) :]
    assert public.num_rows - fewer.num_rows in (0, 1)
    # Each is a part of what one user took, oldest first.
    for row in range(fewer.num_rows):
        shown = list(fewer.row(row))
        assert any([i for i in train.row(u) if i in shown] == shown for u in range(1, 200))


def test_attackers_reckon_with_a_thousand_users_at_most():
    train = sequences.from_rows([[user % 5] for user in range(1100)])
    draws = keyed_draws.KeyedDraws([str(user) for user in range(1100)], 3)
    public = attack_knowledge.draw_public(train, 1.0, draws)
    assert public.num_rows == 1000
    # Whom the draw leaves out are not the last.
    assert not np.array_equal(public.items, train.items[:1000])


def test_cold_items_are_the_least_taken_of_those_that_are_taken():
    items = np.repeat(np.arange(1, 21), np.arange(20, 0, -1))
    np.testing.assert_array_equal(attack_targets.find_cold_items(items, 30), [20, 19])
    np.testing.assert_array_equal(attack_targets.find_cold_items(np.array([4, 4, 2]), 9), [2])


@pytest.mark.parametrize("failure", ["dropout", "late_dropout"])
def test_those_who_drop_out_are_not_in_the_cohort(failure):
    simulation = simulate(failure=failure, failure_rate=0.3)
    kept = [simulation.keep_available(r, _EVERYBODY) for r in range(50)]
    # 10,000 coins: the share is known to 0.0046; 5 of that.
    assert np.mean([len(rows) for rows in kept]) / 200 == pytest.approx(0.7, abs=0.023)
    np.testing.assert_array_equal(kept[0], simulation.keep_available(0, _EVERYBODY))
    assert set(kept[0]) != set(kept[1])
    few = _EVERYBODY[::-7]
    np.testing.assert_array_equal(simulation.keep_available(0, few), few[np.isin(few, kept[0])])


@pytest.mark.parametrize(("failure", "sign"), [("skewed_heavy", 1.0), ("skewed_light", -1.0)])
def test_skewed_availability_depends_on_how_much_a_user_did(failure, sign):
    simulation = simulate(failure=failure, failure_rate=0.4)
    is_kept = [np.isin(_EVERYBODY, simulation.keep_available(r, _EVERYBODY)) for r in range(200)]
    share = np.mean(is_kept, axis=0)
    assert share.mean() == pytest.approx(0.6, abs=0.02)
    rank = (stats.rankdata(sign * _LENGTHS) - 0.5) / 200
    # 200 coins: each share is known to 0.035 at most; 5 of that.
    np.testing.assert_allclose(share, 1.0 - 0.8 * (1.0 - rank), atol=0.18)


def test_a_cohort_says_of_each_client_what_becomes_of_it():
    simulation = simulate(attack="nan", failure="straggler", failure_rate=0.5)
    population = clients.stack_clients(_DATASET.split.train)
    draws = keyed_draws.KeyedDraws(_DATASET.train_user_ids, 3)
    sampler = sampling.create_sampler(sampling.POISSON, draws, 80.0)
    plain = cohorts.CohortDataSource(population, sampler, draws).iterator()
    marked = cohorts.CohortDataSource(population, sampler, draws, simulation=simulation).iterator()
    assert marked.federated_type.member == simulated_clients.create_simulated_client_type(
        client_work.CLIENT_DATA_TYPE
    )
    num_failed, num_clients = 0, 0
    for round_number in (1, 2, 3):
        rows = sampler.sample(round_number)
        users, same_users = plain.select().unstack(), marked.select().unstack()
        assert len(users) == len(same_users) == len(rows)
        for row, user, same in zip(rows, users, same_users, strict=True):
            np.testing.assert_array_equal(user.item_index, same.data.item_index)
            np.testing.assert_array_equal(user.seed, same.data.seed)
            assert same.is_attacker == simulation.is_attacker[row]
            num_failed += int(same.has_failed)
        num_clients += len(rows)
    assert 0.3 < num_failed / num_clients < 0.7


_PRIVATE = {"target_epsilon": 8.0}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"attack_scale": 3.0}, "--attack_scale means nothing without --attack"),
        ({"failure_rate": 0.5}, "--failure_rate means nothing without --failure"),
        ({"attack": "nan", "attack_scale": 3.0}, "--attack_scale means nothing"),
        ({"attack": "nan", "attack_num_targets": 2}, "--attack_num_targets means nothing"),
        (
            {"attack": "target_promotion", "attack_num_targets": 2, "attack_target_item": "5"},
            "drop one of them",
        ),
        ({"attack": "alie", **_PRIVATE}, "deviation of honest updates, which no noise covers"),
        ({"attack": "pipattack", **_PRIVATE}, "each item was taken, which no noise covers"),
        ({"attack": "fedrecattack", **_PRIVATE}, "interactions of users, which no noise covers"),
        ({"attack": "pieck_ipe", "aggregator": "hierarchical"}, "models at its edges"),
        ({"attack": "pieck_ipe", "attack_num_rows": 9}, "--attack_num_rows means nothing"),
        ({"attack": "pipattack", "attack_num_popular": 9}, "--attack_num_popular means nothing"),
        ({"attack": "pipattack", "attack_num_targets": 9, "num_negatives": 8}, "8 rows at most"),
        ({"attack": "pieck_uea", "item_features": ("genre",)}, "knows of no features"),
        ({"attack": "alie", "aggregator": "hierarchical"}, "models at its edges"),
        ({"failure": "stale", "aggregator": "hierarchical"}, "models at its edges"),
        (
            {
                "attack": "sign_flip",
                "aggregator": "local_gaussian",
                "max_rounds_per_user": 3,
                **_PRIVATE,
            },
            "on the device",
        ),
        ({"failure": "skewed_light", **_PRIVATE}, "accounting does not cover"),
        ({"failure": "dropout", "sampling": "fixed_size", **_PRIVATE}, "changes the law"),
        (
            {
                "failure": "late_dropout",
                "aggregator": "dp_tree",
                "min_separation": 8,
                **_PRIVATE,
            },
            "changes the law",
        ),
    ],
)
def test_what_means_nothing_or_voids_the_guarantee_is_refused(flags, message):
    with pytest.raises(errors.UserError, match=message):
        config_checks.validate(RunConfig(**flags))


@pytest.mark.parametrize(
    "flags",
    [
        {"attack": "sign_flip", "attack_scale": 3.0},
        {"attack": "delta_free_rider"},
        {"attack": "pieck_uea"},
        {"failure": "dropout"},
        {"failure": "straggler", "sampling": "fixed_size"},
        {"failure": "stale", "failure_staleness": 3},
    ],
)
def test_what_the_accounting_covers_is_allowed(flags):
    config_checks.validate(RunConfig(**flags, **_PRIVATE))
