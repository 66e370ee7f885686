"""Any table of interactions, CSV, TSV, other delimited text or Parquet, by its column names."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from fedrec_tff import errors
from fedrec_tff.datasets import delimited, times
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

_DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_DELIMITERS = ("::", "\t", ",", ";", "|", " ")  # in the order in which a first line is searched
_PARQUET_SUFFIXES = (".parquet", ".pq")
_NEEDED = {"id": "text or integers", "time": "integers or dates", "number": "numbers"}
_WHAT_IS_BAD = {
    "id": "empty or no whole number",
    "time": "neither seconds nor a date",
    "number": "no finite 32-bit number",
}


@dataclasses.dataclass(frozen=True)
class TableColumns:
    """Which columns of a table hold what.

    Attributes:
      user: The column of raw user ids.
      item: The column of raw item ids.
      time: The column of times, each kept to the nanosecond: whole numbers as they are, in any one
        unit; fractions, of seconds; or dates. None where the order of the rows is the order in
        time.
      value: The column of values, for example ratings; None where there is none.
    """

    user: str = "user"
    item: str = "item"
    time: str | None = None
    value: str | None = None

    def kinds(self) -> dict[str, str]:
        """Returns the kind of each column that is named, as `delimited.read_columns` takes it."""
        named = [
            (self.user, "id"), (self.item, "id"), (self.time, "time"), (self.value, "number")
        ]  # fmt: skip
        kinds = {name: kind for name, kind in named if name is not None}
        if len(kinds) < sum(name is not None for name, _ in named):
            raise errors.UserError(
                f"user, item, time and value must be different columns, not {self}"
            )
        return kinds


def read(
    path: str | pathlib.Path,
    columns: TableColumns,
    column_names: tuple[str, ...] = (),
    delimiter: str | None = None,
    encoding: str = "utf-8",
    max_malformed_fraction: float = 0.0,
    user_features: pd.DataFrame | None = None,
    item_features: pd.DataFrame | None = None,
    isolates_rows: bool = False,
) -> tuple[Interactions, DataCounts]:
    """Reads a table with one interaction per row.

    Args:
      path: A file; `.parquet` and `.pq` are Parquet, all others are delimited text.
      columns: Which columns hold what.
      column_names: Names for the columns of a text file without a header, one for each; empty
        for a file whose first line is the header.
      delimiter: What stands between two fields; None to go by the suffix (`.csv`, `.tsv`), or
        else by the first line.
      encoding: Of a text file.
      max_malformed_fraction: The fraction of rows that may be malformed and skipped.
      user_features: What is known of users, indexed by raw id.
      item_features: What is known of items, indexed by raw id.
      isolates_rows: Whether no row may decide how others are read: the first of a file without a
        header doesn't tell the delimiter, and no value spans lines.

    Returns:
      The log, and what was dropped.

    Raises:
      UserError: If the file or a column is missing, or a row is malformed.
    """
    path = pathlib.Path(path)
    kinds = columns.kinds()
    if isolates_rows and column_names and not (delimiter or _is_told_by_suffix(path)):
        raise errors.UserError(
            f"{path}: the first user's row would tell the delimiter of all, which no noise covers: "
            "name the file .csv (commas) or .tsv (tabs), or give it a header in place of "
            "--column_names"
        )
    parsed = _read_columns(
        path, kinds, column_names, delimiter, encoding, max_malformed_fraction, isolates_rows
    )
    frame = parsed.frame
    log = interactions_lib.create_interactions(
        frame[columns.user].to_numpy(),
        frame[columns.item].to_numpy(),
        None if columns.time is None else frame[columns.time].to_numpy(),
        None if columns.value is None else frame[columns.value].to_numpy(),
        user_features,
        item_features,
        parsed.billionths.get(columns.time),
    )
    return log, DataCounts(
        rows_read=parsed.rows_read,
        malformed=parsed.malformed,
        duplicates=len(frame) - log.num_interactions,
    )


def read_ids(path: str | pathlib.Path, column: str) -> list[str]:
    """Reads one column of raw ids of a table with a header, or of Parquet.

    Args:
      path: As `read` takes it.
      column: Its name.

    Returns:
      The id of each row, written as `read` would.

    Raises:
      UserError: If the file or the column is missing, or an id is.
    """
    parsed = _read_columns(pathlib.Path(path), {column: "id"})
    return [str(raw_id) for raw_id in parsed.frame[column]]


def _read_columns(
    path: pathlib.Path,
    kinds: dict[str, str],
    column_names: tuple[str, ...] = (),
    delimiter: str | None = None,
    encoding: str = "utf-8",
    max_malformed_fraction: float = 0.0,
    isolates_rows: bool = False,
) -> delimited.ParsedColumns:
    if path.suffix.lower() in _PARQUET_SUFFIXES:
        if column_names or delimiter:
            raise errors.UserError(f"{path} is Parquet, which has names: drop --column_names")
        return _read_parquet(path, kinds, max_malformed_fraction)
    text_format = delimited.TextFormat(
        delimiter or _guess_delimiter(path),
        tuple(column_names),
        encoding,
        isolates_rows=isolates_rows,
    )
    return delimited.read_columns(path, text_format, kinds, max_malformed_fraction)


def _is_told_by_suffix(path: pathlib.Path) -> bool:
    return path.suffix.lower() in (*_DELIMITER_OF_SUFFIX, *_PARQUET_SUFFIXES)


def _guess_delimiter(path: pathlib.Path) -> str:
    by_suffix = _DELIMITER_OF_SUFFIX.get(path.suffix.lower())
    if by_suffix:
        return by_suffix
    delimited.check_is_file(path)
    with path.open(errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    return next((delimiter for delimiter in _DELIMITERS if delimiter in first), ",")


def _read_parquet(
    path: pathlib.Path, kinds: dict[str, str], max_malformed_fraction: float
) -> delimited.ParsedColumns:
    delimited.check_is_file(path)
    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        delimited.check_names(path, names, list(kinds))
        table = file.read(columns=list(kinds))
    except (pa.ArrowException, OSError) as error:
        raise errors.UserError(
            f"{path} is no readable Parquet file ({_one_line(error)}): check that it is complete"
        ) from error
    if not table.num_rows:
        raise errors.UserError(f"{path} has no rows of data")
    columns, billionths = {}, {}
    bad = np.zeros(table.num_rows, bool)
    first_error = ""
    for name, kind in kinds.items():
        try:
            if kind == "time":
                columns[name], billionths[name], bad_here = _convert_times(table[name])
            else:
                columns[name], bad_here = _convert(table[name], kind)
        except (pa.ArrowInvalid, TypeError) as error:
            raise errors.UserError(f"{path}: column {name!r}: {_one_line(error)}") from error
        if bad_here.any() and not first_error:
            first_error = f"{path}: row {bad_here.argmax() + 1}: {name} is {_WHAT_IS_BAD[kind]}"
        bad |= bad_here
    malformed = int(np.count_nonzero(bad))
    delimited.check_malformed(malformed, table.num_rows, max_malformed_fraction, first_error)
    frame = pd.DataFrame(columns)[~bad]
    if not len(frame):
        raise errors.UserError(f"{path} has no rows of data")
    billionths = {name: part[~bad] for name, part in billionths.items()}
    return delimited.ParsedColumns(frame, table.num_rows, malformed, billionths)


def _convert_times(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns whole numbers, billionths, and which of the rows are malformed."""
    column = _decode_dictionary(column)
    if _is_text(column.type):
        return times.parse_all([text or "" for text in column.to_pylist()])
    converted = times.convert(column)
    if converted is None:
        raise _refuse_type(column, "time")
    return converted


def _convert(column: pa.ChunkedArray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a Parquet column as ids or numbers, and which of its rows are malformed."""
    column = _decode_dictionary(column)
    bad = column.is_null().to_numpy()
    column_type = column.type
    if _is_text(column_type):
        return _parse_strings(column.to_pylist(), kind)
    if pa.types.is_integer(column_type):
        target = pa.float64() if kind == "number" else pa.int64()
        return compute.fill_null(column, 0).cast(target).to_numpy(), bad
    if pa.types.is_floating(column_type) or pa.types.is_decimal(column_type):
        numbers = compute.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
        bad = ~delimited.is_number(numbers)
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
    parse = delimited.PARSERS[kind]
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
