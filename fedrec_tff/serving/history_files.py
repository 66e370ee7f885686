"""Histories as people hand them over: on the command line, or a file with a row for each."""

# Tested in tests/serving/test_history_files.py.

import csv
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from fedrec_tff import errors

SEPARATOR = ";"
_HISTORY, _NAME = "history", "name"
_CSV = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_JSON_LINES = (".jsonl", ".ndjson", ".json")
ENDINGS = (*_CSV, *_PARQUET, *_JSON_LINES)


@dataclasses.dataclass(frozen=True)
class NamedHistory:
    """What somebody took.

    Attributes:
      name: Name by which the table of recommendations tells it apart.
      items: Ids or titles of items, oldest first.
    """

    name: str
    items: tuple[str, ...]


def split(text: str) -> tuple[str, ...]:
    """Takes a history apart: ids or titles, oldest first, by `SEPARATOR`."""
    parts = (part.strip() for part in text.split(SEPARATOR))
    return tuple(part for part in parts if part)


def read(path: str | os.PathLike[str]) -> list[NamedHistory]:
    """Reads a file with a row for each history.

    It has a column `history`, a list (Parquet, JSON lines) or a text that `split` takes apart, and
    may have a column `name`; without it, rows have their numbers from 1. Other columns are not
    looked at.

    Args:
      path: Path of a CSV, TSV, Parquet or JSON lines file.

    Returns:
      The histories, in order.

    Raises:
      UserError: If it cannot be read as such.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise errors.UserError(f"--histories={path}: there is no such file")
    if suffix not in ENDINGS:
        raise errors.UserError(
            f"--histories={path}: a file of histories ends with one of {', '.join(ENDINGS)}"
        )
    rows = _read_json_lines(path) if suffix in _JSON_LINES else _read_table(path, suffix)
    return [_to_history(path, number, row) for number, row in enumerate(rows, start=1)]


def _read_table(path: pathlib.Path, suffix: str) -> Iterator[dict[str, Any]]:
    try:
        columns = _read_parquet(path) if suffix in _PARQUET else _read_csv(path, _CSV[suffix])
    # Arrow's errors are not all of one class, nor are those of pandas.
    except (OSError, ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise errors.UserError(f"--histories={path}: it cannot be read: {error}") from error
    if _HISTORY not in columns:
        raise errors.UserError(
            f"--histories={path}: a column {_HISTORY} is needed; there are: {', '.join(columns)}"
        )
    known = [name for name in (_NAME, _HISTORY) if name in columns]
    rows = zip(*(columns[name] for name in known), strict=True)
    return (dict(zip(known, row, strict=True)) for row in rows)


def _read_csv(path: pathlib.Path, delimiter: str) -> dict[str, list[str]]:
    # Not by pandas: of a few hundred bytes its parser makes millions of rows, where one has
    # carriage returns in it.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            numbered = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    if not numbered:
        raise ValueError("it is empty")
    (_, names), *rows = numbered
    for number, row in rows:
        if len(row) != len(names):
            raise ValueError(f"line {number}: {len(row)} fields, {len(names)} are needed")
    if len(set(names)) < len(names):
        raise ValueError(f"two columns have one name: {', '.join(names)}")
    return {name: [row[n] for _, row in rows] for n, name in enumerate(names)}


def _read_parquet(path: pathlib.Path) -> dict[str, list[Any]]:
    """The columns that matter, others without their values; what pandas put beside counts not."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        table = file.read([name for name in (_NAME, _HISTORY) if name in names])
        values = {name: table[name].to_pylist() for name in table.column_names}
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(str(error)) from error
    return {name: values.get(name, []) for name in names}


def _read_json_lines(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise errors.UserError(f"--histories={path}: it cannot be read: {error}") from error
    # Not by all that Unicode takes for a line's end, which JSON may have within texts.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise errors.UserError(f"--histories={path}: line {number} is no JSON") from error
        if not (isinstance(row, dict) and _HISTORY in row):
            raise errors.UserError(
                f'--histories={path}: line {number} is no object with a "{_HISTORY}"'
            )
        yield row


def _to_history(path: pathlib.Path, number: int, row: dict[str, Any]) -> NamedHistory:
    value = row[_HISTORY]
    if isinstance(value, str):
        items = split(value)
    elif hasattr(value, "__iter__") and not isinstance(value, bytes | dict):
        items = tuple(str(item) for item in value)
    else:
        raise errors.UserError(
            f"--histories={path}: row {number}: the history is {value!r}, and must be a list of "
            f"items, or a text with {SEPARATOR!r} between them"
        )
    return NamedHistory(str(row.get(_NAME, number)), items)
