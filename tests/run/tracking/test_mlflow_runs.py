"""MLflow in a folder of files; skipped where the package is not installed."""

import asyncio

import pytest

from fedrec_tff.run.tracking import mlflow_runs
from fedrec_tff.run.tracking.reported_run import ReportedRun


def test_names_are_those_that_mlflow_allows():
    assert mlflow_runs.name_metric("non_private/validation/recall@10") == (
        "non_private/validation/recall_at_10"
    )
    assert mlflow_runs.name_metric("aggregator/a(b)") == "aggregator/a_b_"


def test_a_resumed_run_is_one_run_with_each_round_once(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    run = ReportedRun("mine", "abc123", tmp_path, {"rounds": 3, "model": None}, is_private=False)
    for rounds in ((1, 2), (2, 3)):
        manager = mlflow_runs.build(run, "experiment")
        for number in rounds:
            asyncio.run(manager.release({"validation/recall@10": number / 8}, number))
        manager.close()
    manager = mlflow_runs.build(run, "experiment")
    asyncio.run(manager.release({"test/recall@10": 0.5}, 3))
    manager.close()
    client = mlflow.MlflowClient(tmp_path.as_uri())
    experiment = client.get_experiment_by_name("experiment").experiment_id
    (found,) = client.search_runs([experiment])
    assert (found.info.run_name, found.info.status) == ("mine", "FINISHED")
    assert found.data.params == {"rounds": "3", "model": "None"}
    history = client.get_metric_history(found.info.run_id, "validation/recall_at_10")
    assert [(m.step, m.value) for m in history] == [(1, 0.125), (2, 0.25), (3, 0.375)]
    assert found.data.metrics["test/recall_at_10"] == 0.5
    # Neither the user nor the program is told.
    assert {key for key in found.data.tags if "user" in key or "source" in key} == set()
