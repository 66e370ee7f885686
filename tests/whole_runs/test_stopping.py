"""Runs that release their best model, and runs that end before their last round."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import measurement, session

# Learns fast, then too much: validation rises and falls.
_CONFIG = RunConfig(
    synthetic_users=60,
    synthetic_items=60,
    max_interactions_per_user=10,
    embedding_dim=4,
    num_blocks=0,
    batch_size=0,
    num_negatives=8,
    clients_per_round=20.0,
    execution="debug",
    client_learning_rate=1.0,
    server_learning_rate=0.3,
    rounds=12,
    rounds_per_evaluation=1,
    rounds_per_checkpoint=1,
    averaging_decay=0.5,
    catalogue="table",
)
_EARLY = dataclasses.replace(
    _CONFIG, rounds=40, early_stopping_patience=3, early_stopping_min_delta=0.001
)
_NOISED = dataclasses.replace(
    _EARLY,
    noise_multiplier=0.5,
    private_evaluation_noise_multiplier=1.0,
    insecure_deterministic_noise=True,
)


def _results(folder):
    return json.loads((folder / "results.json").read_text())


def _curve(folder, name):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return {int(row["round"]): float(row[name]) for row in rows if row.get(name)}


def _model(folder):
    with np.load(folder / "model.npz") as arrays:
        return dict(arrays)


def _stops_at(curve, patience, min_delta):
    """The round after which early stopping ends a run, by a plain loop over its evaluations."""
    best, waited = -1.0, 0
    for number, value in curve.items():
        waited += 1
        if value > best + min_delta:
            best, waited = value, 0
        if waited == patience:
            return number
    return None


def _cut(source, target, last_round):
    """What a crash soon after the checkpoint of a round would have left."""
    shutil.copytree(source, target)
    for name in ("results.json", "model.npz"):
        (target / name).unlink()
    for path in (target / "checkpoints").iterdir():
        if int(path.name.removeprefix("program_state_")) > last_round:
            path.unlink()
    return target


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    folder = tmp_path_factory.mktemp("early") / "run"
    session.run(_EARLY, folder)
    return folder


def test_early_stopping_ends_the_run_by_its_own_curve(early):
    curve, results = _curve(early, "validation/ndcg@10"), _results(early)
    assert results["rounds"] == max(curve) == _stops_at(curve, 3, 0.001) < 40
    assert results["ended_by"] == "early_stopping"


def test_the_model_of_the_best_evaluation_is_released(early, tmp_path):
    curve, results = _curve(early, "validation/ndcg@10"), _results(early)
    best = max(curve, key=curve.get)
    assert results["released_round"] == best < results["rounds"]
    assert results["validation/ndcg@10"] == curve[best]
    # It is what a run of so many rounds has in the end.
    shorter = tmp_path / "shorter"
    session.run(dataclasses.replace(_CONFIG, rounds=best), shorter)
    expected = _model(shorter)
    assert _model(early).keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(_model(early)[name], tensor)
    for name, value in _results(shorter).items():
        if name.startswith(("test/", "validation/")):
            assert results[name] == value


@pytest.mark.parametrize("rounds_before", [2, 0])
def test_a_resumed_run_knows_how_long_it_has_waited(early, tmp_path, rounds_before, capfd):
    """Two rounds before its end, and at it, when all but the results was there."""
    rounds = _results(early)["rounds"]
    folder = _cut(early, tmp_path / "run", rounds - rounds_before)
    session.run(_EARLY, folder)
    times = ("seconds", "users_per_second")
    found, expected = (
        {k: v for k, v in _results(f).items() if k not in times} for f in (folder, early)
    )
    assert found == expected
    for name, tensor in _model(early).items():
        np.testing.assert_array_equal(_model(folder)[name], tensor)
    assert _curve(folder, "validation/ndcg@10") == _curve(early, "validation/ndcg@10")
    said = capfd.readouterr().err
    assert f"stopped after round {rounds} of 40: validation ndcg@10 has not improved in" in said
    assert f"released: the model of round {found['released_round']}, the best by" in said


def test_under_differential_privacy_what_was_released_decides(tmp_path, monkeypatch):
    """The releases are made up, so that they and the exact metrics contradict each other."""
    ndcg = iter([0.1, 0.2, 0.5, 0.3, 0.3, 0.3, 0.9])

    def build_made_up(session):
        # Of a hundred users: their number, and the sums of recall, ndcg and mrr.
        return lambda weights: np.array([100.0, 20.0, 100.0 * next(ndcg), 10.0])

    monkeypatch.setattr(measurement, "build_private_evaluate_fn", build_made_up)
    folder = tmp_path / "run"
    session.run(_NOISED, folder)
    results, exact = _results(folder), _curve(folder, "non_private/validation/ndcg@10")
    assert (results["rounds"], results["released_round"]) == (6, 3)
    assert results["private/ndcg@10"] == pytest.approx(0.5, rel=1e-12)
    assert results["non_private/validation/ndcg@10"] == pytest.approx(exact[3], rel=1e-12)
    # Exact validation would have ended it elsewhere, or released another model.
    assert (_stops_at(exact, 3, 0.001), max(exact, key=exact.get)) != (6, 3)
    # Epsilon is of the rounds that were.
    epsilons = _curve(folder, "privacy/insecure_epsilon")
    assert len(epsilons) == 6
    contents = ledger_lib.read_ledger(folder / "privacy_ledger.jsonl")
    assert [e.round_number for e in contents.entries if e.round_number] == [1, 2, 3, 4, 5, 6]
    assert results["insecure_epsilon"] == contents.accountant().epsilon()


def test_time_that_is_used_ends_the_run_with_an_evaluation(tmp_path, capfd):
    folder = tmp_path / "run"
    config = dataclasses.replace(
        _CONFIG, rounds=10**6, rounds_per_evaluation=10**6, time_budget_minutes=1e-6
    )
    session.run(config, folder)
    results = _results(folder)
    assert (results["rounds"], results["ended_by"]) == (1, "time_budget")
    assert list(_curve(folder, "validation/ndcg@10")) == [1]
    assert "stopped after round 1 of 1000000: --time_budget_minutes" in capfd.readouterr().err
    # What was used is in the checkpoint.
    session.run(config, _cut(folder, tmp_path / "again", 1))
    assert _results(tmp_path / "again")["rounds"] == 1
