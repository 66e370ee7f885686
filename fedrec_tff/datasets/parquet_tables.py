"""Columns of a Parquet file: each has the file's own type, so a row changes no other."""

# Tested in tests/datasets/test_tables.py.

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from fedrec_tff import errors
from fedrec_tff.datasets import cells, compression, delimited, times
from fedrec_tff.datasets.cells import ParsedColumns

_NEEDED = {"id": "text or integers", "time": "integers or dates", "number": "numbers"}
_SEPARATOR = "|"
# What a column raises that Arrow or Python has no values for: text that is no UTF-8, dates before
# the year 1, and other types than are needed.
UNREADABLE = (pa.ArrowException, TypeError, ValueError, OverflowError)
_WHAT_IS_BAD = {
    "id": "empty or no whole number",
    "time": "neither seconds nor a date",
    "number": "no finite 32-bit number",
}


def read_columns(
    path: pathlib.Path,
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
    time_format: str | None = None,
) -> ParsedColumns:
    """Reads some columns of a file.

    Args:
      path: The file.
      kinds: The kind of each column asked for, as `delimited.read_columns` takes it.
      max_malformed_fraction: The fraction of rows that may be malformed and skipped.
      time_format: As `times.parse` takes it, of a column of times that holds text.

    Returns:
      The columns; they may have no rows.

    Raises:
      UserError: If the file or a column is missing, or more rows are malformed than allowed.
    """
    with _reading(path) as file:
        cells.check_names(path, file.schema_arrow.names, list(kinds))
        table = file.read(columns=list(kinds))
    batches = [_convert_table(path, table, kinds, time_format, 0)]
    (parsed,) = cells.check_batches(batches, max_malformed_fraction)
    return parsed


def read_batches(
    path: pathlib.Path,
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
    time_format: str | None = None,
    batch_rows: int = 2**20,
) -> Iterator[ParsedColumns]:
    """Reads some columns of a file, a batch of rows at a time.

    Args:
      path: The file.
      kinds: As `read_columns` takes it.
      max_malformed_fraction: As `read_columns` takes it, of the rows of all batches.
      time_format: As `read_columns` takes it.
      batch_rows: The most rows of a batch.

    Returns:
      The columns, batch by batch; a batch may have no rows.

    Raises:
      UserError: As `read_columns`; what is only known at the end is told behind the last batch.
    """
    batches = _convert_batches(path, kinds, time_format, batch_rows)
    return cells.check_batches(batches, max_malformed_fraction)


def read_names(path: pathlib.Path) -> list[str]:
    """Returns the names of a file's columns."""
    with _reading(path) as file:
        return file.schema_arrow.names


def count_rows(path: pathlib.Path) -> int:
    """Returns how many rows a file says it has."""
    with _reading(path) as file:
        return file.metadata.num_rows


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[parquet.ParquetFile]:
    """Opens a file; what is wrong with it is one line."""
    delimited.check_is_file(path)
    try:
        yield parquet.ParquetFile(_open(path))
    except (pa.ArrowException, OSError) as error:
        raise errors.UserError(
            f"{path} is no readable Parquet file ({_one_line(error)}): check that it is complete"
        ) from error


def _convert_batches(
    path: pathlib.Path, kinds: Mapping[str, str], time_format: str | None, batch_rows: int
) -> Iterator[ParsedColumns]:
    rows_before = 0
    with _reading(path) as file:
        cells.check_names(path, file.schema_arrow.names, list(kinds))
        for batch in file.iter_batches(batch_rows, columns=list(kinds)):
            table = pa.Table.from_batches([batch])
            yield _convert_table(path, table, kinds, time_format, rows_before)
            rows_before += table.num_rows


def _convert_table(
    path: pathlib.Path,
    table: pa.Table,
    kinds: Mapping[str, str],
    time_format: str | None,
    rows_before: int,
) -> ParsedColumns:
    """Converts rows of a file, of which some come before."""
    columns, billionths = {}, {}
    bad = np.zeros(table.num_rows, bool)
    first_error = ""
    for name, kind in kinds.items():
        try:
            if kind == "time":
                columns[name], billionths[name], bad_here = _convert_times(table[name], time_format)
            else:
                columns[name], bad_here = _convert(table[name], kind)
        except UNREADABLE as error:
            raise errors.UserError(f"{path}: column {name!r}: {_one_line(error)}") from error
        if bad_here.any() and not first_error:
            row = rows_before + bad_here.argmax() + 1
            first_error = f"{path}: row {row}: {name} is {_WHAT_IS_BAD[kind]}"
        bad |= bad_here
    malformed = int(np.count_nonzero(bad))
    frame = pd.DataFrame(columns)[~bad]
    billionths = {name: part[~bad] for name, part in billionths.items()}
    return ParsedColumns(frame, table.num_rows, malformed, billionths, first_error)


def _open(path: pathlib.Path) -> pathlib.Path | pa.BufferReader:
    return pa.BufferReader(compression.read(path)) if compression.is_compressed(path) else path


def _convert_times(
    column: pa.ChunkedArray, time_format: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns whole numbers, billionths, and which of the rows are malformed."""
    column = _decode_dictionary(column)
    if _is_text(column.type):
        return times.parse_all([text or "" for text in column.to_pylist()], time_format)
    converted = times.convert(column)
    if converted is None:
        raise _refuse_type(column, "time")
    return converted


def to_text(value: object) -> str:
    """A cell as text; the values of a list are separated by `|`, and what is missing is empty."""
    if isinstance(value, list):
        return _SEPARATOR.join(map(str, value))
    return "" if value is None or value != value else str(value)


def _convert(column: pa.ChunkedArray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a Parquet column as ids or numbers, and which of its rows are malformed."""
    column = _decode_dictionary(column)
    bad = column.is_null().to_numpy()
    if kind == "text":
        texts = np.array([to_text(value) for value in column.to_pylist()], object)
        return texts, np.zeros(len(texts), bool)
    column_type = column.type
    if _is_text(column_type):
        return _parse_strings(column.to_pylist(), kind)
    if pa.types.is_integer(column_type):
        target = pa.float64() if kind == "number" else pa.int64()
        return compute.fill_null(column, 0).cast(target).to_numpy(), bad
    if pa.types.is_floating(column_type) or pa.types.is_decimal(column_type):
        numbers = compute.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
        bad = ~cells.is_number(numbers)
        if kind == "number":
            return numbers, bad
        # Integers with gaps are often stored as fractions.
        bad |= (np.abs(numbers) >= 2**53) | ((kind == "id") & (numbers != np.floor(numbers)))
        return np.floor(np.where(bad, 0, numbers)).astype(np.int64), bad
    raise _refuse_type(column, kind)


def _decode_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _is_text(column_type: pa.DataType) -> bool:
    return pa.types.is_string(column_type) or pa.types.is_large_string(column_type)


def _refuse_type(column: pa.ChunkedArray, kind: str) -> TypeError:
    return TypeError(f"is of type {column.type}, {_NEEDED[kind]} are needed")


def _parse_strings(strings: list[str | None], kind: str) -> tuple[np.ndarray, np.ndarray]:
    parse = cells.find_parsers()[kind]
    values = []
    bad = np.zeros(len(strings), bool)
    for row, string in enumerate(strings):
        try:
            values.append(parse((string or "").strip()))
        except ValueError:
            values.append("" if kind == "id" else 0)
            bad[row] = True
    return np.array(values, object if kind == "id" else None), bad


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
