"""A run in Weights & Biases.

What it would gather by itself (the machine, its load, the console, the code, the repository) is
switched off: it gets the metrics, the flags that differ from their defaults, and a name.
"""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow_federated as tff

from fedrec_tff.run.tracking.reported_run import ReportedRun


class WandbReleaseManager(tff.program.ReleaseManager):
    """Logs each round as a step; rounds that are computed again are there once."""

    def __init__(self, tracked: Any) -> None:
        """Logs to a run of `wandb.init`."""
        self._tracked = tracked

    async def release(self, value: Mapping[str, float], key: int) -> None:
        """Logs a round.

        Args:
          value: Metrics by name.
          key: Number of the round.
        """
        self._tracked.log(dict(value), step=key)

    def close(self) -> None:
        """Finishes the session; what waits is sent."""
        self._tracked.finish()


def build(run: ReportedRun, project: str) -> WandbReleaseManager:
    """Begins a run, or goes on with it.

    Args:
      run: The run to report.
      project: Name of the project.

    Returns:
      Its manager.
    """
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    tracked = wandb.init(
        project=project,
        name=run.name,
        id=run.run_id,
        resume="allow",
        config=dict(run.flags),
        dir=os.environ.get("WANDB_DIR", os.fspath(run.folder)),
        settings=settings,
    )
    return WandbReleaseManager(tracked)
