"""Runs a sweep: trials as child processes, a few at a time, resumed from what is on disk.

Every run is a complete run of `experiments.train` in a folder of its own, so that a sweep that was
interrupted goes on where it was, and any run can be looked at, or gone on with, by itself.
"""

import contextlib
import dataclasses
import os
import pathlib
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.run import interruption
from fedrec_tff.run.folder import whole_files
from fedrec_tff.studies.sweep import cluster_pool, process_pool
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import runs as sweep_runs
from fedrec_tff.studies.sweep import state as sweep_state
from fedrec_tff.studies.sweep.config import SweepConfig
from fedrec_tff.studies.sweep.runs import (
    FAILED,
    FINISHED,
    PRUNED,
    UNFINISHED,
    LastValidation,
    RunOutcome,
    SweepRun,
)

_Pool = process_pool.ProcessPool | cluster_pool.ClusterPool
TRAIN = (sys.executable, "-m", "experiments.train")
_WAIT_SECONDS = 1.0
_USER_ERROR = 2


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What came out of a trial.

    Attributes:
      number: Number of the trial, from 0.
      values: Values of the trial's flags, by flag.
      status: `finished`, `failed`, `pruned` or `unfinished`.
      objective: Mean of the objective over the seeds, of a finished trial.
      deviation: Standard deviation over the seeds (of the sample); None for one seed.
      objectives: Objective of every finished run, by seed.
      reason: Reason for which the trial failed.
      last: Last validation of a pruned trial.
    """

    number: int
    values: dict[str, Any]
    status: str
    objective: float | None = None
    deviation: float | None = None
    objectives: dict[int, float] = dataclasses.field(default_factory=dict)
    reason: str | None = None
    last: LastValidation | None = None


@dataclasses.dataclass(frozen=True)
class Study:
    """A complete sweep.

    Attributes:
      config: Settings of the sweep.
      root: Folder of the sweep.
      trials: Results of the trials, in the order of their numbers.
    """

    config: SweepConfig
    root: pathlib.Path
    trials: tuple[TrialResult, ...]

    @property
    def best(self) -> TrialResult | None:
        """The trial with the best objective; of equals the first. None if no trial has one."""
        best = None
        for trial in self.trials:
            if trial.objective is None:
                continue
            if best is None or self.config.is_better(trial.objective, best.objective):
                best = trial
        return best

    def runs_of(self, trial: TrialResult) -> list[SweepRun]:
        """The runs of a trial, one for each seed."""
        return _create_runs(self.config, self.root, trial.number, trial.values)


@dataclasses.dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is.

    Attributes:
      num_done: Trials that are finished, failed or pruned.
      num_trials: Number of all trials.
      num_running: Runs that are being made.
      num_runs_made: Runs that ended in this session.
      num_runs_left: Runs that are still to end.
      seconds: Seconds since the session began.
      best: The best trial so far.
      num_pruned: Trials that were stopped early.
    """

    num_done: int
    num_trials: int
    num_running: int
    num_runs_made: int
    num_runs_left: int
    seconds: float
    best: TrialResult | None
    num_pruned: int = 0


@dataclasses.dataclass(frozen=True)
class RunnerOptions:
    """How runs are made.

    Attributes:
      num_processes: Largest number of processes at a time.
      command: Command that makes a run, given its flags and `--output_dir`.
      report_fn: Function that is told how far the sweep is, whenever that changes.
      retries_failed: Whether runs that failed in an earlier session are tried again.
      pool: Pool of the cluster on which runs are made; None for processes here.
    """

    num_processes: int
    command: Sequence[str] = TRAIN
    report_fn: Callable[[SweepProgress], None] = lambda progress: None
    retries_failed: bool = False
    pool: cluster_pool.ClusterPool | None = None


def default_num_processes() -> int:
    """Half of the cores, at least one: a run keeps two busy."""
    return max(1, process_pool.count_cores() // 2)


def run(state: sweep_state.SweepState, config: SweepConfig, options: RunnerOptions) -> Study | None:
    """Makes the runs that are not complete, and reads the others.

    Args:
      state: State of the sweep, in its locked folder.
      config: The sweep.
      options: Options by which runs are made.

    Returns:
      The complete sweep; None if a stop was requested.

    Raises:
      UserError: If a stored trial is not what the search suggests.
    """
    with _open_pool(options) as pool, interruption.stop_on_signals() as stop:
        session = _Session(state, config, options, pool.num_threads)
        while session.fill(pool) or pool.num_running:
            for ended in pool.wait_some(_WAIT_SECONDS):
                session.end(ended)
            session.prune(pool)
            session.report(pool.num_running)
            if stop:
                _interrupt(pool)
                return None
    return None if stop else session.finish()


def _open_pool(options: RunnerOptions) -> contextlib.AbstractContextManager[_Pool]:
    if options.pool is not None:
        # Closed by whoever has joined the cluster.
        return contextlib.nullcontext(options.pool)
    return process_pool.ProcessPool(max(1, process_pool.count_cores() // options.num_processes))


def _interrupt(pool: _Pool) -> None:
    """Lets the runs finish their rounds and save; a second Ctrl-C ends them at once."""
    print(f"stopping {pool.num_running} runs after their rounds", file=sys.stderr, flush=True)
    pool.interrupt()
    while pool.num_running:
        for _ in pool.wait_some(_WAIT_SECONDS):
            pass


class _Session:
    """Which runs there are, which are next, and what came out so far."""

    def __init__(
        self,
        state: sweep_state.SweepState,
        config: SweepConfig,
        options: RunnerOptions,
        num_threads: int,
    ) -> None:
        self._state, self._config, self._options = state, config, options
        self._root = state.path.parent
        self._threads = num_threads
        self._start = time.monotonic()
        self._num_made = 0
        self._reported: tuple[int, int, int] | None = None
        self._trials: list[list[SweepRun]] = []
        self._outcomes: dict[str, RunOutcome] = {}
        self._waiting: deque[SweepRun] = deque()
        self._running: dict[str, SweepRun] = {}
        for values in state.trials:
            self._add(values)
        self._designer = self._replay() if config.search == sweep_config.TPE else None
        self._watch = self._create_watch() if config.prunes else None

    def fill(self, pool: _Pool) -> bool:
        """Starts runs while there is room; returns whether any may still have to be started."""
        while pool.num_running < self._options.num_processes:
            run = self._take()
            if run is None:
                break
            self._launch(pool, run)
        return bool(self._waiting) or len(self._trials) < self._num_trials

    def end(self, ended: process_pool.Ended) -> None:
        """Reads what came out of a run that has ended."""
        run = self._running.pop(ended.name)
        outcome = sweep_runs.read(run, self._config.objective)
        if outcome.status == UNFINISHED:
            # What the program refuses will be refused again; a crash may have been the machine's.
            if ended.status == _USER_ERROR:
                sweep_runs.keep_failure(run, ended.status)
            outcome = RunOutcome(FAILED, reason=sweep_runs.find_reason(run, ended.status))
        self._outcomes[run.name] = outcome
        self._num_made += 1

    def prune(self, pool: _Pool) -> None:
        """Tells runs that are behind to finish their rounds, save and leave."""
        if self._watch is None:
            return
        finished = [
            run
            for runs in self._trials
            for run in runs
            if self._outcomes[run.name].status == FINISHED
        ]
        for run in self._running.values():
            if self._watch.is_behind(run, finished):
                # On disk first: whatever happens then, no session goes on with it.
                sweep_runs.keep_pruning(run)
                pool.interrupt(run.name)

    def report(self, num_running: int) -> None:
        """Tells how far the sweep is, if that has changed."""
        results = self._results()
        num_done = sum(result.status != UNFINISHED for result in results)
        counts = (num_done, num_running, self._num_made)
        if counts == self._reported:
            return
        self._reported = counts
        # Runs of a trial that has failed are not made.
        left = (self._num_trials - len(self._trials)) * len(self._config.seeds) + sum(
            self._outcomes[run.name].status == UNFINISHED
            for result in results
            if result.status != FAILED
            for run in self._trials[result.number]
        )
        self._options.report_fn(
            SweepProgress(
                num_done,
                self._num_trials,
                num_running,
                self._num_made,
                left,
                time.monotonic() - self._start,
                Study(self._config, self._root, tuple(results)).best,
                sum(result.status == PRUNED for result in results),
            )
        )

    def finish(self) -> Study:
        """What came out of all trials."""
        return Study(self._config, self._root, tuple(self._results()))

    @property
    def _num_trials(self) -> int:
        is_open = self._config.search == sweep_config.TPE
        return self._config.num_trials if is_open else len(self._trials)

    def _add(self, values: dict[str, Any]) -> None:
        """Reads a trial's runs, and queues those that are not complete."""
        runs = _create_runs(self._config, self._root, len(self._trials), values)
        self._trials.append(runs)
        for run in runs:
            whole_files.make_folder(self._root / "trials")
            run.log.parent.mkdir(exist_ok=True)
            if self._options.retries_failed:
                run.failure.unlink(missing_ok=True)
            self._outcomes[run.name] = sweep_runs.read(run, self._config.objective)
            if self._outcomes[run.name].status == UNFINISHED:
                self._waiting.append(run)

    def _take(self) -> SweepRun | None:
        """The next run to make; None if there is none at the moment."""
        while self._waiting or self._suggest():
            run = self._waiting.popleft() if self._waiting else None
            # A trial without one of its seeds has no objective: its other runs are not made.
            if run is not None and self._result(run.trial).status != FAILED:
                return run
        return None

    def _launch(self, pool: _Pool, run: SweepRun) -> None:
        config = run.config
        is_shared = config.execution == "compiled" and config.device == "cpu"
        if is_shared and config.num_parallel_shards is None:
            config = dataclasses.replace(config, num_parallel_shards=self._threads)
        folder = os.fspath(run.directory.root)
        pool.start(
            run.name,
            [
                *self._options.command,
                *sweep_config.to_arguments(config),
                f"--output_dir={folder}",
            ],
            run.log,
        )
        self._running[run.name] = run

    def _results(self) -> list[TrialResult]:
        return [self._result(number) for number in range(len(self._trials))]

    def _result(self, number: int) -> TrialResult:
        values = self._state.trials[number]
        outcomes = {run.seed: self._outcomes[run.name] for run in self._trials[number]}
        found = {s: o.objective for s, o in outcomes.items() if o.status == FINISHED}
        for seed, outcome in outcomes.items():
            if outcome.status == FAILED:
                reason = f"seed {seed}: {outcome.reason}"
                return TrialResult(number, values, FAILED, objectives=found, reason=reason)
        for outcome in outcomes.values():
            if outcome.status == PRUNED:
                return TrialResult(number, values, PRUNED, last=outcome.last)
        if len(found) < len(outcomes):
            return TrialResult(number, values, UNFINISHED, objectives=found)
        deviation = statistics.stdev(found.values()) if len(found) > 1 else None
        mean = statistics.fmean(found.values())
        return TrialResult(number, values, FINISHED, mean, deviation, found)

    def _suggest(self) -> bool:
        """Asks TPE for one more trial; False if there is none, or it has to wait for others."""
        if self._designer is None or len(self._trials) >= self._num_trials:
            return False
        # What a suggestion rests on is the same however fast runs are: all trials but the latest.
        for number in range(len(self._state.told), len(self._trials) - self._state.batch + 1):
            result = self._result(number)
            if result.status == UNFINISHED:
                return False
            told = result.objective
            if result.last is not None:
                told = (result.last.round, result.last.value)
            self._designer.tell(number, told)
            self._state.told.append(told)
        values = self._designer.suggest()
        self._state.trials.append(values)
        self._state.save()
        self._add(values)
        try:
            sweep_config.check_trial(self._config, values)
        except errors.UserError as error:
            for run in self._trials[-1]:
                self._outcomes[run.name] = RunOutcome(FAILED, reason=str(error))
        return True

    def _replay(self) -> Any:
        """A designer that knows what that of earlier sessions knew."""
        from fedrec_tff.studies.sweep import tpe

        config, state = self._config, self._state
        designer = tpe.Designer(config.dimensions, config.base.seed, config.minimize)
        num_told = 0
        for number, values in enumerate(state.trials):
            for _ in range(num_told, number - state.batch + 1):
                designer.tell(num_told, state.told[num_told])
                num_told += 1
            if designer.suggest() != values:
                raise errors.UserError(
                    f"{self._root}: the installed Optuna suggests other trials than those "
                    "there: install the version that the sweep was begun with, or choose another "
                    "--output_dir"
                )
        for number in range(num_told, len(state.told)):
            designer.tell(number, state.told[number])
        return designer

    def _create_watch(self) -> Any:
        """What looks at running trials; imported only where it is needed."""
        from fedrec_tff.studies.sweep import pruning

        return pruning.Watch(self._config)


def _create_runs(
    config: SweepConfig, root: pathlib.Path, number: int, values: dict[str, Any]
) -> list[SweepRun]:
    return [SweepRun(number, seed, config.config_of(values, seed), root) for seed in config.seeds]
