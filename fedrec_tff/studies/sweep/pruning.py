"""Which runs are stopped before their last round: those that validation shows to be behind.

The rule is that of Optuna's `MedianPruner`: a run is behind if the best that it has shown is worse
than the median of what the finished trials had shown at the same round. What a run has shown stands
in its `metrics.csv`, which it writes anyway.
"""

import os
from collections.abc import Mapping, Sequence

import optuna

from fedrec_tff.studies.sweep import optuna_study
from fedrec_tff.studies.sweep import runs as sweep_runs
from fedrec_tff.studies.sweep.config import SweepConfig
from fedrec_tff.studies.sweep.runs import SweepRun

# A median of fewer says little.
MIN_FINISHED = 5


class Watch:
    """Looks at running trials, and says which are behind."""

    def __init__(self, config: SweepConfig) -> None:
        """Begins to watch.

        Args:
          config: A checked sweep that prunes.
        """
        self._config = config
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._finished: dict[str, dict[int, float]] = {}

    def is_behind(self, run: SweepRun, finished: Sequence[SweepRun]) -> bool:
        """Whether a run is worth no more rounds, as far as is known now.

        It looks at the file again only where something has changed since the last look.

        Args:
          run: A run that is being made.
          finished: The runs that are finished.

        Returns:
          True if it should be stopped.
        """
        # What is seen of a private run would have to be paid for: `config.check_trial` refuses it.
        assert not run.config.is_private
        if len(finished) < MIN_FINISHED or not self._has_changed(run, len(finished)):
            return False
        curve = sweep_runs.read_curve(run, self._config.objective)
        # A run after its last round is about to be finished.
        if not curve or max(curve) >= run.config.rounds:
            return False
        for other in finished:
            if other.name not in self._finished:
                found = sweep_runs.read_curve(other, self._config.objective)
                self._finished[other.name] = found
        curves = [self._finished[other.name] for other in finished]
        return is_behind(curve, curves, self._config.pruning_warmup_rounds, self._config.minimize)

    def _has_changed(self, run: SweepRun, num_finished: int) -> bool:
        """Whether the run has shown something, or a trial was finished, since the last look."""
        try:
            status = os.stat(run.directory.metrics)
        except FileNotFoundError:
            return False
        seen = (status.st_mtime_ns, status.st_size, num_finished)
        has_changed = seen != self._seen.get(run.name)
        self._seen[run.name] = seen
        return has_changed


def is_behind(
    curve: Mapping[int, float],
    others: Sequence[Mapping[int, float]],
    warmup_rounds: int = 0,
    minimize: bool = False,
) -> bool:
    """Whether a run's best value so far is worse than the median of others at its last round.

    Args:
      curve: Values that the run has shown, by round.
      others: Values that the finished trials have shown, by round; so many as `MIN_FINISHED` are
        needed that have a value at that round.
      warmup_rounds: Rounds before which nothing is behind.
      minimize: Whether less of the metric is better.

    Returns:
      True if it is worse.
    """
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=MIN_FINISHED, n_warmup_steps=warmup_rounds, n_min_trials=MIN_FINISHED
    )
    study = optuna_study.create(minimize, pruner=pruner)
    for other in others:
        # The pruner looks at intermediate values alone; a finished trial must have a last one.
        study.add_trial(optuna.trial.create_trial(value=0.0, intermediate_values=dict(other)))
    trial = study.ask()
    for round_number, value in curve.items():
        trial.report(value, round_number)
    return trial.should_prune()
