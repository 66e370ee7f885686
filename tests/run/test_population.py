"""Runs on one budget, without the part of a session that needs TensorFlow."""

import dataclasses
import os
import shutil
import sys
import types

import dp_accounting
import numpy as np
import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import sequences
from fedrec_tff.privacy import accounting, departures, mechanisms, population_ledger
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.privacy.population_format import RESERVED, SETTLED
from fedrec_tff.run import population, records, session
from fedrec_tff.run.folder import run_directory, run_identity, whole_files
from fedrec_tff.studies.robustness import config as robustness_config
from fedrec_tff.studies.robustness import study as robustness_study
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep import space as sweep_space

ROUNDS = 20


class CrashError(Exception):
    """In place of the power cut."""


@pytest.fixture
def config(tmp_path):
    """A run whose noise takes a little more than a third of the budget."""
    return RunConfig(
        synthetic_users=40,
        synthetic_items=40,
        clients_per_round=10.0,
        rounds=ROUNDS,
        noise_multiplier=1.5,
        population_ledger=str(tmp_path / "users.jsonl"),
        population_epsilon=8.0,
    )


class Training:
    """Trains as `federated_run` does, as far as ledgers see it.

    Attributes:
      rounds: Number of rounds of this session after which it stops; None for none.
      redo: Number of rounds in the ledger that are executed again.
      releases: Names of what is released before the first round.
      error: Error that the session ends with.
    """

    def __init__(self):
        self.rounds = None
        self.redo = 0
        self.releases = ()
        self.error = None

    def execute(self, opened):
        parts = (opened.directory, opened.config, opened.plan, opened.identity, opened.reservation)
        with run_identity.open_ledger(*parts) as ledger:
            for name in self.releases:
                ledger.append_release(name)
            first = ledger.last_round + 1 - self.redo
            last = ROUNDS if self.rounds is None else first + self.rounds - 1
            done = first - 1
            for number in range(first, last + 1):
                if not ledger.may_execute(number, opened.config.target_epsilon):
                    break
                ledger.append(number)
                done = number
        if self.error is not None:
            raise self.error
        if self.rounds is not None:
            return records.SessionOutcome(None, done)
        results = {"rounds": done}
        whole_files.write_json(opened.directory.results, results)
        return records.SessionOutcome(results, done)


@pytest.fixture(autouse=True)
def training(monkeypatch):
    training = Training()
    module = types.SimpleNamespace(execute=training.execute)
    monkeypatch.setitem(sys.modules, "fedrec_tff.run.federated_run", module)
    monkeypatch.setattr("fedrec_tff.run.federated_run", module, raising=False)
    return training


def read(config):
    return population_ledger.read_population(config.population_ledger)


def entries(config):
    return [(entry.state, dict(entry.events)) for entry in read(config).entries]


def unit(config):
    mechanism = mechanisms.Mechanism("dp_gaussian", config.noise_multiplier, 0.5, 40, 10)
    return mechanisms.unit_event(mechanism)


def test_a_run_reserves_what_it_plans_and_settles_what_it_spent(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    assert entries(config) == [(RESERVED, {unit(config): ROUNDS})]
    contents = read(config)
    # The first run has begun the ledger: its people are named by the file.
    assert contents.header.population == "users"
    assert (contents.header.budget.epsilon, contents.header.budget.delta) == (8.0, 1e-5)
    training.rounds = None
    session.run(config, tmp_path / "a")
    assert entries(config) == [(SETTLED, {unit(config): ROUNDS})]
    (entry,) = read(config).entries
    assert (
        entry.ledger_digest
        == ledger_lib.read_ledger(tmp_path / "a" / "privacy_ledger.jsonl").digest
    )
    # A complete run is asked for again: nothing changes.
    before = read(config)
    session.run(config, tmp_path / "a")
    assert read(config) == before


def test_a_run_that_would_pass_the_budget_takes_no_folder(config, tmp_path):
    for name in "ab":
        session.run(config, tmp_path / name)
    before = read(config)
    with pytest.raises(errors.UserError, match=r"of the budget of 'users'.* is spent or reserved"):
        session.run(config, tmp_path / "c")
    assert read(config) == before
    assert {path.name for path in (tmp_path / "c").iterdir()} <= {".lock"}
    # Less of it fits, in the same folder.
    session.run(dataclasses.replace(config, noise_multiplier=20.0), tmp_path / "c")
    assert len(read(config).entries) == 3


def test_a_crash_between_configuration_and_reservation_loses_nothing(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(population, "join", _crash)
        with pytest.raises(CrashError):
            session.run(config, tmp_path / "a")
    assert read(config).entries == ()
    session.run(config, tmp_path / "a")
    assert entries(config) == [(SETTLED, {unit(config): ROUNDS})]


def test_a_crash_between_reservation_and_spending_keeps_the_room(config, training, tmp_path):
    training.rounds = 0
    session.run(config, tmp_path / "a")
    assert entries(config) == [(RESERVED, {unit(config): ROUNDS})]
    training.rounds = None
    session.run(config, tmp_path / "b")
    with pytest.raises(errors.UserError, match="of the budget"):
        session.run(config, tmp_path / "c")
    session.run(config, tmp_path / "a")
    assert [state for state, _ in entries(config)] == [SETTLED, SETTLED]


def test_a_crash_before_settling_is_made_up_for(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(population, "settle", _crash)
        with pytest.raises(CrashError):
            session.run(config, tmp_path / "a")
    assert entries(config)[0][0] == RESERVED
    session.run(config, tmp_path / "a")
    assert entries(config)[0][0] == SETTLED


def _crash(*args):
    raise CrashError


def test_rounds_that_are_executed_again_are_asked_for(config, training, tmp_path):
    training.rounds = 15
    session.run(config, tmp_path / "a")
    training.rounds, training.redo = None, 5
    session.run(config, tmp_path / "a")
    (entry,) = read(config).entries
    spent = ledger_lib.read_ledger(tmp_path / "a" / "privacy_ledger.jsonl").spent_events()
    # Ten rounds once each, five twice, five once each.
    assert sorted(count for _, count in spent) == [5, 15]
    assert dict(entry.events) == dict(spent)


def take_nearly_all(config):
    """Something else takes nearly all that is left."""
    contents = read(config)
    budget = contents.header.budget

    def fill(multiplier):
        noise = [(dp_accounting.GaussianDpEvent(multiplier), 1)]
        return noise, budget.share([*contents.costs(), budget.cost(noise)])

    noise = next(noise for z in np.arange(0.5, 9.0, 0.01) for noise, s in [fill(z)] if s < 0.98)
    population.charge(
        config.population, population.AUDIT, "x", "noise", noise, budget.relation, departures.NONE
    )


def test_a_run_ends_where_the_budget_has_no_room_for_a_round_again(config, training, tmp_path):
    training.rounds = 15
    session.run(config, tmp_path / "a")
    training.rounds = None
    take_nearly_all(config)
    training.redo = 10
    outcome = session.run(config, tmp_path / "a")
    assert 5 < outcome.rounds < ROUNDS
    contents = read(config)
    assert contents.header.budget.share(contents.costs()) <= 1.0
    (entry,) = (e for e in contents.entries if e.folder.endswith("/a"))
    spent = ledger_lib.read_ledger(tmp_path / "a" / "privacy_ledger.jsonl").spent_events()
    assert (entry.state, dict(entry.events)) == (SETTLED, dict(spent))


def test_a_run_goes_on_with_what_it_holds_where_more_has_no_room(config, training, tmp_path):
    training.rounds = 15
    session.run(config, tmp_path / "a")
    (held,) = read(config).entries
    # Some rounds are executed again, within what is reserved, and there is room for little more.
    take_nearly_all(config)
    training.rounds, training.redo = 3, 3
    session.run(config, tmp_path / "a")
    assert read(config).find(held.run_id).events == held.events
    training.rounds, training.redo = 0, 0
    session.run(config, tmp_path / "a")
    assert read(config).find(held.run_id).events == held.events
    training.rounds = None
    outcome = session.run(config, tmp_path / "a")
    assert 15 < outcome.rounds < ROUNDS
    contents = read(config)
    spent = ledger_lib.read_ledger(tmp_path / "a" / "privacy_ledger.jsonl").spent_events()
    assert dict(contents.find(held.run_id).events) == dict(spent)
    assert contents.header.budget.share(contents.costs()) <= 1.0


def test_an_older_state_of_a_run_is_refused(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    path = tmp_path / "a" / "privacy_ledger.jsonl"
    older = path.read_bytes()
    session.run(config, tmp_path / "a")
    training.rounds = 3
    session.run(config, tmp_path / "a")
    # Put back in the same file, which the run's own ledger cannot tell.
    path.write_bytes(older)
    with pytest.raises(errors.UserError, match=r"older state of a run that went on in .*/a"):
        session.run(config, tmp_path / "a")


def test_copies_get_no_part_of_the_budget(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    before = read(config)
    with pytest.raises(errors.UserError, match="is a copy"):
        session.run(config, tmp_path / "copy")
    with pytest.raises(errors.UserError, match="--resume_copy: nobody knows what another copy"):
        config_checks.validate(dataclasses.replace(config, resume_copy=True))
    assert read(config) == before
    session.run(config, tmp_path / "a")


def test_the_population_ledger_stays_the_runs_own(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    other = dataclasses.replace(config, population_ledger=str(tmp_path / "others.jsonl"))
    without = dataclasses.replace(config, population_ledger=None, population_epsilon=None)
    for wrong in (other, without):
        with pytest.raises(errors.UserError, match="is not the one that the run in"):
            session.run(wrong, tmp_path / "a")
    session.run(without, tmp_path / "b")
    with pytest.raises(errors.UserError, match="is not the one that the run in"):
        session.run(config, tmp_path / "b")
    # It may be moved, and needs no budget named again.
    os.rename(config.population_ledger, tmp_path / "moved.jsonl")
    moved = dataclasses.replace(
        config, population_ledger=str(tmp_path / "moved.jsonl"), population_epsilon=None
    )
    session.run(moved, tmp_path / "a")


def test_a_population_ledger_that_was_begun_again_is_not_the_runs_own(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    os.remove(config.population_ledger)
    session.run(config, tmp_path / "b")
    with pytest.raises(errors.UserError, match="is not the one that the run in"):
        session.run(config, tmp_path / "a")


def test_a_run_writes_down_what_its_epsilon_assumes(config, tmp_path):
    session.run(config, tmp_path / "a")
    (entry,) = read(config).entries
    assert entry.voided_by == ()
    assert set(entry.assumes) == {"trusted_server", "secret_cohorts", "users_from_data"}
    relation, said = read(config).header.budget.relation, some_departures()
    population.charge(config.population, population.AUDIT, "x", "noise", [], relation, said)
    _, charged = read(config).entries
    assert charged.voided_by == ("seeded_cohorts",)
    assert charged.assumes == ("trusted_server", "edges")


def some_departures():
    return departures.find_departures(
        departures.Choices(
            "dp_gaussian",
            has_secret_cohorts=False,
            catalogue_kind="table",
            has_public_roster=True,
            has_edges=True,
        )
    )


def test_one_budget_for_good(config, tmp_path):
    missing = dataclasses.replace(config, population_epsilon=None)
    with pytest.raises(
        errors.UserError, match="there is none; begin one with --population_epsilon"
    ):
        session.run(missing, tmp_path / "a")
    session.run(config, tmp_path / "a")
    with pytest.raises(errors.UserError, match=r"--population_epsilon=9: .* was begun with 8"):
        session.run(dataclasses.replace(config, population_epsilon=9.0), tmp_path / "b")


def test_an_interrupted_run_is_settled_by_hand_and_reserves_again(config, training, tmp_path):
    training.rounds = 5
    session.run(config, tmp_path / "a")
    directory = run_directory.RunDirectory(tmp_path / "a")
    population.settle(config.population_ledger, directory)
    assert entries(config) == [(SETTLED, {unit(config): 5})]
    training.rounds = None
    session.run(config, tmp_path / "a")
    assert entries(config) == [(SETTLED, {unit(config): ROUNDS})]


def test_what_was_executed_again_is_reserved_with_the_rounds_that_are_missing(
    config, training, tmp_path
):
    training.rounds = 15
    session.run(config, tmp_path / "a")
    training.rounds, training.redo = 12, 12
    session.run(config, tmp_path / "a")
    directory = run_directory.RunDirectory(tmp_path / "a")
    population.settle(config.population_ledger, directory)
    spent = dict(ledger_lib.read_ledger(directory.ledger).spent_events())
    training.rounds, training.redo = 0, 0
    session.run(config, tmp_path / "a")
    # Three rounds once, twelve twice, five yet to come.
    assert spent[unit(config)] == 3
    assert entries(config) == [(RESERVED, {**spent, unit(config): 3 + 5})]


def test_a_reservation_holds_the_delta_of_what_was_released_again(config, training, tmp_path):
    config = dataclasses.replace(
        config, catalogue="selected", catalogue_noise_multiplier=20.0, catalogue_delta=1e-6
    )
    training.releases, training.rounds = ("catalogue", "catalogue"), 1
    session.run(config, tmp_path / "a")
    directory = run_directory.RunDirectory(tmp_path / "a")
    population.settle(config.population_ledger, directory)
    training.releases, training.rounds = (), 0
    session.run(config, tmp_path / "a")
    contents = read(config)
    (entry,) = contents.entries
    assert (unit(config), ROUNDS) in entry.events
    spent = ledger_lib.read_ledger(directory.ledger).spent_events()
    assert contents.failures() >= accounting.failure_probability(spent) > 1.9e-6
    budget = contents.header.budget
    for held, part in zip(contents.cost(entry), budget.cost(spent), strict=True):
        assert held > part


@pytest.mark.parametrize("rounds", [0, 5])
def test_a_run_that_fails_keeps_what_it_spent_and_frees_the_rest(
    config, training, tmp_path, rounds
):
    training.rounds = rounds
    training.error = errors.DivergedError("a model that scores nothing")
    # There is room for two whole ones.
    for name in "abc":
        with pytest.raises(errors.DivergedError, match="scores nothing"):
            session.run(config, tmp_path / name)
    spent = {unit(config): rounds} if rounds else {}
    assert {(state, *events.items()) for state, events in entries(config)} == {
        (SETTLED, *spent.items())
    }
    # Resumed, it reserves all that it needs again.
    training.rounds, training.error = 1, None
    session.run(config, tmp_path / "a")
    assert entries(config)[0] == (RESERVED, {unit(config): ROUNDS})
    training.rounds = None
    session.run(config, tmp_path / "a")
    assert entries(config)[0] == (SETTLED, {unit(config): ROUNDS})


def test_a_bug_frees_nothing(config, training, tmp_path):
    training.rounds, training.error = 5, CrashError()
    with pytest.raises(CrashError):
        session.run(config, tmp_path / "a")
    assert entries(config) == [(RESERVED, {unit(config): ROUNDS})]


def test_what_ended_a_run_is_told_though_it_cannot_be_settled(
    config, training, tmp_path, monkeypatch, capsys
):
    def refuse(*args):
        raise errors.UserError("no disk")

    monkeypatch.setattr(population, "settle", refuse)
    training.error = errors.UserError("no device")
    with pytest.raises(errors.UserError, match="no device"):
        session.run(config, tmp_path / "a")
    assert "the run keeps what it reserved: no disk" in capsys.readouterr().err
    assert entries(config)[0][0] == RESERVED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"noise_multiplier": None}, "is not private, so no budget is enough"),
        ({"insecure_deterministic_noise": True}, "--insecure_deterministic_noise"),
        ({"insecure_seeded_cohorts": True}, "--insecure_seeded_cohorts"),
        ({"noise_cohort_size": 100.0, "noise_population_size": 9000}, "larger deployment"),
    ],
)
def test_what_has_no_epsilon_of_these_users_is_refused(config, change, said):
    with pytest.raises(errors.UserError, match=f"--population_ledger: .*{said}"):
        config_checks.validate(dataclasses.replace(config, **change))


def test_no_noise_is_refused_by_the_budget(config, tmp_path):
    with pytest.raises(errors.UserError, match="of the budget of 'users'"):
        session.run(dataclasses.replace(config, noise_multiplier=0.0), tmp_path / "a")


def test_a_budget_without_a_ledger_means_nothing(config):
    with pytest.raises(errors.UserError, match="--population_epsilon means nothing without"):
        config_checks.validate(dataclasses.replace(config, population_ledger=None))


def test_what_keeps_no_ledger_is_charged_for_good(config):
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    events = [(unit(config), ROUNDS)]
    for _ in range(2):
        population.charge(
            config.population, population.AUDIT, "x", "noise", events, relation, departures.NONE
        )
    assert [state for state, _ in entries(config)] == [SETTLED, SETTLED]
    with pytest.raises(errors.UserError, match="of the budget"):
        population.charge(
            config.population, population.AUDIT, "x", "noise", events, relation, departures.NONE
        )
    assert len(read(config).entries) == 2


def load_made_up(config):
    """40 users, 40 items."""
    train = sequences.Sequences(np.zeros(40, np.int32), np.arange(41))
    split = types.SimpleNamespace(train=train, num_items=40)
    return types.SimpleNamespace(split=split)


@pytest.mark.parametrize(("values", "fits"), [("0.1,0.2", True), ("0.1,0.2,0.3", False)])
def test_a_sweep_is_refused_as_a_whole_before_it_begins(config, values, fits):
    sweep = sweep_config.SweepConfig(
        base=config, dimensions=sweep_space.parse([f"client_learning_rate={values}"])
    )
    planner = sweep_costs.Planner(load_made_up)
    if fits:
        sweep_costs.check_population(sweep, planner)
    else:
        with pytest.raises(errors.UserError, match="of the budget of 'users'"):
            sweep_costs.check_population(sweep, planner)
    # Nothing is taken yet: each run takes its own.
    assert read(config).entries == ()


def test_a_robustness_study_is_refused_as_a_whole_before_it_begins(config, tmp_path):
    root = tmp_path / "study"
    cells = robustness_config.create_cells(config, ("dp_gaussian",), ("sign_flip", "scaling"))
    with pytest.raises(errors.UserError, match="of the budget of 'users'"):
        robustness_study.run(cells, root)
    assert list((root / "cells").iterdir()) == []
    assert read(config).entries == ()
    dataset = load_made_up(config)
    robustness_study._check_population(cells[:2], root, dataset)
    # A study that was begun has taken its part.
    session.run(cells[0].config, root / cells[0].folder)
    robustness_study._check_population(cells, root, dataset)
