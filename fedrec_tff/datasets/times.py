"""Times as files write them, to the nanosecond, each by itself and without a detour over floats.

A time is two integers: a whole number, and billionths of it. A whole number in a file stays what it
is, in whatever unit. All else is in seconds since 1970, UTC: numbers with a fraction, ISO 8601
dates, and the dates and time stamps of Parquet. One float64 cannot hold that: near today's seconds
its neighbours are 240 nanoseconds apart.
"""

from __future__ import annotations

import datetime
import decimal
import re

import numpy as np
import pyarrow as pa
from pyarrow import compute

from fedrec_tff import errors

BILLION = 1_000_000_000
_INT64 = np.iinfo(np.int64)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_BEYOND_MICROSECONDS = re.compile(r"[.,][0-9]{6}([0-9]{1,3})")
_NANOSECOND = decimal.Decimal(1).scaleb(-9)
# Has room for all digits of an int64 and nine more.
_FLOOR = decimal.Context(prec=30, rounding=decimal.ROUND_FLOOR)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECONDS_PER_DAY = 86_400
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": BILLION}


def parse(text: str, time_format: str | None = None) -> tuple[int, int]:
    """Reads one time.

    Args:
      text: A whole number; a decimal fraction of seconds; or an ISO 8601 date, with or without a
        time of day and an offset (without one, UTC). Digits below a nanosecond are cut off.
      time_format: The directives of `datetime.strptime` by which the text is written, in place of
        all these; None for them.

    Returns:
      The whole number or the seconds since 1970, in the range of int64; and billionths,
      0 to 999,999,999.

    Raises:
      ValueError: If it is none of these, with what to say behind the text.
    """
    if time_format is not None:
        whole, billionths = _parse_as(text, time_format)
    elif _INTEGER.fullmatch(text):
        whole, billionths = int(text), 0
    else:
        whole, billionths = _parse_decimal(text) or _parse_date(text)
    if not _INT64.min <= whole <= _INT64.max:
        raise ValueError("does not fit a 64-bit integer")
    return whole, billionths


def convert(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Reads a column that is no text.

    Args:
      column: Integers, floats, decimals, dates or time stamps; rows may be null.

    Returns:
      Whole numbers, int64 [n]; billionths, int32 [n]; and which rows are no time, bool [n]. None
      if the column is of another type.

    Raises:
      pa.ArrowInvalid: If an integer does not fit int64.
    """
    kind = column.type
    bad = column.is_null().to_numpy()
    if pa.types.is_decimal(kind):
        return parse_all([str(number) for number in column.to_pylist()])
    if pa.types.is_floating(kind):
        return _split_floats(compute.fill_null(column.cast(pa.float64()), np.nan).to_numpy())
    if pa.types.is_integer(kind):
        per_unit = 1
    elif pa.types.is_timestamp(kind):
        per_unit = _PER_SECOND[kind.unit]
    elif pa.types.is_date(kind):
        column, per_unit = column.cast(pa.timestamp("ms")), _PER_SECOND["ms"]
    else:
        return None
    units = compute.fill_null(column.cast(pa.int64()), 0).to_numpy()
    whole, rest = np.divmod(units, per_unit)
    return whole, (rest * (BILLION // per_unit)).astype(np.int32), bad


def parse_all(
    texts: list[str], time_format: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads many texts: whole numbers, int64 [n], billionths, int32 [n], and which are no times."""
    found = np.zeros((len(texts), 2), np.int64)
    bad = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        try:
            found[row] = parse(text.strip(), time_format)
        except ValueError:
            bad[row] = True
    return found[:, 0], found[:, 1].astype(np.int32), bad


def check_format(time_format: str) -> None:
    """Refuses what is no format of times, or leaves the day open.

    Raises:
      UserError: If so.
    """
    moments = [datetime.datetime(2001, 2, 3), datetime.datetime(1999, 12, 31)]
    try:
        read = [
            datetime.datetime.strptime(moment.strftime(time_format), time_format)
            for moment in moments
        ]
    except (ValueError, re.error) as error:
        raise errors.UserError(
            f"--time_format={time_format}: {error}: write it as %Y-%m-%d %H:%M:%S, with the "
            "directives of Python's strptime"
        ) from error
    if [moment.date() for moment in read] != [moment.date() for moment in moments]:
        raise errors.UserError(
            f"--time_format={time_format}: it doesn't tell the day: year, month and day are needed"
        )


def _parse_decimal(text: str) -> tuple[int, int] | None:
    """Reads a number with a fraction or an exponent; None if it is no number, or out of range."""
    try:
        nanoseconds = decimal.Decimal(text).quantize(_NANOSECOND, context=_FLOOR)
    except decimal.InvalidOperation:
        return None
    if not nanoseconds.is_finite():
        return None
    return divmod(int(nanoseconds.scaleb(9, context=_FLOOR)), BILLION)


def _parse_date(text: str) -> tuple[int, int]:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is neither seconds nor an ISO 8601 date") from None
    whole, billionths = _since_epoch(moment)
    more = _BEYOND_MICROSECONDS.search(text)  # which datetime cuts off
    return whole, billionths + (int(more[1].ljust(3, "0")) if more else 0)


def _parse_as(text: str, time_format: str) -> tuple[int, int]:
    try:
        return _since_epoch(datetime.datetime.strptime(text, time_format))
    except ValueError:
        raise ValueError(f"is not of the form {time_format}") from None


def _since_epoch(moment: datetime.datetime) -> tuple[int, int]:
    """Seconds and nanoseconds; a moment without an offset is in UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - _EPOCH
    return since.days * _SECONDS_PER_DAY + since.seconds, since.microseconds * 1_000


def _split_floats(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits floats, whose whole part is exact below 2^53, as is what is left of them."""
    bad = ~(np.abs(numbers) < 2**53)
    numbers = np.where(bad, 0.0, numbers)
    whole = np.floor(numbers)
    billionths = np.minimum(np.floor((numbers - whole) * BILLION), BILLION - 1)
    return whole.astype(np.int64), billionths.astype(np.int32), bad
