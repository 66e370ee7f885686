"""Predictions beside measurements: recorded ones, or those of rows that are measured now."""

# Tested in tests/benchmarks/scale/test_cost_model.py.

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from fedrec_tff.benchmarks import plan, report
from fedrec_tff.benchmarks.scale import cost_model, recorded_rows

# What is predicted of a row.
KINDS = ("seconds", "clients", "server", "memory")
_MS = 1e3
_MB = 1e6


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Predicted over measured, of a row.

    Attributes:
      name: Name of the row.
      seconds: Ratio of a round's seconds.
      clients: Ratio of the seconds of client work.
      server: Ratio of the seconds of the server's step.
      memory: Ratio of the memory at the peak.
    """

    name: str
    seconds: float
    clients: float
    server: float
    memory: float


def compare_recorded() -> tuple[Ratio, ...]:
    """Holds the formulas against the rows that they were read off."""
    settings = recorded_rows.find_settings()
    return tuple(
        _compare(
            row.name,
            predict(settings[row.name], recorded_rows.NUM_CORES),
            (row.round_ms / _MS, row.clients_ms / _MS, row.server_ms / _MS, row.peak_mb * _MB),
        )
        for row in recorded_rows.ROWS
    )


def compare_measured(results: Iterable[report.RowResult], num_cores: int) -> tuple[Ratio, ...]:
    """Holds the formulas against rows that were measured now.

    Args:
      results: Results of the benchmark; rows that failed, or whose stages are not known, are left
        out.
      num_cores: Number of processors that they ran on.

    Returns:
      The ratios.
    """
    ratios = []
    for result in results:
        found = result.measurement
        if found is None or found.stage_seconds is None:
            continue
        measured = (
            found.seconds_per_round.median,
            found.stage_seconds["clients"],
            found.stage_seconds["server"],
            found.peak_megabytes * _MB,
        )
        ratios.append(_compare(result.row.name, predict(result.row.setting, num_cores), measured))
    return tuple(ratios)


def predict(setting: plan.Setting, num_cores: int) -> cost_model.RoundCost:
    """Predicts a row of the benchmark.

    Args:
      setting: Sizes of the row.
      num_cores: Number of processors.

    Returns:
      The cost of its rounds.
    """
    num_weights = setting.run_config.two_tower.num_weights(setting.num_items)
    return cost_model.predict(
        cost_model.RoundSize(
            setting.clients_per_round,
            setting.interactions_per_user,
            setting.embedding_dim,
            num_weights,
            num_cores,
        )
    )


def divide_by_speed(ratios: Sequence[Ratio]) -> tuple[Ratio, ...]:
    """Takes this machine's speed out: each kind of ratio over its geometric mean.

    What is left is how far the formulas are off in how costs grow.
    """
    means = {
        kind: statistics.geometric_mean(getattr(ratio, kind) for ratio in ratios) for kind in KINDS
    }
    return tuple(
        Ratio(ratio.name, **{kind: getattr(ratio, kind) / means[kind] for kind in KINDS})
        for ratio in ratios
    )


def find_range(ratios: Sequence[Ratio], field: str) -> tuple[float, float]:
    """The smallest and the largest of a kind of ratio."""
    values = [getattr(ratio, field) for ratio in ratios]
    return min(values), max(values)


def _compare(
    name: str, cost: cost_model.RoundCost, measured: tuple[float, float, float, float]
) -> Ratio:
    predicted = (cost.seconds, cost.clients_seconds, cost.server_seconds, cost.peak_bytes)
    return Ratio(name, *(p / m for p, m in zip(predicted, measured, strict=True)))
