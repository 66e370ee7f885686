"""The trackers of a run: `--report_to` as release managers that follow it to its end.

They get what TensorBoard gets: the metrics of each round and, with the number of the last round,
those that are measured once. `round_metrics` has decided what these are before they come here.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.config import report_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.plugins import loading
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.run import event_loop
from fedrec_tff.run.metrics import round_metrics
from fedrec_tff.run.tracking.guarded_manager import GuardedReleaseManager
from fedrec_tff.run.tracking.reported_run import ReportedRun


class Reporters:
    """The trackers of a session."""

    def __init__(self, managers: Sequence[GuardedReleaseManager], is_private: bool) -> None:
        """Follows a run with managers.

        Args:
          managers: The managers; none is fine.
          is_private: Whether the run claims differential privacy.
        """
        self.managers = tuple(managers)
        self._is_private = is_private

    def release_end(self, metrics: Mapping[str, float], round_number: int) -> None:
        """Hands on what is measured once.

        Args:
          metrics: Metrics by name, marked where they must be.
          round_number: Number of the last round.
        """
        round_metrics.check(metrics, self._is_private)
        for manager in self.managers:
            event_loop.run(manager.release(round_metrics.order(metrics), round_number))


@contextlib.contextmanager
def open_reporters(config: RunConfig, run: ReportedRun) -> Iterator[Reporters]:
    """Builds the trackers that follow a run inside a `with` block.

    Args:
      config: The run's flags.
      run: The run, as trackers are told of it.

    Yields:
      The trackers.

    Raises:
      UserError: If one cannot be built.
    """
    own = {found.name: found for found in config.own_reporters}
    managers: list[GuardedReleaseManager] = []
    try:
        for name in config.report_to:
            manager = _build_own(own[name], run) if name in own else _build(name, config, run)
            managers.append(GuardedReleaseManager(manager, name))
        yield Reporters(managers, run.is_private)
    finally:
        for manager in managers:
            event_loop.run(manager.finish())
            manager.close()


def _build(name: str, config: RunConfig, run: ReportedRun) -> tff.program.ReleaseManager:
    # Imported here: few have the packages.
    from fedrec_tff.run.tracking import mlflow_runs, wandb_runs

    builders = {
        report_config.WANDB: (wandb_runs.build, config.wandb_project),
        report_config.MLFLOW: (mlflow_runs.build, config.mlflow_experiment),
    }
    builder, place = builders[name]
    return loading.call_builder(builder, name, report_config.FLAG, run, place)


def _build_own(found: Chosen, run: ReportedRun) -> tff.program.ReleaseManager:
    builder = loading.import_builder(found.builder, found.name, report_config.FLAG)
    manager = loading.call_builder(
        builder, found.name, report_config.FLAG, run, **dict(found.parameters)
    )
    if not isinstance(manager, tff.program.ReleaseManager):
        raise errors.UserError(
            f"{report_config.FLAG.say(found.name)}: the builder returned "
            f"{type(manager).__name__}; it must return a tff.program.ReleaseManager"
        )
    return manager
