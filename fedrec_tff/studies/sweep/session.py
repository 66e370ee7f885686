"""One session of a sweep: from what was asked for to what came out, or to an interruption."""

# Tested in tests/studies/sweep/test_sweep_study.py.

import dataclasses
import math
import os
import sys
from collections.abc import Sequence

from fedrec_tff.run.folder import run_directory
from fedrec_tff.studies.sweep import cluster_pool
from fedrec_tff.studies.sweep import config as sweep_config
from fedrec_tff.studies.sweep import costs as sweep_costs
from fedrec_tff.studies.sweep import progress as sweep_progress
from fedrec_tff.studies.sweep import state as sweep_state
from fedrec_tff.studies.sweep import study as sweep_study
from fedrec_tff.studies.sweep import text as sweep_text
from fedrec_tff.studies.sweep.config import SweepConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """How a session works.

    Attributes:
      num_processes: Runs at a time, at most; None for half of the cores, or for as many as the
        cluster has room for.
      retries_failed: Whether runs that failed in an earlier session are tried again.
      command: Command that makes a run, given its flags and `--output_dir`.
      cluster: Address of the Ray cluster on whose nodes runs are made; None for processes here.
    """

    num_processes: int | None = None
    retries_failed: bool = False
    command: Sequence[str] = sweep_study.TRAIN
    cluster: str | None = None


@dataclasses.dataclass(frozen=True)
class SweepOutcome:
    """What came out of a sweep, and what it cost in privacy."""

    study: sweep_study.Study
    cost: sweep_costs.TuningCost


def run(
    config: SweepConfig, output_dir: str | os.PathLike, options: Options
) -> SweepOutcome | None:
    """Starts a sweep, or resumes the one in the folder.

    Args:
      config: A checked sweep.
      output_dir: Folder of the sweep.
      options: Options of the session.

    Returns:
      The sweep's outcome; None if a stop was requested.

    Raises:
      UserError: If the folder holds another sweep, the data cannot be used, another process works
        on the sweep, or the cluster cannot be joined.
    """
    if options.cluster is None:
        num_processes = options.num_processes or sweep_study.default_num_processes()
        return _run(config, output_dir, options, num_processes, None)
    base = config.base
    with cluster_pool.join(options.cluster, base.num_parallel_shards, base.device != "cpu") as pool:
        num_processes = options.num_processes or pool.count_places()
        return _run(config, output_dir, options, num_processes, pool)


def _run(
    config: SweepConfig,
    output_dir: str | os.PathLike,
    options: Options,
    num_processes: int,
    pool: cluster_pool.ClusterPool | None,
) -> SweepOutcome | None:
    root = sweep_state.open_folder(output_dir)
    with run_directory.lock(run_directory.RunDirectory(root)):
        batch = math.ceil(num_processes / len(config.seeds))
        planner = sweep_costs.Planner()
        if not (root / sweep_state.FILE_NAME).exists():
            sweep_costs.check_population(config, planner)
        state = sweep_state.open_state(root, config, batch)
        trials = None if config.search == sweep_config.TPE else state.trials
        planned = sweep_costs.plan(config, trials, planner)
        print(sweep_text.describe_cost(planned, config, is_planned=True), file=sys.stderr)
        with sweep_progress.ProgressDisplay(config.objective_name) as display:
            study = sweep_study.run(
                state,
                config,
                sweep_study.RunnerOptions(
                    num_processes, options.command, display.report, options.retries_failed, pool
                ),
            )
        if study is None:
            print("stopped; the same command resumes the sweep", file=sys.stderr)
            return None
        runs = [run for trial in study.trials for run in study.runs_of(trial)]
        return SweepOutcome(study, sweep_costs.spent(config, runs, planner))
