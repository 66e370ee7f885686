"""Which runs may be prolonged, and what becomes of their folders; without training."""

import json

import pytest

from fedrec_tff import errors
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import prolongation, run_directory, whole_files

_ROUNDS = ("rounds",)


@pytest.fixture
def directory(tmp_path):
    """A folder of a run of ten rounds, without results."""
    found = run_directory.RunDirectory(tmp_path)
    _write(found, RunConfig(rounds=10))
    return found


def _write(directory, config):
    flags = run_config.to_flags(config)
    whole_files.write_json(directory.config, {"flags": flags, "derived": {"run_id": "x"}})


def _open(directory, config):
    return run_directory.open_run_directory(
        directory.root,
        run_config.to_flags(config),
        run_directory.FlagLeeway(may_grow=run_config.names_that_may_grow()),
    )


@pytest.mark.parametrize(
    ("before", "after", "grown"),
    [
        ({}, {}, ()),
        ({}, {"rounds": 11}, ("rounds",)),
        ({"time_budget_minutes": 2.0}, {"time_budget_minutes": 3.0}, ("time_budget_minutes",)),
        ({"time_budget_minutes": 2.0}, {}, ("time_budget_minutes",)),
        (
            {"time_budget_minutes": 2.0},
            {"rounds": 20, "time_budget_minutes": 3.0},
            ("rounds", "time_budget_minutes"),
        ),
    ],
)
def test_what_has_grown_is_found(directory, before, after, grown):
    _write(directory, RunConfig(**{"rounds": 10, **before}))
    config = RunConfig(**{"rounds": 10, **after})
    assert prolongation.find_grown(config, _open(directory, config)) == grown


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({}, {"rounds": 9}, r"--rounds=9 \(there: 10\)"),
        ({}, {"time_budget_minutes": 2.0}, r"--time_budget_minutes=2.0 \(there: None\)"),
        (
            {"time_budget_minutes": 2.0},
            {"time_budget_minutes": 1.0},
            r"--time_budget_minutes=1.0 \(there: 2.0\)",
        ),
        ({}, {"rounds": 11, "embedding_dim": 8}, r"configuration: --embedding_dim=8"),
    ],
)
def test_what_is_smaller_or_else_is_another_configuration(directory, before, after, message):
    _write(directory, RunConfig(**{"rounds": 10, **before}))
    with pytest.raises(errors.UserError, match=message):
        _open(directory, RunConfig(**{"rounds": 10, **after}))


def test_a_new_run_has_not_grown(tmp_path):
    assert prolongation.find_grown(RunConfig(), run_directory.RunDirectory(tmp_path)) == ()


_PRIVATE = {"noise_multiplier": 1.0}


@pytest.mark.parametrize(
    ("flags", "objection"),
    [
        ({"server_learning_rate_schedule": "cosine"}, "by --server_learning_rate_schedule the"),
        ({"client_learning_rate_schedule": "linear"}, "by --client_learning_rate_schedule the"),
        ({"target_epsilon": 8.0}, "calibrated so that these cost --target_epsilon=8"),
        (
            {**_PRIVATE, "aggregator": "dp_banded_mf", "min_separation": 5},
            "the noise of dp_banded_mf is planned for all rounds",
        ),
        (
            {**_PRIVATE, "aggregator": "dp_tree", "min_separation": 5},
            "the noise of dp_tree is planned for all rounds",
        ),
        ({**_PRIVATE, "private_evaluation_noise_multiplier": 5.0}, "noised evaluations"),
        (
            {**_PRIVATE, "population_ledger": "users.jsonl", "population_epsilon": 4.0},
            "its population ledger",
        ),
    ],
)
@pytest.mark.parametrize("results", [None, {"rounds": 10, "ended_by": "rounds"}])
def test_a_past_that_rests_on_the_number_of_rounds_is_refused(directory, flags, objection, results):
    config = RunConfig(rounds=20, **flags)
    config_checks.validate(config)
    with pytest.raises(errors.UserError) as caught:
        prolongation.check(config, _ROUNDS, directory, results)
    assert objection in str(caught.value)
    assert "was begun for 10 rounds, and cannot be prolonged" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        _PRIVATE,
        {"server_learning_rate_schedule": "constant", "warmup_rounds": 5},
        {"server_learning_rate_schedule": "inverse_sqrt"},
        {**_PRIVATE, "aggregator": "local_gaussian", "max_rounds_per_user": 2},
    ],
)
def test_a_past_that_is_the_same_may_go_on(directory, flags):
    config = RunConfig(rounds=20, **flags)
    config_checks.validate(config)
    prolongation.check(config, _ROUNDS, directory, None)
    prolongation.check(config, _ROUNDS, directory, {"rounds": 10, "ended_by": "rounds"})
    # Of an earlier version.
    prolongation.check(config, _ROUNDS, directory, {"rounds": 10})


@pytest.mark.parametrize(
    ("ended_by", "grown", "message"),
    [
        ("early_stopping", ("rounds",), "early stopping has ended the run"),
        ("early_stopping", ("rounds", "time_budget_minutes"), "nothing to go on with"),
        ("time_budget", ("rounds",), "by --time_budget_minutes, and goes on with a larger one"),
        ("rounds", ("time_budget_minutes",), "by --rounds, and goes on with a larger one alone"),
        ("time_budget", ("time_budget_minutes",), None),
        ("rounds", ("rounds", "time_budget_minutes"), None),
    ],
)
def test_what_ended_a_run_must_have_grown(directory, ended_by, grown, message):
    results = {"rounds": 10, "ended_by": ended_by}
    if message is None:
        prolongation.check(RunConfig(rounds=20), grown, directory, results)
        return
    with pytest.raises(errors.UserError) as caught:
        prolongation.check(RunConfig(rounds=20), grown, directory, results)
    assert message in str(caught.value)


def test_what_devices_keep_for_a_complete_run_is_not_replaced(directory):
    config = RunConfig(rounds=20, personal_tower="scale_and_shift", personal_state="persistent")
    prolongation.check(config, _ROUNDS, directory, None)
    with pytest.raises(errors.UserError, match="--personal_state=persistent"):
        prolongation.check(config, _ROUNDS, directory, {"rounds": 10, "ended_by": "rounds"})


def test_the_longer_run_has_its_folder_without_the_results_of_the_shorter(directory):
    whole_files.write_json(directory.results, {"rounds": 10})
    before = json.loads(directory.config.read_text())
    prolongation.adopt(RunConfig(rounds=20, device="gpu"), directory)
    assert not directory.results.exists()
    after = json.loads(directory.config.read_text())
    assert after["flags"].pop("rounds") == 20
    assert before["flags"].pop("rounds") == 10
    # What may change from session to session stays as it was begun with.
    assert after == before
