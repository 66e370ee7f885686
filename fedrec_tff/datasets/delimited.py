"""Reads typed columns of a delimited text file, and says file and line of what is wrong.

Good files go through a fast parser, in one piece. If it objects to anything, the file is read
again row by row: that is slow, but finds the line to name, and can skip rows within a limit. Both
read a row alike, so what is wrong with one row changes no other: what the fast parser alone takes
(text behind a closing quote, hexadecimal numbers) is kept from it. Where rows may be skipped, a row
is a line, so that a quote which is never closed costs its own line and not those behind it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as pa_csv

from fedrec_tff import errors
from fedrec_tff.datasets import times

_UNIT_SEPARATOR = "\x1f"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_HEXADECIMAL = re.compile(r"\b0[xX]")
_INT64 = np.iinfo(np.int64)
_LARGEST_NUMBER = float(np.finfo(np.float32).max)
_Row = tuple[int, list[str] | csv.Error]


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """How a text file is laid out.

    Attributes:
      delimiter: What stands between two fields; one character, or "::".
      column_names: The fields of every row of a file without a header; empty for a file whose
        first line is the header.
      encoding: Of the text.
      quoting: Whether a field may stand in double quotes, with delimiters inside, and, where no
        malformed rows are allowed, line ends.
      isolates_rows: Whether a line is a row, whatever the others are: else a quote in one row can
        swallow those that follow.
    """

    delimiter: str = ","
    column_names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    quoting: bool = True
    isolates_rows: bool = False

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 and self.delimiter != "::":
            raise errors.UserError(
                f'the delimiter must be one character or "::", not {self.delimiter!r}'
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ParsedColumns:
    """The columns asked for, and how many rows there were.

    Attributes:
      frame: A column per name asked for: int64, float64, or str objects.
      rows_read: The rows of the file, malformed ones included.
      malformed: How many of them were skipped.
      billionths: What columns of times have beyond the whole numbers of `frame`, by name: int32
        [rows of `frame`]. A column that is missing here has nothing.
    """

    frame: pd.DataFrame
    rows_read: int
    malformed: int
    billionths: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def read_columns(
    path: pathlib.Path,
    text_format: TextFormat,
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
) -> ParsedColumns:
    """Reads some columns of a text file.

    Args:
      path: The file.
      text_format: Its layout.
      kinds: The kind of each column asked for, by name: "id" (text that may not be empty),
        "text", "integer" (fits int64), "number" (finite, also as float32) or "time" (as
        `times.parse` takes it).
      max_malformed_fraction: The fraction of rows that may be malformed and skipped. With 0 the
        first one is an error.

    Returns:
      The columns.

    Raises:
      UserError: If the file is missing, no file, empty, of another encoding or without a column
        asked for, or has more malformed rows than allowed.
    """
    text, delimiter = _read_text(path, text_format)
    quoting = text_format.quoting
    names, header_lines = list(text_format.column_names), 0
    if not names:
        names, header_lines = _read_header(path, text, delimiter, quoting)
    check_names(path, names, list(kinds))
    spans_lines = not (max_malformed_fraction or text_format.isolates_rows)
    parsed = None
    if not _needs_care(text, delimiter, quoting, spans_lines, kinds):
        parsed = _parse_fast(text, delimiter, quoting, names, header_lines, kinds)
    if parsed is None:
        if spans_lines:
            rows = itertools.islice(_rows(text, delimiter, quoting), bool(header_lines), None)
        else:
            rows = _lines(text, delimiter, quoting, header_lines)
        parsed = _parse_by_row(path, rows, names, kinds, max_malformed_fraction)
    if not len(parsed.frame):
        raise errors.UserError(f"{path} has no rows of data")
    return parsed


def read_names(path: pathlib.Path, text_format: TextFormat) -> list[str]:
    """Returns the names in the header of a text file, by which the layout is told.

    Raises:
      UserError: If the file is missing, empty or of another encoding.
    """
    text, delimiter = _read_text(path, text_format)
    return _read_header(path, text, delimiter, text_format.quoting)[0]


def read_bytes(path: pathlib.Path) -> bytes:
    """Returns the content of a file; a path that is none, or an empty one, is a user's error."""
    check_is_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise errors.UserError(f"cannot read {path}: {error.strerror}") from error
    if not data.strip():
        raise errors.UserError(f"{path} is empty")
    return data


def read_text(path: pathlib.Path, encoding: str = "utf-8") -> str:
    """Returns the text of a file; another encoding is a user's error, told with the line."""
    return _decode(read_bytes(path), path, encoding)


def check_is_file(path: pathlib.Path) -> None:
    """Refuses a path that is missing, a folder, or not for this user to read."""
    if path.is_dir():
        raise errors.UserError(f"{path} is a folder, a file is needed: name a file in it")
    if not path.exists():
        raise errors.UserError(f"there is no file {path}: check the path")
    if not os.access(path, os.R_OK):
        raise errors.UserError(f"{path} may not be read: change its permissions")


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


def _read_text(path: pathlib.Path, text_format: TextFormat) -> tuple[str, str]:
    """Returns the text of a file and the one character that stands between its fields."""
    text = read_text(path, text_format.encoding)
    if text_format.delimiter == "::":
        return text.replace("::", _UNIT_SEPARATOR), _UNIT_SEPARATOR
    return text, text_format.delimiter


def _decode(data: bytes, path: pathlib.Path, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError as error:
        raise errors.UserError(f"there is no text encoding {encoding!r}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise errors.UserError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not {encoding}: name the file's "
            "encoding, for example latin-1"
        ) from error


def _needs_care(
    text: str, delimiter: str, quoting: bool, spans_lines: bool, kinds: Mapping[str, str]
) -> bool:
    """Tells whether the fast parser might take what the other one refuses, or take it otherwise."""
    has_integers = not {"integer", "time"}.isdisjoint(kinds.values())
    if has_integers and ("0x" in text or "0X" in text) and _HEXADECIMAL.search(text):
        return True
    if not quoting or '"' not in text:
        return False
    inside = '[^"]' if spans_lines else r'[^"\r\n]'
    end = rf"[{re.escape(delimiter)}\r\n]"
    good_field = rf'(?:^|(?<={end}))"{inside}*(?:""{inside}*)*"(?={end}|\Z)'
    return '"' in re.sub(good_field, "", text)


def _parse_fast(
    text: str,
    delimiter: str,
    quoting: bool,
    names: list[str],
    header_lines: int,
    kinds: Mapping[str, str],
) -> ParsedColumns | None:
    """Parses all or nothing: None if there is anything to object to."""
    # Repeated names among the columns not asked for are harmless: positions tell them apart.
    position = {name: f"{names.index(name)}" for name in kinds}
    types = {
        position[name]: pa.float64() if kind == "number" else pa.string()
        for name, kind in kinds.items()
    }
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=pa_csv.ReadOptions(
                column_names=[str(index) for index in range(len(names))],
                skip_rows=header_lines,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoting else False,
                newlines_in_values=quoting,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=list(position.values()),
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        columns = {name: table[column] for name, column in position.items()}
        for name, kind in kinds.items():
            if kind in ("integer", "time"):
                columns[name] = _to_integers(columns[name])
    except pa.ArrowInvalid:
        return None
    frame = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()}, copy=False)
    for name, kind in kinds.items():
        if kind == "number" and not is_number(frame[name].to_numpy()).all():
            return None
        if kind in ("id", "text"):
            frame[name] = frame[name].str.strip()
        if kind == "id" and (frame[name] == "").any():
            return None
    return ParsedColumns(frame, len(frame), 0)


def _to_integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Casts text to int64 but for hexadecimal digits, which the row by row parser refuses."""
    if compute.any(compute.match_substring(column, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("hexadecimal")
    return compute.utf8_trim_whitespace(column).cast(pa.int64())


def _parse_by_row(
    path: pathlib.Path,
    rows: Iterator[_Row],
    names: list[str],
    kinds: Mapping[str, str],
    max_malformed_fraction: float,
) -> ParsedColumns:
    """Parses row by row, and counts the rows that cannot be."""
    parsers = [(names.index(name), name, PARSERS[kind]) for name, kind in kinds.items()]
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
    check_malformed(malformed, rows_read, max_malformed_fraction, first_error)
    billionths = {}
    for name, kind in kinds.items():
        if kind == "time":
            pairs = np.array(columns[name], np.int64).reshape(-1, 2)
            columns[name], billionths[name] = pairs[:, 0], pairs[:, 1].astype(np.int32)
    frame = pd.DataFrame(
        {name: np.array(columns[name], _DTYPES[kind]) for name, kind in kinds.items()}
    )
    return ParsedColumns(frame, rows_read, malformed, billionths)


def _read_header(
    path: pathlib.Path, text: str, delimiter: str, quoting: bool
) -> tuple[list[str], int]:
    """Returns the names in the first row that is not blank, and the line that it ends on."""
    line, fields = next(_rows(text, delimiter, quoting))
    if isinstance(fields, csv.Error):
        raise errors.UserError(f"{path}:{line}: the header cannot be read: {fields}")
    last_line = line + sum(field.count("\n") for field in fields)
    return [field.strip() for field in fields], last_line


def _rows(text: str, delimiter: str, quoting: bool) -> Iterator[_Row]:
    """Yields the line number and the fields of each row that is not blank.

    Instead of fields, a row with broken quotes has the error.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error
            continue
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield line, fields


def _lines(text: str, delimiter: str, quoting: bool, header_lines: int) -> Iterator[_Row]:
    """Yields what `_rows` does, of each line by itself, after those of the header."""
    for line, content in enumerate(io.StringIO(text, newline=""), start=1):
        if line > header_lines:
            for _, fields in _rows(content, delimiter, quoting):
                yield line, fields


def _parse_fields(
    fields: list[str] | csv.Error, width: int, parsers: list[tuple[int, str, Callable]]
) -> list[tuple[str, object]]:
    if isinstance(fields, csv.Error):
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


def _parse_id(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


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


PARSERS = {
    "id": _parse_id,
    "text": str,
    "integer": _parse_integer,
    "number": _parse_number,
    "time": times.parse,
}
_DTYPES = {
    "id": object,
    "text": object,
    "integer": np.int64,
    "number": np.float64,
    "time": np.int64,
}
