"""How validation went, round by round, over the seeds of a kind of run."""

import dataclasses
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence

from fedrec_tff.privacy import departures
from fedrec_tff.run.folder import metrics_file, run_directory
from fedrec_tff.run.metrics import metric_names

_PRIVACY = "privacy/"


@dataclasses.dataclass(frozen=True)
class Curve:
    """Validation by round, at the rounds where all seeds have it.

    Attributes:
      rounds: Rounds, ascending, at least one.
      mean: Mean over the seeds after each of the rounds.
      low: The smallest of the seeds' values; for one seed, the lower end of the interval that was
        released with a noised value, and None without one.
      high: The largest, and the upper end, likewise.
      num_seeds: Number of seeds.
      epsilon: The largest of the seeds' epsilons after each of the rounds; None where a round has
        none.
      is_marked: Whether the values are exact ones of a private run.
      is_noised: Whether the values were released with noise.
    """

    rounds: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    num_seeds: int
    epsilon: tuple[float, ...] | None = None
    is_marked: bool = False
    is_noised: bool = False


def read(folders: Sequence[pathlib.Path], metric: str) -> Curve | None:
    """Reads the `metrics.csv` of runs that differ in their seed alone.

    Args:
      folders: Folders of the runs, at least one.
      metric: Name of a metric without a prefix.

    Returns:
      The exact values, or noised ones where these alone were released; None where there is no round
      that all have a value of.
    """
    tables = [_read_rounds(folder) for folder in folders]
    for is_noised, prefix in ((False, metric_names.VALIDATION), (True, metric_names.PRIVATE)):
        name = f"{prefix}{metric}"
        runs = [_select(table, name) for table in tables]
        rounds = sorted(set.intersection(*(set(values) for values in runs)))
        if rounds:
            values = [[run[number] for run in runs] for number in rounds]
            is_alone = len(folders) == 1
            return Curve(
                tuple(rounds),
                tuple(statistics.fmean(found) for found in values),
                _find_end(tables[0], f"{name}_low", rounds) if is_alone else _map(min, values),
                _find_end(tables[0], f"{name}_high", rounds) if is_alone else _map(max, values),
                len(folders),
                _find_epsilons(tables, rounds),
                any(f"{metric_names.NON_PRIVATE}{name}" in row for row in tables[0].values()),
                is_noised,
            )
    return None


def _map(
    choose: Callable[[Sequence[float]], float], values: Sequence[Sequence[float]]
) -> tuple[float, ...]:
    return tuple(map(choose, values))


def _find_end(
    table: Mapping[int, Mapping[str, str]], name: str, rounds: Sequence[int]
) -> tuple[float, ...] | None:
    """Ends of intervals; None where a round has none."""
    found = _select(table, name)
    return tuple(found[number] for number in rounds) if set(rounds) <= set(found) else None


def find_last_round(folder: pathlib.Path) -> int:
    """The last round that a run has written of; 0 for none."""
    return max(_read_rounds(folder), default=0)


def _read_rounds(folder: pathlib.Path) -> dict[int, Mapping[str, str]]:
    """Rows by round; of a round that was executed again, the last."""
    rows = metrics_file.read_rows(run_directory.RunDirectory(folder))
    return {int(row["round"]): row for row in rows}


def _select(table: Mapping[int, Mapping[str, str]], name: str) -> dict[int, float]:
    found = {number: metric_names.find(row, name) for number, row in table.items()}
    values = {number: float(value) for number, value in found.items() if value}
    return {number: value for number, value in values.items() if math.isfinite(value)}


def _find_epsilons(
    tables: Sequence[Mapping[int, Mapping[str, str]]], rounds: Sequence[int]
) -> tuple[float, ...] | None:
    largest = []
    for number in rounds:
        found = [_find_epsilon(table[number]) for table in tables]
        if None in found:
            return None
        largest.append(max(found))
    return tuple(largest) if all(map(math.isfinite, largest)) else None


def _find_epsilon(row: Mapping[str, str]) -> float | None:
    named = {name.removeprefix(_PRIVACY): value for name, value in row.items() if value}
    _, epsilon = departures.find_epsilon(named)
    return None if epsilon is None else float(epsilon)
