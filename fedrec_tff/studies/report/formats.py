"""How numbers are written in a report: no epsilon below what was proved, and stars where due."""

import math
import statistics
from collections.abc import Sequence

from fedrec_tff.studies.comparison.result_folders import Guarantee

STAR = "*"
_DASH = "-"


def write_values(values: Sequence[float] | None, is_marked: bool = False) -> str:
    """Writes the mean, with the standard deviation (of the sample) where there are several.

    Args:
      values: Values of the seeds; None for a dash.
      is_marked: Whether they are exact statistics of a private run.

    Returns:
      The text, with a star where they are.
    """
    if not values:
        return _DASH
    text = f"{statistics.fmean(values):.4f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.4f}"
    return text + (STAR if is_marked else "")


def write_epsilon(epsilon: float) -> str:
    """Writes an epsilon with three decimals, never below it."""
    return f"{math.ceil(epsilon * 1000) / 1000:.3f}" if math.isfinite(epsilon) else "infinite"


def write_guarantees(guarantees: Sequence[Guarantee]) -> str:
    """Writes what is claimed for the runs of a kind: the largest epsilon, and what voids it.

    Args:
      guarantees: Guarantees of the runs, at least one.

    Returns:
      The text for a table.
    """
    if guarantees[0].epsilon is None:
        return "none"
    largest = write_epsilon(max(guarantee.epsilon for guarantee in guarantees))
    voided_by = guarantees[0].voided_by
    return f"none ({voided_by}: {largest})" if voided_by else largest


def write_mean(values: Sequence[float | None], digits: int = 0) -> str:
    """Writes the mean of what all seeds have; a dash where one has nothing."""
    if not values or None in values:
        return _DASH
    return f"{statistics.fmean(values):,.{digits}f}"


def list_names(names: Sequence[str]) -> str:
    """Writes names as a sentence does: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
