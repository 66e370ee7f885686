"""Audits from flags: what is said, when a budget over runs is charged, and for whom is drawn."""

import dataclasses
import pathlib

import adjacent_faults
import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import population_ledger
from fedrec_tff.run import cohorts, data, population, user_draws
from fedrec_tff.studies.audit import adjacent_audit, canary_audit, membership_audit
from fedrec_tff.studies.audit import config as audit_config
from fedrec_tff.studies.audit import session as audit_session

_ATTACKS = {
    attack: audit_config.AuditConfig(
        attack=attack,
        num_canaries=100
        if attack == audit_config.CANARY
        else audit_config.AuditConfig.num_canaries,
    )
    for attack in audit_config.ATTACKS
}
_KEY = 0x5EC2E7


class ChargedError(Exception):
    """In place of a charge: nothing comes after it."""


@pytest.fixture
def config(tmp_path):
    """A run on a budget that is large enough for every attack."""
    return dataclasses.replace(
        adjacent_faults.CONFIG,
        synthetic_users=200,
        noise_multiplier=3.0,
        target_delta=1e-3,
        population_ledger=str(tmp_path / "people.jsonl"),
        population_epsilon=100.0,
    )


def kinds_charged(config):
    path = pathlib.Path(config.population_ledger)
    if not path.exists():
        return []
    return [entry.kind for entry in population_ledger.read_population(path).entries]


def run(config, attack, tmp_path):
    return audit_session.run(config, _ATTACKS[attack], tmp_path / "audit")


# Charges.


@pytest.mark.parametrize("attack", audit_config.ATTACKS)
def test_a_wrong_parameter_is_told_before_the_budget_is_charged(config, attack, tmp_path):
    wrong = {"aggregator": "quantize,dp_gaussian", "aggregator_param": ("bits=99",)}
    with pytest.raises(errors.UserError, match="bits=99"):
        run(dataclasses.replace(config, **wrong), attack, tmp_path)
    assert kinds_charged(config) == []


@pytest.mark.parametrize("attack", audit_config.ATTACKS)
def test_the_budget_is_charged_before_anybody_trains(config, attack, tmp_path, monkeypatch):
    def charge(config, kind, *args):
        honest(config, kind, *args)
        raise ChargedError

    honest = population.charge
    monkeypatch.setattr(population, "charge", charge)
    # Nobody can be drawn, nor compared with anybody.
    monkeypatch.setattr(cohorts.CohortDataSource, "iterator", lambda self: None)
    monkeypatch.setattr(adjacent_audit, "compare", None)
    with pytest.raises(ChargedError):
        run(config, attack, tmp_path)
    assert kinds_charged(config) == [population.AUDIT]


def test_more_rounds_than_weights_are_told_before_anything_is_charged(config, tmp_path):
    many = dataclasses.replace(config, rounds=100_000)
    with pytest.raises(errors.UserError, match="--rounds=100000: an audit tells"):
        run(many, audit_config.CANARY, tmp_path)
    assert kinds_charged(config) == []


def test_no_room_is_told_before_anything_is_prepared(config, tmp_path, monkeypatch):
    monkeypatch.setattr(canary_audit, "run", None)
    poor = dataclasses.replace(config, population_epsilon=0.01)
    with pytest.raises(errors.UserError, match="of the budget"):
        run(poor, audit_config.CANARY, tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("ann", 4)], "no two users"),
        # One item to train on each, and others for the test.
        ([("ann", 1), ("bob", 1), ("cyd", 1)], "nothing to evaluate"),
    ],
)
def test_data_that_give_no_pair_are_told_in_a_line(config, tmp_path, rows, said):
    for name, first in (("train", 0), ("test", 10)):
        lines = [
            " ".join(map(str, [user, *range(first, first + count)]))
            for user, (_, count) in enumerate(rows)
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    published = dataclasses.replace(
        config,
        dataset="adjacency",
        data_dir=str(tmp_path),
        split="published",
        max_interactions_per_user=None,
        clients_per_round=1.0,
        population_ledger=None,
        population_epsilon=None,
    )
    with pytest.raises(errors.UserError, match=said):
        run(published, audit_config.ADJACENT, tmp_path)


@pytest.mark.parametrize("attack", audit_config.ATTACKS)
def test_what_cannot_train_is_told_before_the_budget_is_charged(config, attack, tmp_path):
    # The norm of an update is not finite, for everybody.
    too_fast = dataclasses.replace(config, client_learning_rate=1e30)
    with pytest.raises(errors.DivergedError, match="lower --client_learning_rate") as raised:
        run(too_fast, attack, tmp_path)
    assert "checkpoint" not in str(raised.value)
    assert kinds_charged(config) == []


# Draws.


def test_canaries_and_users_are_drawn_for_by_id_from_the_key(config, tmp_path, monkeypatch):
    def stop(config, audit, split, parts, *args):
        seen.append(parts)
        raise ChargedError

    seen = []
    monkeypatch.setattr(population, "draw_key", lambda config: _KEY)
    monkeypatch.setattr(canary_audit, "run", stop)
    with pytest.raises(ChargedError):
        run(config, audit_config.CANARY, tmp_path)
    ids = data.load_data(config).train_user_ids
    of_users = keyed_draws.KeyedDraws(ids, _KEY)
    drawn = seen[0].draws.blocks("client")
    assert len(drawn) == len(np.unique(drawn, axis=0)) == len(ids) + 100
    np.testing.assert_array_equal(drawn[: len(ids)], of_users.blocks("client"))
    # The same draws decide who is in a round.
    drawn_cohorts = [seen[0].plan.sampler.sample(t) for t in range(1, 51)]
    without = canary_audit.create_parts(
        config, seen[0].plan, user_draws.draw_with_canaries(ids[1:], 100, _KEY)
    )
    for number, cohort in enumerate(drawn_cohorts, 1):
        others = without.plan.sampler.sample(number) + 1
        # Coins: one user less leaves all others where they were, but for the probability.
        assert set(cohort) - {0} <= set(others)


def test_halves_are_halves_and_go_by_id():
    ids = np.array([f"user {i}" for i in range(11)], object)
    halves = membership_audit.draw_halves(keyed_draws.KeyedDraws(ids, 7), 4)
    assert [half.sum() for half in halves] == [5, 5, 6, 5, 6]
    np.testing.assert_array_equal(halves[2], ~halves[1])
    assert len({half.tobytes() for half in halves}) == 5
    order = np.random.default_rng(0).permutation(11)
    shuffled = membership_audit.draw_halves(keyed_draws.KeyedDraws(ids[order], 7), 4)
    for half, other in zip(halves, shuffled, strict=True):
        assert set(ids[half]) == set(ids[order][other])


# What is said.


def test_exact_counts_of_a_private_run_are_not_said(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(canary_audit, "run", None)
    with pytest.raises(TypeError):
        run(config, audit_config.CANARY, tmp_path)
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("synthetic: 200 training users")
    assert f"{data.load_data(config).interactions.num_interactions:,}" not in said
