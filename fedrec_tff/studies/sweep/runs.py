"""The runs of a sweep on disk: where they are, and what came out of each."""

# Tested in tests/studies/sweep/test_sweep_study.py and tests/studies/sweep/test_sweep_costs.py.

import dataclasses
import json
import pathlib
from typing import Any

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import metrics_file, run_directory, whole_files
from fedrec_tff.run.metrics import metric_names
from fedrec_tff.studies.sweep import config as sweep_config

FINISHED = "finished"
FAILED = "failed"
PRUNED = "pruned"
UNFINISHED = "unfinished"


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """One run: a trial with a seed.

    Attributes:
      trial: Number of the trial, from 0.
      seed: Seed of the run.
      config: Flags of the run.
      root: The sweep's folder.
    """

    trial: int
    seed: int
    config: RunConfig
    root: pathlib.Path

    @property
    def name(self) -> str:
        """Its folder, below that of the sweep."""
        return f"trials/{self.trial:03d}/seed-{self.seed}"

    @property
    def directory(self) -> run_directory.RunDirectory:
        """Its folder, that of a complete run."""
        return run_directory.RunDirectory(self.root / self.name)

    @property
    def log(self) -> pathlib.Path:
        """What it said; beside the folder, which a run wants for itself."""
        return self.root / f"{self.name}.log"

    @property
    def failure(self) -> pathlib.Path:
        """Why it cannot be made; there only if so."""
        return self.root / f"{self.name}.failed.json"

    @property
    def pruning(self) -> pathlib.Path:
        """That it was told to stop before its last round; there only if so."""
        return self.root / f"{self.name}.pruned.json"


@dataclasses.dataclass(frozen=True)
class LastValidation:
    """What a run showed last.

    Attributes:
      round: Round after which the run was validated.
      value: Value of the metric by which the best trial is chosen.
      metrics: All metrics of validation, by name.
    """

    round: int
    value: float
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class RunOutcome:
    """What came out of a run.

    Attributes:
      status: `FINISHED`, `FAILED`, `PRUNED` or `UNFINISHED`.
      objective: Objective of a finished run.
      results: Contents of `results.json`, of a finished run.
      reason: Reason for which a run failed.
      last: Last validation of a pruned run.
    """

    status: str
    objective: float | None = None
    results: dict[str, Any] | None = None
    reason: str | None = None
    last: LastValidation | None = None


def read(run: SweepRun, objective: str) -> RunOutcome:
    """Reads what came out of a run.

    Args:
      run: The run to read.
      objective: Name of the metric by which the best is chosen.

    Returns:
      The outcome; unfinished where nothing tells otherwise.
    """
    results = run_directory.read_results(run.directory)
    if results is not None:
        value = _find_objective(run, results, objective)
        if value is None:
            return RunOutcome(FAILED, reason=f"it has no {objective}")
        return RunOutcome(FINISHED, value, results)
    if run.failure.exists():
        return RunOutcome(FAILED, reason=json.loads(run.failure.read_text())["reason"])
    if run.pruning.exists():
        last = _read_last(run, objective)
        if last is not None:
            return RunOutcome(PRUNED, last=last)
    return RunOutcome(UNFINISHED)


def keep_pruning(run: SweepRun) -> None:
    """Notes that a run is told to stop, so that no session goes on with it."""
    whole_files.write_json(run.pruning, {"pruned": True})


def read_curve(run: SweepRun, objective: str) -> dict[int, float]:
    """What a run has shown of a metric so far, by round; it may still be going on.

    Args:
      run: The run to read.
      objective: Name of the metric.

    Returns:
      Values of the metric, in the order of rounds; none of rounds without one.
    """
    found = (
        (int(row["round"]), metric_names.find(row, objective))
        for row in metrics_file.read_rows(run.directory)
    )
    return {number: float(value) for number, value in found if value}


def keep_failure(run: SweepRun, status: int) -> None:
    """Notes that a run cannot be made, so that it is not tried again."""
    whole_files.write_json(run.failure, {"status": status, "reason": find_reason(run, status)})


def find_reason(run: SweepRun, status: int) -> str:
    """The last thing a run said before it failed.

    Args:
      run: The run that failed.
      status: Exit status of the run, or minus the signal that killed it.

    Returns:
      A line.
    """
    text = run.log.read_text(errors="replace") if run.log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = lines[-1].removeprefix("train: ") if lines else "it said nothing"
    if status < 0:
        return f"killed by signal {-status}, after: {told}"
    return told


def _find_objective(run: SweepRun, results: dict[str, Any], objective: str) -> float | None:
    """A metric of the released model; a noised one must be of that model, not of one before it."""
    if not objective.startswith(sweep_config.PRIVATE):
        return metric_names.find(results, objective)
    values = {
        int(row["round"]): row.get(objective) for row in metrics_file.read_rows(run.directory)
    }
    # The model's round always has an evaluation; where its release was left out there is no value.
    value = values.get(results.get("released_round", results["rounds"]))
    return float(value) if value else None


def _read_last(run: SweepRun, objective: str) -> LastValidation | None:
    curve = read_curve(run, objective)
    if not curve:
        return None
    last = max(curve)
    (*_, row) = (row for row in metrics_file.read_rows(run.directory) if int(row["round"]) == last)
    metrics = {
        name: float(value)
        for name, value in row.items()
        if value and name.startswith(metric_names.VALIDATION)
    }
    return LastValidation(last, curve[last], metrics)
