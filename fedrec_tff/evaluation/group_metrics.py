"""Metrics of groups of users, what lies between the groups, and what one model costs each of them.

Gaps between groups are as in Ekstrand et al. (2018, "All the cool kids, how do they fit in?"):
differences of the groups' means, here beside bootstrap intervals of each. That noise costs small
groups most is Bagdasaryan et al. (2019, "Differential privacy has disparate impact on model
accuracy"); `compare` shows it.
"""

import dataclasses

import numpy as np

from fedrec_tff.evaluation import resampling, user_values
from fedrec_tff.evaluation.user_groups import Grouping
from fedrec_tff.evaluation.user_values import UserValues


@dataclasses.dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes:
      num_resamples: Number of draws of users.
      confidence: Share of the draws that lie within an interval.
      seed: Seed of the draws.
    """

    num_resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number, and how sure it is.

    Attributes:
      value: The number; NaN where it cannot be told.
      low: Lower end of its interval.
      high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two models differ in a metric, on the same users.

    Attributes:
      difference: Mean of the one less that of the other.
      loss: Share of the other's mean that is lost with the one: negative for a gain, NaN where
        there is nothing to lose.
    """

    difference: Estimate
    loss: Estimate


@dataclasses.dataclass(frozen=True)
class Gap:
    """What lies between the groups of a partition, in one metric.

    Attributes:
      difference: The largest group mean less the smallest.
      ratio: The smallest over the largest; NaN where that is not above 0.
      worst: Name of the worst group; None where nobody can say what is worse.
      best: Name of the best group, likewise.
    """

    difference: float
    ratio: float
    worst: str | None
    best: str | None


def estimate(values: UserValues, how: Resampling) -> dict[str, Estimate]:
    """Averages all users, with intervals.

    Args:
      values: Values of the users.
      how: How intervals are made.

    Returns:
      A number for each metric, by name.
    """
    return _to_estimates(values.names, values.means, _draw(values, how), how)


def estimate_groups(
    values: UserValues, grouping: Grouping, how: Resampling
) -> dict[str, dict[str, Estimate]]:
    """Averages the users of each group, with intervals.

    Args:
      values: Values of the users.
      grouping: Groups of the same users, none empty.
      how: How intervals are made.

    Returns:
      Numbers by the name of the group, and then of the metric.
    """
    return {
        label: estimate(values.take(grouping.members(position)), how)
        for position, label in enumerate(grouping.labels)
    }


def find_gap(name: str, means: dict[str, float]) -> Gap:
    """Finds what lies between groups.

    Args:
      name: Name of the metric.
      means: Mean of each group, by its name; NaN is left out.

    Returns:
      The gap; 0 for fewer than two groups.
    """
    known = {label: value for label, value in means.items() if not np.isnan(value)}
    if len(known) < 2:
        return Gap(0.0, float("nan"), None, None)
    low, high = min(known, key=known.get), max(known, key=known.get)
    ratio = known[low] / known[high] if known[high] > 0 else float("nan")
    better = user_values.direction(name)
    worst, best = {1: (low, high), -1: (high, low), 0: (None, None)}[better]
    return Gap(known[high] - known[low], ratio, worst, best)


def compare(one: UserValues, other: UserValues, how: Resampling) -> dict[str, Comparison]:
    """Compares two models by their values of the same users.

    Args:
      one: Values of the model that is compared.
      other: Values of the model that it is compared with, of the same metrics and users.
      how: How intervals are made; each draw takes the same users for both.

    Returns:
      A comparison for each metric, by name.
    """
    names, num_metrics = one.names, len(one.names)
    # Both at once, for each draw of users takes as long as averaging it.
    both = UserValues(
        (*names, *names),
        np.concatenate([one.totals, other.totals]),
        np.concatenate([one.weights, other.weights]),
    )
    draws = _draw(both, how)
    pair = draws[:num_metrics], draws[num_metrics:]
    differences = _to_estimates(names, one.means - other.means, pair[0] - pair[1], how)
    losses = _to_estimates(names, _lose(one.means, other.means), _lose(*pair), how)
    return {name: Comparison(differences[name], losses[name]) for name in names}


def _lose(mean: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return 1.0 - user_values.divide(mean, reference)


def _draw(values: UserValues, how: Resampling) -> np.ndarray:
    return resampling.bootstrap(values, how.num_resamples, how.seed)


def _to_estimates(
    names: tuple[str, ...], found: np.ndarray, draws: np.ndarray, how: Resampling
) -> dict[str, Estimate]:
    low, high = resampling.interval(draws, how.confidence)
    rows = zip(names, found.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Estimate(value, lower, upper) for name, value, lower, upper in rows}
