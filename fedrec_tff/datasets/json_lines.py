"""Columns of a file of JSON lines: an object a line, each read by itself."""

# Tested in tests/datasets/test_tables.py.

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator, Mapping

from fedrec_tff import errors
from fedrec_tff.datasets import cells, delimited, json_features
from fedrec_tff.datasets.cells import ParsedColumns


def read_columns(
    path: pathlib.Path,
    kinds: Mapping[str, str],
    encoding: str = "utf-8",
    max_malformed_fraction: float = 0.0,
    time_format: str | None = None,
) -> ParsedColumns:
    """Reads some keys of all objects.

    Args:
      path: The file.
      kinds: The kind of each key asked for, as `delimited.read_columns` takes it. An object that
        lacks one is malformed, unless it is "text".
      encoding: The text encoding of the file.
      max_malformed_fraction: The fraction of lines that may be malformed and skipped.
      time_format: As `times.parse` takes it.

    Returns:
      The columns; they may have no rows.

    Raises:
      UserError: If the file is missing or empty, or more lines are malformed than allowed.
    """
    pieces = [delimited.read_text(path, encoding)]
    (parsed,) = read_pieces(path, pieces, kinds, max_malformed_fraction, time_format)
    return parsed


def read_pieces(
    path: pathlib.Path,
    pieces: Iterable[str],
    kinds: Mapping[str, str],
    max_malformed_fraction: float = 0.0,
    time_format: str | None = None,
) -> Iterator[ParsedColumns]:
    """Reads some keys of the objects of a file that comes in pieces.

    Args:
      path: The file, for errors.
      pieces: The text, cut at ends of lines; the first piece is not blank.
      kinds: As `read_columns` takes it.
      max_malformed_fraction: As `read_columns` takes it, of the lines of all pieces.
      time_format: As `times.parse` takes it.

    Returns:
      The columns, piece by piece; a piece may have no rows.

    Raises:
      UserError: As `read_columns`; what is only known at the end is told behind the last piece.
    """
    batches = _parse_pieces(path, pieces, kinds, time_format)
    return cells.check_batches(batches, max_malformed_fraction)


def read_names(path: pathlib.Path, encoding: str = "utf-8") -> list[str]:
    """Returns the keys of the first object that can be read, by which the layout is told."""
    reason = "no object"
    for line in delimited.read_text(path, encoding).split("\n"):
        try:
            row = json_features.parse(line)
        except ValueError as error:
            reason = str(error)
            continue
        if isinstance(row, dict):
            return list(row)
    raise errors.UserError(f"{path} holds no JSON, of which an object a line is needed: {reason}")


def _parse_pieces(
    path: pathlib.Path, pieces: Iterable[str], kinds: Mapping[str, str], time_format: str | None
) -> Iterator[ParsedColumns]:
    lines_before = 0
    for text in pieces:
        if not lines_before and text.lstrip().startswith("["):
            raise errors.UserError(
                f"{path} is one JSON array, whose rows have no lines: write an object a line"
            )
        rows = _find_rows(text, kinds, lines_before)
        yield cells.parse_rows(path, rows, list(kinds), kinds, time_format)
        lines_before += text.count("\n")


def _find_rows(text: str, kinds: Mapping[str, str], lines_before: int) -> Iterator[cells.Row]:
    for number, line in enumerate(text.split("\n"), start=lines_before + 1):
        if line.strip():
            yield number, _read_row(line, kinds)


def _read_row(line: str, kinds: Mapping[str, str]) -> list[str] | ValueError:
    try:
        row = json_features.parse(line)
    except ValueError as error:
        return ValueError(f"no JSON object: {error}")
    if not isinstance(row, dict):
        return ValueError("an object is needed, with keys and values")
    missing = [name for name, kind in kinds.items() if kind != "text" and name not in row]
    if missing:
        return ValueError(f"has no {missing[0]!r}; its keys are: {', '.join(row) or 'none'}")
    try:
        return [json_features.to_text(row.get(name)) for name in kinds]
    except ValueError as error:
        return ValueError(f"a value {error}")
