import dataclasses
import types
import uuid

import numpy as np
import pytest
import sweeps

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.privacy import accounting, ledger, mechanisms, tuning
from fedrec_tff.run import privacy_plan
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep import runs as sweep_runs
from fedrec_tff.studies.sweep import text as sweep_text

ADD = tuning.ADD_OR_REMOVE_ONE
NUM_USERS, NUM_ITEMS = 1000, 50
PRIVATE = {"noise_multiplier": 2.0, "rounds": 20, "clients_per_round": 50.0}
SELECTION = {
    "search": "random",
    "num_trials": 10,
    "trials_distribution": "negative_binomial",
    "objective": "private/recall@10",
}


def load(config):
    del config
    split = types.SimpleNamespace(
        train=types.SimpleNamespace(num_rows=NUM_USERS), num_items=NUM_ITEMS
    )
    return types.SimpleNamespace(split=split)


def create_config(*sweep, flags=None, **kwargs):
    values = {**PRIVATE, **(flags or {})}
    return sweeps.create_config(
        *sweep,
        flags={k: v for k, v in values.items() if k != "rounds"},
        rounds=values["rounds"],
        **kwargs,
    )


def plan_alone(**flags):
    config = RunConfig(**{**PRIVATE, **flags})
    draws = keyed_draws.KeyedDraws(np.arange(NUM_USERS), config.seed)
    return config, privacy_plan.create_plan(
        config, NUM_USERS, config.two_tower.num_weights(NUM_ITEMS), draws=draws
    )


def plan(config, trials):
    return sweep_costs.plan(config, trials, sweep_costs.Planner(load))


def unit(noise_multiplier=2.0):
    _, found = plan_alone(noise_multiplier=noise_multiplier)
    return mechanisms.unit_event(found.mechanism)


def test_a_plan_composes_every_trial_with_every_seed():
    config = create_config("noise_multiplier=1,2", seeds=(0, 1, 2))
    cost = plan(config, [{"noise_multiplier": 1.0}, {"noise_multiplier": 2.0}])
    expected = accounting.epsilon([(unit(1.0), 60), (unit(2.0), 60)], 1e-5, ADD)
    assert cost.kind == "composed"
    assert cost.num_runs == 6
    assert cost.epsilon == pytest.approx(expected)
    assert cost.epsilon > accounting.epsilon([(unit(1.0), 20)], 1e-5, ADD)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({"insecure_seeded_cohorts": True}, "no_claim"),
        ({"insecure_deterministic_noise": True}, "no_claim"),
        ({"noise_cohort_size": 500.0, "noise_population_size": 100_000}, "no_claim"),
        ({"noise_multiplier": 0.0}, "not_private"),
        ({"noise_multiplier": None, "aggregator": "mean"}, "not_private"),
    ],
)
def test_runs_without_a_guarantee_get_none_together(flags, kind):
    config = create_config("client_learning_rate=0.1,0.5", flags=flags)
    cost = plan(config, [{"client_learning_rate": 0.1}])
    assert cost.kind == kind
    assert cost.epsilon is None
    assert "differential privacy for each user" not in sweep_text.describe_cost(cost, config, True)


def test_a_plan_of_tpe_is_told_only_where_it_is_known():
    options = {"search": "tpe", "num_trials": 4}
    known = plan(create_config("client_learning_rate=0.1:1", **options), None)
    expected = accounting.epsilon([(unit(), 80)], 1e-5, ADD)
    assert known.epsilon == pytest.approx(expected)
    assert plan(create_config("noise_multiplier=1:2", **options), None).kind == "unknown"


def begin_run(root, config, trial, values, rounds, is_complete=True):
    """A run's folder with a ledger, as a run that got so far leaves it."""
    run = sweep_runs.SweepRun(trial, 0, config.config_of(values, 0), root)
    run.directory.root.mkdir(parents=True)
    run.directory.config.write_text("{}")
    _, planned = plan_alone(noise_multiplier=run.config.noise_multiplier)
    header = ledger.LedgerHeader(
        uuid.uuid4().hex, planned.mechanism, run.config.target_delta, planned.releases
    )
    with ledger.PrivacyLedger(run.directory.ledger, header, planned.sampler) as opened:
        for number in rounds:
            opened.append(number)
    if is_complete:
        run.directory.results.write_text("{}")
    return run


def test_what_was_spent_is_read_from_all_ledgers(tmp_path):
    config = create_config("noise_multiplier=1,2")
    runs = [
        # One round was computed again: one sample of users, on which the mechanism ran twice.
        begin_run(tmp_path, config, 0, {"noise_multiplier": 1.0}, [1, 2, 3, 3]),
        begin_run(tmp_path, config, 1, {"noise_multiplier": 2.0}, [1]),
    ]
    cost = sweep_costs.spent(config, runs, sweep_costs.Planner(load))
    twice = accounting.repeated_event([unit(1.0)] * 2)
    expected = accounting.epsilon([(unit(1.0), 2), (twice, 1), (unit(2.0), 1)], 1e-5, ADD)
    assert cost.num_runs == 2
    assert cost.epsilon == pytest.approx(expected)


def test_a_trial_that_failed_counts_in_full(tmp_path):
    config = create_config("noise_multiplier=1,2", seeds=(0, 1))
    failed = begin_run(tmp_path, config, 0, {"noise_multiplier": 1.0}, [1], is_complete=False)
    never_made = dataclasses.replace(failed, seed=1)
    refused = sweep_runs.SweepRun(1, 0, config.config_of({"noise_multiplier": 2.0}, 0), tmp_path)
    cost = sweep_costs.spent(config, [failed, never_made, refused], sweep_costs.Planner(load))
    assert cost.num_runs == 2
    assert cost.epsilon == pytest.approx(accounting.epsilon([(unit(1.0), 40)], 1e-5, ADD))


def test_costs_that_follow_from_outcomes_are_added(tmp_path):
    config = create_config("noise_multiplier=1:3", search="tpe", num_trials=2)
    runs = [
        begin_run(tmp_path, config, n, {"noise_multiplier": 2.0}, range(1, 21)) for n in range(2)
    ]
    cost = sweep_costs.spent(config, runs, sweep_costs.Planner(load))
    alone = accounting.epsilon([(unit(), 20)], 1e-5, ADD)
    assert cost.kind == "added"
    assert cost.epsilon == pytest.approx(2 * alone)
    assert cost.delta == pytest.approx(2e-5)


@pytest.fixture(scope="module")
def selection():
    config = create_config(
        "client_learning_rate=0.1:1",
        "noise_multiplier=1,2",
        flags={"private_evaluation_noise_multiplier": 20.0},
        seeds=(0, 1),
        **SELECTION,
    )
    return config, plan(config, [])


def test_selection_costs_what_the_theorem_says_of_the_worst_trial(selection):
    _, cost = selection
    _, planned = plan_alone(noise_multiplier=1.0, private_evaluation_noise_multiplier=20.0)
    (release,) = planned.releases
    # Two seeds of twenty rounds; the noised scores are part of a trial.
    curve = tuning.create_curve([(unit(1.0), 40), (release.event, 2 * release.count)], ADD)
    law = tuning.TrialsDistribution("negative_binomial", 10.0)
    assert cost.kind == "selected"
    assert cost.single_epsilon == pytest.approx(curve.epsilon(1e-5))
    assert cost.epsilon == pytest.approx(tuning.repeat_and_select(curve, law).epsilon(1e-5))


def test_rounds_that_were_computed_again_make_selection_costlier(selection, tmp_path):
    config, cost = selection
    run = begin_run(tmp_path, config, 0, {"noise_multiplier": 1.0}, [*range(1, 21), *[20] * 30])
    found = sweep_costs.spent(
        config, [run, dataclasses.replace(run, seed=1)], sweep_costs.Planner(load)
    )
    assert found.epsilon > cost.epsilon


def test_an_exact_score_gets_no_theorem():
    config = create_config(
        "client_learning_rate=0.1:1", **{**SELECTION, "objective": "validation/recall@10"}
    )
    trials = [{"client_learning_rate": rate} for rate in np.linspace(0.1, 1.0, 3)]
    cost = plan(config, trials)
    text = sweep_text.describe_cost(cost, config, is_planned=False)
    assert cost.kind == "composed"
    assert "choice itself is NOT covered" in text
    assert "makes nothing cheaper" in text


def test_a_cost_says_what_its_epsilon_assumes_whichever_trial_is_best(tmp_path):
    config = create_config("failure=none,dropout")
    trials = [{"failure": None}, {"failure": "dropout"}]
    runs = [
        begin_run(tmp_path, config, 0, trials[0], [1]),
        begin_run(tmp_path, config, 1, trials[1], [1], is_complete=False),
    ]
    planner = sweep_costs.Planner(load)
    costs = (plan(config, trials), plan(config, None), sweep_costs.spent(config, runs, planner))
    for cost in costs:
        assert cost.departures.assumed == [
            *("trusted_server", "secret_cohorts", "users_from_data", "absent_devices")
        ]
        text = sweep_text.describe_cost(cost, config, is_planned=False)
        # Without an epsilon there is nothing that it could assume.
        assert (cost.epsilon is None) == (
            f"this epsilon {cost.departures.summarize()}." not in text
        )
    # A run that never began assumes nothing, unless there is no other.
    never = [sweep_runs.SweepRun(1, 0, config.config_of(trials[1], 0), tmp_path / "x")]
    found = sweep_costs.spent(config, [runs[0], *never], planner)
    assert "absent_devices" not in found.departures.assumed
    found = sweep_costs.spent(config, never, planner)
    assert (found.kind, found.departures) == ("nothing", costs[0].departures)


def test_what_a_selection_assumes_is_told_though_no_trial_was_drawn(selection):
    config, cost = selection
    assert cost.departures.assumed == ["trusted_server", "secret_cohorts", "users_from_data"]
    text = sweep_text.describe_cost(cost, config, is_planned=True)
    assert "this epsilon assumes trusted_server, secret_cohorts" in text


def test_the_statement_never_rounds_down_and_tells_what_is_outside(selection):
    config, cost = selection
    text = sweep_text.describe_cost(
        dataclasses.replace(cost, epsilon=1.23401), config, is_planned=False
    )
    assert "(1.235, 1e-05)" in text
    for part in ("theorem 2", "the table", "their number", "another folder"):
        assert part in text
