"""When a round was on the clock of simulated devices, and when a quality was first reached."""

# Tested in tests/run/metrics/test_simulated_time.py.

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from fedrec_tff.config import target_quality
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.metrics import metric_names

FOLDER = "devices/"
HOURS = f"{FOLDER}hours"
TIMES = (HOURS,)
HOURS_TO_TARGET = "hours_to_target"
ROUNDS_TO_TARGET = "rounds_to_target"
_SECONDS_PER_HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class CohortDescription:
    """What is simulated of a round.

    Attributes:
      times: Times by the metrics' names; under differential privacy they follow from flags alone.
      counts: Exact statistics of the cohort, by the metrics' names.
    """

    times: Mapping[str, float]
    counts: Mapping[str, float]


NOTHING = CohortDescription({}, {})


def describe(cohort: Any) -> CohortDescription:
    """Says when a cohort's round ended, and who was not in it.

    Args:
      cohort: A `cohorts.Cohort`.

    Returns:
      Nothing where no devices are simulated.
    """
    timed = cohort.timed
    if timed is None:
        return NOTHING
    counts = {
        f"{FOLDER}num_reported": float(len(timed.rows)),
        f"{FOLDER}num_away": float(timed.num_away),
        f"{FOLDER}num_dropped": float(timed.num_dropped),
        f"{FOLDER}num_late": float(timed.num_late),
    }
    if len(timed.ages):
        counts[f"{FOLDER}model_age"] = float(timed.ages.mean())
    return CohortDescription({HOURS: timed.end_seconds / _SECONDS_PER_HOUR}, counts)


def summarize(config: RunConfig, metrics_csv: str | os.PathLike) -> dict[str, float | None]:
    """The simulated hours of a run, and those to its target, for its results.

    Args:
      config: The run's flags.
      metrics_csv: The run's `metrics.csv`.

    Returns:
      Hours by name; those to a target that was not reached are None. Noised validation decides
      where it is released, else the exact one, and then the names say so.
    """
    if config.devices is None:
        return {}
    # Late: what shows results asks for names alone.
    import pandas as pd

    table = pd.read_csv(metrics_csv)
    if HOURS not in table:
        return {}
    found: dict[str, float | None] = {HOURS: float(table[HOURS].iloc[-1])}
    if config.target_quality is None:
        return found
    target = target_quality.parse(config.target_quality)
    noised = f"{metric_names.PRIVATE}{target.metric}"
    exact = metric_names.mark(f"{metric_names.VALIDATION}{target.metric}", config.is_private)
    name = noised if noised in table else exact
    folder = name.removesuffix(target.metric).removesuffix(metric_names.VALIDATION)
    reached = table[table[name] >= target.value] if name in table else table[:0]
    hours, rounds = (None, None)
    if len(reached):
        hours, rounds = float(reached[HOURS].iloc[0]), int(reached["round"].iloc[0])
    return {
        **found,
        f"{folder}{HOURS_TO_TARGET}": hours,
        f"{folder}{ROUNDS_TO_TARGET}": rounds,
    }
