"""A run in MLflow, by its client: nothing is gathered but what is handed over."""

import re
import time
from collections.abc import Mapping
from typing import Any

import tensorflow_federated as tff

from fedrec_tff.run.tracking.reported_run import ReportedRun

_RUN_ID, _LAST_ROUND = "fedrec_tff.run_id", "fedrec_tff.last_round"
_MOST_CHARACTERS = 500


class MlflowReleaseManager(tff.program.ReleaseManager):
    """Logs each round as a step; rounds that are computed again are there once."""

    def __init__(self, client: Any, run_id: str) -> None:
        """Logs to a run.

        Args:
          client: An `mlflow.MlflowClient`.
          run_id: MLflow's id of the run.
        """
        self._client, self._run_id = client, run_id
        data = client.get_run(run_id).data
        self._known = set(data.metrics)
        self._last = int(data.tags.get(_LAST_ROUND, 0))

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Logs a round.

        Args:
          value: Metrics by name.
          key: Number of the round.
        """
        from mlflow import entities

        now = int(time.time() * 1000)
        metrics = [
            entities.Metric(name_metric(name), float(number), now, key)
            for name, number in value.items()
            if key > self._last or name_metric(name) not in self._known
        ]
        tag = entities.RunTag(_LAST_ROUND, str(max(key, self._last)))
        self._client.log_batch(self._run_id, metrics=metrics, tags=[tag])

    def close(self) -> None:
        """Says that nothing more comes."""
        self._client.set_terminated(self._run_id)


def build(run: ReportedRun, experiment: str) -> MlflowReleaseManager:
    """Begins a run, or goes on with it.

    Args:
      run: The run to report.
      experiment: Name of the experiment; made if it is new.

    Returns:
      Its manager.
    """
    import mlflow
    from mlflow import entities

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if found is None else found.experiment_id
    runs = client.search_runs([place], f"tags.`{_RUN_ID}` = '{run.run_id}'", max_results=1)
    if runs:
        run_id = runs[0].info.run_id
        client.update_run(run_id, status="RUNNING")
        return MlflowReleaseManager(client, run_id)
    tracked = client.create_run(place, tags={_RUN_ID: run.run_id}, run_name=run.name)
    values = [
        entities.Param(name, str(value)[:_MOST_CHARACTERS]) for name, value in run.flags.items()
    ]
    client.log_batch(tracked.info.run_id, params=values)
    return MlflowReleaseManager(client, tracked.info.run_id)


def name_metric(name: str) -> str:
    """A metric's name as MLflow allows it: `recall_at_10` for `recall@10`."""
    return re.sub(r"[^/\w.\- :]", "_", name.replace("@", "_at_"))
