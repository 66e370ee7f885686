"""Integer noise by table: distributions over integers that a device can draw from without a loop.

Rejection samplers draw an unknown number of times, so in a loop; and a loop's random operations are
beyond what the execution contexts can key from the operating system. Here every number costs 124
random bits and two look-ups: Walker's alias method, in integers, so that no floating-point rounding
has a say in what noise protects.

A table is not quite its distribution. Beyond a radius there is no mass: less than 2^-108 is left
out on either side, by Chernoff bounds. Probabilities are multiples of 2^-124. Both together change
a table of at most 2^16 columns by a total variation distance below 2^-100 for each number drawn. A
release of 2^40 numbers adds less than 2^-60 (1 + e^epsilon) to a guarantee's delta; nothing is
added for that.
"""

import dataclasses
import decimal
import functools
import math
from collections.abc import Sequence

import numpy as np

# Random bits of a word: as many as a non-negative int64 has, less one, so that the range 2^62 of a
# word is itself an int64.
WORD_BITS = 62
_TOTAL_BITS = 2 * WORD_BITS
_MAX_COLUMN_BITS = 16
# Natural logarithm of the mass that a table leaves out, at each side.
_LOG_TAIL_MASS = -109 * math.log(2.0)
# Decimal digits; 2^-124 has 38 zeros.
_PRECISION = 60
# The largest standard deviation of a number for which a table has columns enough.
MAX_STDDEV = 2048.0


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseTable:
    """An alias table over the integers from -radius to radius.

    A number takes two words of 62 uniform bits. The first word's upper `column_bits` bits choose a
    column. Its other bits, followed by the second word, are a number below the column's capacity:
    if it is below the column's threshold the column's own value is the result, otherwise its alias.

    Attributes:
        radius: The largest absolute value; column i's own value is i - radius.
        column_bits: Binary logarithm of the number of columns; those beyond 2 * radius hold no own
            mass.
        high_thresholds: int64 [columns], the upper part of the thresholds, as long as what the
            first word has left.
        low_thresholds: int64 [columns], the lower 62 bits.
        aliases: int32 [columns], columns.
    """

    radius: int
    column_bits: int
    high_thresholds: np.ndarray
    low_thresholds: np.ndarray
    aliases: np.ndarray

    def probabilities(self) -> np.ndarray:
        """What the table draws, not what it was made from: float64 [2 * radius + 1]."""
        capacity = 1 << (_TOTAL_BITS - self.column_bits)
        masses = [0] * (1 << self.column_bits)
        for column, alias in enumerate(self.aliases):
            high, low = int(self.high_thresholds[column]), int(self.low_thresholds[column])
            own = (high << WORD_BITS) + low
            masses[column] += own
            masses[alias] += capacity - own
        total = 1 << _TOTAL_BITS
        return np.array([mass / total for mass in masses[: 2 * self.radius + 1]])


@functools.lru_cache(maxsize=8)
def create_discrete_gaussian_table(variance: float) -> NoiseTable:
    """The discrete Gaussian: P(k) proportional to exp(-k^2 / (2 variance)).

    Canonne, Kamath, Steinke 2020 (arXiv 2004.00010); its tails are below a Gaussian's (proposition
    25 there), which gives the radius.

    Args:
        variance: The parameter of the distribution; the variance itself is a little smaller where
            it is small.

    Returns:
        The table.

    Raises:
        ValueError: If the variance is not positive, or above `MAX_STDDEV` squared.
    """
    _check_variance(variance)
    radius = math.ceil(math.sqrt(-2.0 * variance * _LOG_TAIL_MASS))
    with decimal.localcontext() as context:
        context.prec = _PRECISION
        # k^2 grows by 1, 3, 5, ...: two products a weight, which cost 1e-50 of it at most.
        ratio = (-1 / (2 * decimal.Decimal(variance))).exp()
        step = ratio * ratio
        weight, weights = decimal.Decimal(1), []
        for _ in range(radius + 1):
            weights.append(weight)
            weight, ratio = weight * ratio, ratio * step
        return _create_table(weights)


@functools.lru_cache(maxsize=8)
def create_skellam_table(variance: float) -> NoiseTable:
    """The symmetric Skellam distribution: P(k) = exp(-variance) I_k(variance).

    The difference of two Poisson variables of mean variance / 2 each. The modified Bessel functions
    come from their recurrence I_(k-1) = I_(k+1) + (2 k / variance) I_k, downwards (Miller's
    algorithm), where all terms are positive.

    Args:
        variance: Variance of the distribution.

    Returns:
        The table.

    Raises:
        ValueError: If the variance is not positive, or above `MAX_STDDEV` squared.
    """
    _check_variance(variance)
    radius = 1
    while _skellam_log_tail(radius, variance) > _LOG_TAIL_MASS:
        radius += max(1, int(0.001 * radius))
    # Miller's algorithm begins well beyond: what it begins with is forgotten on the way.
    begin = 2 * radius + 64
    with decimal.localcontext() as context:
        context.prec = _PRECISION
        inverse = 2 / decimal.Decimal(variance)
        above, weight = decimal.Decimal(0), decimal.Decimal(1)
        weights = []
        for k in range(begin, 0, -1):
            above, weight = weight, above + k * inverse * weight
            if k <= radius + 1:
                weights.append(weight)
        return _create_table(weights[::-1])


def _skellam_log_tail(radius: int, variance: float) -> float:
    """Chernoff's bound: log P(X >= radius) <= variance (cosh t - 1) - radius t, at its least."""
    t = math.asinh(radius / variance)
    # cosh t - 1 = 2 sinh(t / 2)^2, without cancellation.
    return 2.0 * variance * math.sinh(t / 2.0) ** 2 - radius * t


def _check_variance(variance: float) -> None:
    if not 0.0 < variance <= MAX_STDDEV**2:
        raise ValueError(f"a variance in (0, {MAX_STDDEV**2:.0f}] has a table, {variance} has none")


def _create_table(weights: Sequence[decimal.Decimal]) -> NoiseTable:
    """Makes the table of a symmetric distribution.

    Args:
        weights: Weights of the numbers 0, 1, ..., radius; not normalised.

    Returns:
        The table.
    """
    total = 2 * sum(weights[1:]) + weights[0]
    unit = (1 << _TOTAL_BITS) / total
    half = [int(weight * unit) for weight in weights[1:]]
    # What rounding down leaves goes to zero, where it is smallest beside what is there.
    masses = [*half[::-1], (1 << _TOTAL_BITS) - 2 * sum(half), *half]
    column_bits = (len(masses) - 1).bit_length()
    if column_bits > _MAX_COLUMN_BITS:
        raise ValueError(f"{len(masses)} values are too many for a table")
    masses += [0] * ((1 << column_bits) - len(masses))
    thresholds, aliases = _pair_columns(masses, 1 << (_TOTAL_BITS - column_bits))
    mask = (1 << WORD_BITS) - 1
    return NoiseTable(
        radius=len(half),
        column_bits=column_bits,
        high_thresholds=np.array([t >> WORD_BITS for t in thresholds], np.int64),
        low_thresholds=np.array([t & mask for t in thresholds], np.int64),
        aliases=np.array(aliases, np.int32),
    )


def _pair_columns(masses: Sequence[int], capacity: int) -> tuple[list[int], list[int]]:
    """Fills columns of equal capacity, each from at most two values (Vose 1991); exact.

    Args:
        masses: Masses of the values, which add up to the capacity of all columns.
        capacity: Capacity of a column.

    Returns:
        For each column how much of its own value it holds, and which column's value the rest is.
    """
    rest = list(masses)
    thresholds, aliases = [capacity] * len(rest), list(range(len(rest)))
    small = [column for column, mass in enumerate(rest) if mass < capacity]
    large = [column for column, mass in enumerate(rest) if mass >= capacity]
    while small:
        column, donor = small.pop(), large[-1]
        thresholds[column], aliases[column] = rest[column], donor
        rest[donor] -= capacity - rest[column]
        if rest[donor] < capacity:
            small.append(large.pop())
    return thresholds, aliases
