"""Tests that a run whose clients can train no more ends, and spends nothing more."""

import csv
import dataclasses

import pytest

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.evaluation import ranking, scoring
from fedrec_tff.execution import compiled
from fedrec_tff.learning import client_work
from fedrec_tff.privacy import ledger
from fedrec_tff.run import (
    client_simulation,
    data,
    divergence,
    privacy_plan,
    run_process,
    session,
    user_draws,
)

_CONFIG = RunConfig(
    synthetic_users=40,
    synthetic_items=200,
    max_interactions_per_user=14,
    embedding_dim=4,
    num_negatives=8,
    clients_per_round=15.0,
    rounds=8,
)
# The norm of an update is not finite, for everybody.
_TOO_FAST = dataclasses.replace(_CONFIG, client_learning_rate=1e30)


def _sums(clients, rejected):
    return client_work.ClientMetrics(0.0, 0.0, clients, rejected, 0.0)


def test_a_private_run_that_cannot_train_spends_nothing(tmp_path):
    config = dataclasses.replace(_TOO_FAST, noise_multiplier=1.0)
    with pytest.raises(errors.DivergedError, match="lower --client_learning_rate"):
        session.run(config, tmp_path / "run")
    assert not ledger.read_ledger(tmp_path / "run" / "privacy_ledger.jsonl").entries


def test_a_run_without_privacy_ends_after_a_few_rounds(tmp_path):
    with pytest.raises(errors.DivergedError, match="in 3 rounds no update was finite"):
        session.run(_TOO_FAST, tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as lines:
        rounds = list(csv.DictReader(lines))
    assert len(rounds) == divergence.PATIENCE
    assert all(r["train/num_rejected_clients"] == r["train/num_clients"] for r in rounds)


def test_one_useful_round_is_enough_to_go_on():
    watch = divergence.Watch(_CONFIG, None)
    for sums in [_sums(5.0, 5.0)] * 2 + [_sums(5.0, 4.0)] + [_sums(3.0, 3.0)] * 2:
        watch.observe(False, sums)
        watch.check_before(None)
    watch.observe(False, _sums(0.0, 0.0))  # nobody came
    watch.check_before(None)


def test_an_aggregate_that_is_not_finite_is_of_no_use_either():
    watch = divergence.Watch(_CONFIG, None)
    for _ in range(divergence.PATIENCE):
        watch.check_before(None)
        watch.observe(True, None)
    with pytest.raises(errors.DivergedError):
        watch.check_before(None)


def test_under_differential_privacy_real_users_decide_nothing():
    config = dataclasses.replace(_CONFIG, noise_multiplier=1.0)
    watch = divergence.Watch(config, lambda state: True)
    for _ in range(2 * divergence.PATIENCE):
        watch.observe(False, _sums(5.0, 5.0))
        watch.check_before(None)


@pytest.mark.parametrize("noise_multiplier", [None, 1.0])
def test_scores_that_are_no_numbers_end_no_private_run(
    tmp_path, monkeypatch, capsys, noise_multiplier
):
    def refuse(*args, **kwargs):
        raise scoring.NotNumbersError

    monkeypatch.setattr(ranking, "evaluate", refuse)
    config = dataclasses.replace(
        _CONFIG, rounds=1, num_blocks=0, noise_multiplier=noise_multiplier, execution="debug"
    )
    if noise_multiplier is None:
        with pytest.raises(errors.DivergedError, match="not numbers"):
            session.run(config, tmp_path / "run")
        return
    outcome = session.run(config, tmp_path / "run")
    assert outcome.rounds == 1
    assert not [name for name in outcome.results if "recall" in name]
    assert "no exact metrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "rates"),
    [
        # With what the server tells clients besides the model, among attackers and failures.
        (
            {"client_learning_rate_schedule": "linear", "attack": "sign_flip", "failure": "stale"},
            (0.5, 1e30),
        ),
        ({"personal_tower": "embedding", "personal_state": "persistent", "batch_size": 0}, (0.5,)),
    ],
)
def test_made_up_users_train_as_real_ones_do(flags, rates):
    for rate in rates:
        config = dataclasses.replace(_CONFIG, num_blocks=0, client_learning_rate=rate, **flags)
        dataset = data.load_data(config)
        draws = user_draws.UserDraws(dataset.train_user_ids, config.seed)
        simulation = client_simulation.create_simulation(config, dataset, draws.public)
        num_items = dataset.split.num_items
        plan = privacy_plan.create_plan(config, dataset.split.train.num_rows, 1)
        process = run_process.build_process(config, num_items, plan, simulation=simulation)
        probe = divergence.build_probe(config, num_items)
        with compiled.CompiledContext().install():
            state = process.initialize()
        assert probe(state) == (rate < 1.0)
