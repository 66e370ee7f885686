"""Whether two kinds of runs differ by more than their seeds: t-tests, and Holm's correction."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

PAIRED, WELCH = "paired t-test", "Welch's t-test"
_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much larger one mean is than another.

    Attributes:
      mean: Difference of the means.
      low: Lower end of the 95 % confidence interval.
      high: Upper end of the 95 % confidence interval.
      p_value: Two-sided p-value.
      test: Name of the test.
      num_pairs: Number of pairs; None where the values are not paired.
    """

    mean: float
    low: float
    high: float
    p_value: float
    test: str
    num_pairs: int | None = None


def compare(one: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Compares two kinds of runs over their seeds.

    Runs of one seed share their data and the items drawn to be ranked among, so that their
    difference varies less than they do: where two seeds or more are common to both, a paired t-test
    over these. Where no two are, and both have two values, Welch's t-test (Welch 1947).

    Args:
      one: Values by seed.
      other: Values by seed, of what it is compared with.

    Returns:
      `one` less `other`; None where there are too few values, or where they do not vary.
    """
    common = sorted(one.keys() & other.keys())
    if len(common) > 1:
        values = np.array([one[seed] - other[seed] for seed in common])
        deviation = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return _create(float(np.mean(values)), deviation, len(values) - 1, PAIRED, len(values))
    if min(len(one), len(other)) > 1:
        parts = [np.array(list(values.values())) for values in (one, other)]
        variances = [float(np.var(part, ddof=1)) / len(part) for part in parts]
        if not sum(variances):
            return None
        # Welch-Satterthwaite.
        shares = (v**2 / (len(part) - 1) for v, part in zip(variances, parts, strict=True))
        freedom = sum(variances) ** 2 / sum(shares)
        difference = float(np.mean(parts[0]) - np.mean(parts[1]))
        return _create(difference, math.sqrt(sum(variances)), freedom, WELCH, None)
    return None


def adjust(p_values: Sequence[float]) -> list[float]:
    """Corrects for the number of tests as Holm 1979 does: no assumption on how they hang together.

    Args:
      p_values: The p-values of all tests.

    Returns:
      p-values that may each be held against the level of the whole family, in the same order.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _create(
    mean: float, error: float, freedom: float, test: str, num_pairs: int | None
) -> Difference | None:
    if error <= 1e-12 * abs(mean):
        return None
    half = error * float(stats.t.ppf(0.5 + _CONFIDENCE / 2, freedom))
    p_value = 2.0 * float(stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean, mean - half, mean + half, p_value, test, num_pairs)
