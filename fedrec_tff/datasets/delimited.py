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
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as pa_csv

from fedrec_tff import errors
from fedrec_tff.datasets import cells, compression, times
from fedrec_tff.datasets.cells import ParsedColumns

_TYPED = re.compile(r"(?P<name>.+):(?P<type>token|token_seq|float|float_seq)")
_TWO_COLONS = "::"
_UNIT_SEPARATOR = "\x1f"
_NO_DELIMITERS = '"\r\n\0'
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_HEXADECIMAL = re.compile(r"\b0[xX]")


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """How a text file is laid out.

    Attributes:
      delimiter: The character between two fields, or "::".
      column_names: The fields of every row of a file without a header; empty for a file whose
        first line is the header.
      encoding: The encoding of the text.
      quoting: Whether a field may stand in double quotes, with delimiters inside, and, where no
        malformed rows are allowed, line ends.
      isolates_rows: Whether a line is a row, whatever the others are: else a quote in one row can
        swallow those that follow.
      time_format: As `times.parse` takes it.
    """

    delimiter: str = ","
    column_names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    quoting: bool = True
    isolates_rows: bool = False
    time_format: str | None = None

    def __post_init__(self) -> None:
        is_one = len(self.delimiter) == 1 and self.delimiter not in _NO_DELIMITERS
        if not is_one and self.delimiter != _TWO_COLONS:
            raise errors.UserError(
                'the delimiter must be one character, but no quote or line end, or "::", not '
                f"{self.delimiter!r}"
            )


def read_columns(
    path: pathlib.Path,
    text_format: TextFormat,
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
    may_be_empty: bool = False,
) -> ParsedColumns:
    """Reads some columns of a text file.

    Args:
      path: The file.
      text_format: The layout of the file.
      kinds: The kind of each column asked for, by name: "id" (text that may not be empty),
        "text", "integer" (fits int64), "number" (finite, also as float32) or "time" (as
        `times.parse` takes it).
      max_malformed_fraction: The fraction of rows that may be malformed and skipped. With 0 the
        first one is an error.
      may_be_empty: Whether no rows at all are no error.

    Returns:
      The columns.

    Raises:
      UserError: If the file is missing, no file, empty, of another encoding or without a column
        asked for, or has more malformed rows than allowed.
    """
    pieces = [read_text(path, text_format.encoding)]
    (parsed,) = read_pieces(path, pieces, text_format, kinds, max_malformed_fraction)
    if not (may_be_empty or len(parsed.frame)):
        raise errors.UserError(f"{path} has no rows of data")
    return parsed


def read_pieces(
    path: pathlib.Path,
    pieces: Iterable[str],
    text_format: TextFormat,
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
) -> Iterator[ParsedColumns]:
    """Reads some columns of a text file that comes in pieces.

    Args:
      path: The file, for errors.
      pieces: The text, cut where rows end; the first piece is not blank.
      text_format: The layout of the file.
      kinds: As `read_columns` takes it.
      max_malformed_fraction: As `read_columns` takes it, of the rows of all pieces.

    Returns:
      The columns, piece by piece; a piece may have no rows.

    Raises:
      UserError: As `read_columns`; what is only known at the end is told behind the last piece.
    """
    spans = spans_lines(text_format, max_malformed_fraction)
    batches = _parse_pieces(path, pieces, text_format, kinds, spans)
    return cells.check_batches(batches, max_malformed_fraction)


def spans_lines(text_format: TextFormat, max_malformed_fraction: float) -> bool:
    """Whether a field in quotes may hold line ends, so that a row may have several lines."""
    return not (max_malformed_fraction or text_format.isolates_rows)


def read_names(path: pathlib.Path, text_format: TextFormat) -> list[str]:
    """Returns the names in the header of a text file, by which the layout is told.

    Raises:
      UserError: If the file is missing, empty or of another encoding.
    """
    first, delimiter = separate(read_first_line(path, text_format.encoding), text_format)
    _, fields = next(_rows(first, delimiter, text_format.quoting), (0, csv.Error()))
    if isinstance(fields, csv.Error):
        # Empty, or a name with a line end in it.
        first, delimiter = _read_text(path, text_format)
    return _read_header(path, first, delimiter, text_format.quoting)[0]


def read_sequence_names(path: pathlib.Path, text_format: TextFormat) -> list[str]:
    """Returns the columns that hold several values, separated by spaces, by the header's types."""
    text, delimiter = _read_text(path, text_format)
    _, fields = next(_rows(text, delimiter, text_format.quoting), (0, []))
    typed = [_TYPED.fullmatch(field.strip()) for field in fields]
    return [found["name"] for found in typed if found["type"] == "token_seq"] if all(typed) else []


def read_bytes(path: pathlib.Path) -> bytes:
    """Returns the content of a file, unpacked.

    Raises:
      UserError: If the path is no file, or the file is empty or cannot be read.
    """
    check_is_file(path)
    data = compression.read(path)
    if not data.strip():
        raise errors.UserError(f"{path} is empty")
    return data


def read_text(path: pathlib.Path, encoding: str = "utf-8") -> str:
    """Returns the text of a file; another encoding is a user's error, told with the line."""
    text = _decode(read_bytes(path), path, encoding)
    if not text.strip():
        raise errors.UserError(f"{path} is empty")
    return text


def read_first_line(path: pathlib.Path, encoding: str = "utf-8") -> str:
    """Returns the first line that is not blank, by which the layout is told; empty if none is."""
    check_is_file(path)
    check_encoding(encoding)
    try:
        with compression.open_stream(path) as stream:
            lines = io.TextIOWrapper(stream, encoding, errors="replace")
            found = (line.removeprefix("\ufeff") for line in lines)
            return next((line for line in found if line.strip()), "")
    except UnicodeError as error:
        raise refuse_bytes(path, encoding, error) from error


def check_is_file(path: pathlib.Path) -> None:
    """Refuses a path that is missing, a folder, or not for this user to read."""
    if path.is_dir():
        raise errors.UserError(f"{path} is a folder, a file is needed: name a file in it")
    if not path.exists():
        raise errors.UserError(f"there is no file {path}: check the path")
    if not os.access(path, os.R_OK):
        raise errors.UserError(f"{path} may not be read: change its permissions")


def check_encoding(encoding: str) -> None:
    """Refuses what is the name of no text encoding."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)
    except (LookupError, ValueError) as error:
        raise errors.UserError(f"there is no text encoding {encoding!r}") from error


def refuse_bytes(
    path: pathlib.Path, encoding: str, error: UnicodeError, lines_before: int = 0
) -> errors.UserError:
    """What to raise where bytes are no text of an encoding.

    Args:
      path: The file.
      encoding: The encoding.
      error: What the decoder raised.
      lines_before: The lines of the file before what it was given.

    Returns:
      The error, which names the line, if the decoder tells the place.
    """
    way_out = "name the file's encoding, for example latin-1"
    if not isinstance(error, UnicodeDecodeError):
        return errors.UserError(f"{path} is not {encoding} ({error}): {way_out}")
    line = lines_before + error.object.count(b"\n", 0, error.start) + 1
    found = f"byte {error.object[error.start]:#04x}"
    return errors.UserError(f"{path}:{line}: {found} is not {encoding}: {way_out}")


def separate(text: str, text_format: TextFormat) -> tuple[str, str]:
    """Returns text in which one character stands between two fields, and that character."""
    if text_format.delimiter == _TWO_COLONS:
        return text.replace(_TWO_COLONS, _UNIT_SEPARATOR), _UNIT_SEPARATOR
    return text, text_format.delimiter


def _parse_pieces(
    path: pathlib.Path,
    pieces: Iterable[str],
    text_format: TextFormat,
    kinds: Mapping[str, str],
    spans: bool,
) -> Iterator[ParsedColumns]:
    quoting, time_format = text_format.quoting, text_format.time_format
    names: list[str] = []
    lines_before = 0
    for piece in pieces:
        text, delimiter = separate(piece, text_format)
        header_lines = 0
        if not names:
            names = list(text_format.column_names)
            if not names:
                names, header_lines = _read_header(path, text, delimiter, quoting)
                _check_is_header(path, names, kinds)
            cells.check_names(path, names, list(kinds))
        parsed = None
        if not _needs_care(text, delimiter, quoting, spans, kinds):
            parsed = _parse_fast(text, delimiter, quoting, names, header_lines, kinds, time_format)
        if parsed is None:
            if spans:
                rows = itertools.islice(_rows(text, delimiter, quoting), bool(header_lines), None)
            else:
                rows = _lines(text, delimiter, quoting, header_lines)
            numbered = ((lines_before + line, fields) for line, fields in rows)
            parsed = cells.parse_rows(path, numbered, names, kinds, time_format)
        yield parsed
        lines_before += text.count("\n")


def _read_text(path: pathlib.Path, text_format: TextFormat) -> tuple[str, str]:
    """Returns the text of a file and the one character that stands between its fields."""
    return separate(read_text(path, text_format.encoding), text_format)


def _decode(data: bytes, path: pathlib.Path, encoding: str) -> str:
    check_encoding(encoding)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise refuse_bytes(path, encoding, error) from error


def _needs_care(
    text: str, delimiter: str, quoting: bool, spans_lines: bool, kinds: Mapping[str, str]
) -> bool:
    """Tells whether the fast parser might take what the other one refuses, or take it otherwise."""
    if not delimiter.isascii():
        return True
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
    time_format: str | None,
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
            pa.BufferReader(_copy_out(text.encode())),
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
            if kind == "integer" or (kind == "time" and time_format is None):
                columns[name] = _to_integers(columns[name])
    except pa.ArrowInvalid:
        return None
    frame = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()}, copy=False)
    for name, kind in kinds.items():
        if kind == "number" and not cells.is_number(frame[name].to_numpy()).all():
            return None
        if kind in ("id", "text"):
            frame[name] = frame[name].str.strip()
        if kind == "id":
            if (frame[name] == "").any():
                return None
            if compute.any(compute.match_substring(columns[name], ".0")).as_py():
                frame[name] = frame[name].map(cells.unify_id)
    billionths = {}
    for name, kind in kinds.items():
        if kind == "time" and time_format is not None:
            frame[name], billionths[name], bad = times.parse_all(frame[name].tolist(), time_format)
            if bad.any():
                return None
    return ParsedColumns(frame, len(frame), 0, billionths)


def _copy_out(content: bytes) -> pa.Buffer:
    """The same bytes in memory of Arrow's.

    Its threads may let go of what they read when Python is ending, which Python's own bytes do not
    survive: the process would abort.
    """
    stream = pa.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()


def _to_integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Casts text to int64 but for hexadecimal digits, which the row by row parser refuses."""
    if compute.any(compute.match_substring(column, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("hexadecimal")
    return compute.utf8_trim_whitespace(column).cast(pa.int64())


def _read_header(
    path: pathlib.Path, text: str, delimiter: str, quoting: bool
) -> tuple[list[str], int]:
    """Returns the names in the first row that is not blank, and the line that it ends on."""
    # A line of quotes alone is blank.
    line, fields = next(_rows(text, delimiter, quoting), (1, csv.Error("it names no columns")))
    if isinstance(fields, csv.Error):
        raise errors.UserError(f"{path}:{line}: the header cannot be read: {fields}")
    last_line = line + sum(field.count("\n") for field in fields)
    return _without_types([field.strip() for field in fields]), last_line


def _without_types(names: list[str]) -> list[str]:
    """Names without the types that RecBole's atomic files put behind all of them."""
    typed = [_TYPED.fullmatch(name) for name in names]
    return [match["name"] for match in typed] if all(typed) else names


def _check_is_header(path: pathlib.Path, names: list[str], wanted: Iterable[str]) -> None:
    """Refuses a first row that holds numbers, and no name that is asked for."""
    has_numbers = any(_NUMBER.fullmatch(name) for name in names)
    if has_numbers and not set(names) & set(wanted):
        raise errors.UserError(
            f"{path} has no header: its first line is a row already, {', '.join(names)}: add "
            f"--column_names=... with a name for each of its {len(names)} columns, by commas"
        )


def _rows(text: str, delimiter: str, quoting: bool) -> Iterator[cells.Row]:
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


def _lines(text: str, delimiter: str, quoting: bool, header_lines: int) -> Iterator[cells.Row]:
    """Yields what `_rows` does, of each line by itself, after those of the header."""
    for line, content in enumerate(io.StringIO(text, newline=""), start=1):
        if line > header_lines:
            for _, fields in _rows(content, delimiter, quoting):
                yield line, fields
