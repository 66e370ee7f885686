"""Round numbers along an axis."""

import math
from collections.abc import Sequence

_STEPS = (1.0, 2.0, 5.0, 10.0)


def find_ticks(low: float, high: float, most: int) -> list[float]:
    """Chooses round numbers that enclose an interval.

    Args:
      low: The lower end.
      high: The upper end; at least `low`.
      most: Number of intervals between ticks, at most; at least 2.

    Returns:
      Multiples of 1, 2 or 5 times a power of ten, of the smallest step with which so few
      enclose the interval.
    """
    if high <= low:
        high = low + (abs(low) or 1.0)
    power = math.floor(math.log10((high - low) / most))
    for exponent in (power, power + 1):
        for step in (factor * 10.0**exponent for factor in _STEPS):
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first <= most:
                return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    raise AssertionError("a power of ten more is always enough")


def format_ticks(ticks: Sequence[float]) -> list[str]:
    """Writes ticks with as many decimals as the finest of them needs.

    Args:
      ticks: The ticks.

    Returns:
      A text for each.
    """
    decimals = max((_count_decimals(tick) for tick in ticks), default=0)
    return [f"{tick:,.{decimals}f}" for tick in ticks]


def _count_decimals(value: float) -> int:
    text = f"{value:.10f}".rstrip("0")
    return len(text) - text.index(".") - 1
