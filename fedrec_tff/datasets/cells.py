"""From rows of text to typed columns: what a cell of each kind may be, which rows are malformed.

Readers of text of any layout hand their rows in here, one by one, each with where it stands.
"""

# Tested in tests/datasets/test_delimited.py.

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import times

_INTEGER = re.compile(r"[+-]?[0-9]+")
_WHOLE_FRACTION = re.compile(r"-?[0-9]+\.0+")
_INT64 = np.iinfo(np.int64)
_LARGEST_NUMBER = float(np.finfo(np.float32).max)
# The number of the row's line, and its fields or what is wrong with all of it.
Row = tuple[int, Sequence[str] | Exception]


@dataclasses.dataclass(frozen=True, eq=False)
class ParsedColumns:
    """The columns asked for, and how many rows there were.

    Attributes:
      frame: A column per name asked for: int64, float64, or str objects.
      rows_read: The rows of the file, malformed ones included.
      malformed: How many of them were skipped.
      billionths: The parts of times beyond the whole numbers of `frame`, by column: int32 [rows of
        `frame`]. A column that is missing here has nothing.
      first_error: Where the first malformed row is, and what is wrong with it; empty without any.
    """

    frame: pd.DataFrame
    rows_read: int
    malformed: int
    billionths: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    first_error: str = ""


def parse_rows(
    path: pathlib.Path,
    rows: Iterable[Row],
    names: list[str],
    kinds: Mapping[str, str],
    time_format: str | None = None,
) -> ParsedColumns:
    """Parses row by row, and counts the rows that cannot be.

    Args:
      path: The file, for errors.
      rows: The rows.
      names: The columns of each row, in order.
      kinds: The kind of each column asked for, as `delimited.read_columns` takes it.
      time_format: As `times.parse` takes it.

    Returns:
      The columns; they may have no rows.
    """
    parse_fns = find_parsers(time_format)
    parsers = [(names.index(name), name, parse_fns[kind]) for name, kind in kinds.items()]
    columns = {name: [] for name in kinds}
    rows_read = malformed = 0
    first_error = ""
    for line, fields in rows:
        rows_read += 1
        try:
            values = _parse_fields(fields, len(names), parsers)
        except ValueError as error:
            malformed += 1
            first_error = first_error or f"{path}:{line}: {error}"
            continue
        for name, value in values:
            columns[name].append(value)
    billionths = {}
    for name, kind in kinds.items():
        if kind == "time":
            pairs = np.array(columns[name], np.int64).reshape(-1, 2)
            columns[name], billionths[name] = pairs[:, 0], pairs[:, 1].astype(np.int32)
    frame = pd.DataFrame(
        {name: np.array(columns[name], _DTYPES[kind]) for name, kind in kinds.items()}
    )
    return ParsedColumns(frame, rows_read, malformed, billionths, first_error)


def find_parsers(time_format: str | None = None) -> dict[str, Callable[[str], object]]:
    """Returns what parses the text of a cell of each kind, or raises `ValueError`."""
    return _PARSERS | {"time": functools.partial(times.parse, time_format=time_format)}


def check_batches(
    batches: Iterable[ParsedColumns], max_malformed_fraction: float
) -> Iterator[ParsedColumns]:
    """Passes on the batches of a file, and refuses it where too many rows are malformed.

    Args:
      batches: The file's rows, in order.
      max_malformed_fraction: The fraction of all rows that may be malformed and skipped.

    Yields:
      The batches.

    Raises:
      UserError: If more rows are malformed than allowed: behind the last batch, or, where none is
        allowed, in place of the batch that has one.
    """
    rows_read, malformed, first_error = 0, 0, ""
    for batch in batches:
        rows_read += batch.rows_read
        malformed += batch.malformed
        first_error = first_error or batch.first_error
        if not max_malformed_fraction:
            check_malformed(malformed, rows_read, 0.0, first_error)
        yield batch
    check_malformed(malformed, rows_read, max_malformed_fraction, first_error)


def check_malformed(malformed: int, rows: int, max_fraction: float, first_error: str) -> None:
    """Refuses more malformed rows than are allowed, and tells of the first one."""
    if malformed > max_fraction * rows:
        way_out = "mend the file, or allow some rows to be skipped by --max_malformed_fraction"
        raise errors.UserError(
            f"{first_error} ({malformed:,} of {rows:,} rows are malformed: {way_out})"
        )


def check_names(path: pathlib.Path, names: list[str], wanted: list[str]) -> None:
    """Refuses a file that lacks a column that is wanted, or has two of it."""
    listed = ", ".join(names)
    for name in wanted:
        if name not in names:
            raise errors.UserError(f"{path} has no column {name!r}; its columns are: {listed}")
        if names.count(name) > 1:
            raise errors.UserError(f"{path} has two columns {name!r}: rename one of: {listed}")


def is_number(values: np.ndarray | float) -> np.ndarray | bool:
    """Tells which values are finite, also as float32."""
    return np.abs(values) <= _LARGEST_NUMBER


def _parse_fields(
    fields: Sequence[str] | Exception, width: int, parsers: list[tuple[int, str, Callable]]
) -> list[tuple[str, object]]:
    if isinstance(fields, Exception):
        raise ValueError(str(fields))
    if len(fields) != width:
        raise ValueError(f"{len(fields)} fields, {width} are needed")
    values = []
    for position, name, parse in parsers:
        try:
            values.append((name, parse(fields[position].strip())))
        except ValueError as error:
            raise ValueError(f"{name} {fields[position]!r} {error}") from error
    return values


def unify_id(text: str) -> str:
    """An id as all files have it: whole numbers are often stored as fractions, 7 as 7.0."""
    return text.partition(".")[0] if _WHOLE_FRACTION.fullmatch(text) else text


def _parse_id(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return unify_id(text)


def _parse_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("is not an integer")
    number = int(text)
    if not _INT64.min <= number <= _INT64.max:
        raise ValueError("does not fit a 64-bit integer")
    return number


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not is_number(number):
        raise ValueError("is not a finite 32-bit number")
    return number


_PARSERS = {
    "id": _parse_id,
    "text": str,
    "integer": _parse_integer,
    "number": _parse_number,
}
_DTYPES = {
    "id": object,
    "text": object,
    "integer": np.int64,
    "number": np.float64,
    "time": np.int64,
}
