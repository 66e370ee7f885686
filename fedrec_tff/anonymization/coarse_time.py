"""Coarse times: the start of the day, week or month, in seconds since 1970, UTC."""

# Tested in tests/anonymization/test_anonymization_generalization.py.

from __future__ import annotations

import numpy as np

from fedrec_tff import errors

_SECONDS_PER_DAY = 86_400
_FIRST_MONDAY = 4  # the first of January 1970 was a Thursday
_LARGEST_TIME = 253_402_300_799  # the end of the year 9999


def floor_times(timestamp: np.ndarray, granularity: str) -> np.ndarray:
    """Returns the start of each time's period, int64 [n], in seconds.

    Args:
      timestamp: int64 [n], times in seconds since 1970.
      granularity: Length of a period: "day", "week" (which begins on Monday), "month", or "none":
        all become 0.

    Raises:
      UserError: If something is not in seconds.
    """
    if granularity == "none" or not len(timestamp):
        return np.zeros(len(timestamp), np.int64)
    worst = timestamp[np.abs(timestamp).argmax()]
    if abs(int(worst)) > _LARGEST_TIME:
        raise errors.UserError(
            f"the time stamp {worst} is after the year 9999, if in seconds: give seconds or dates, "
            "or --time_granularity=none"
        )
    day = timestamp // _SECONDS_PER_DAY
    if granularity == "week":
        day = (day - _FIRST_MONDAY) // 7 * 7 + _FIRST_MONDAY
    elif granularity == "month":
        month = day.astype("datetime64[D]").astype("datetime64[M]")
        day = month.astype("datetime64[D]").astype(np.int64)
    return day * _SECONDS_PER_DAY
