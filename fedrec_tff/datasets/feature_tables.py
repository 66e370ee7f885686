"""Tables of what is known of items or users: one row each, CSV, TSV, Parquet or JSON.

A cell is read by itself: the type that a column of Parquet has is the file's own, and text is text.
"""

# Tested in tests/datasets/test_feature_values.py.

from __future__ import annotations

import pathlib
from collections.abc import Collection

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from fedrec_tff import errors
from fedrec_tff.datasets import (
    cells,
    compression,
    delimited,
    json_features,
    parquet_tables,
    parts,
    tables,
)

_SEPARATOR = "|"
_TITLE = "title"


def read(
    path: str | pathlib.Path, id_column: str, isolates_rows: bool = False, encoding: str = "utf-8"
) -> pd.DataFrame:
    """Reads a table whose first line is its header.

    Args:
      path: A file, perhaps compressed; `.parquet` and `.pq` are Parquet, `.json`, `.jsonl` and
        `.ndjson` what `json_features` reads, all others delimited text.
      id_column: The column of raw ids, as the interactions have them.
      isolates_rows: As `delimited.TextFormat` has it.
      encoding: The encoding of text.

    Returns:
      The other columns as text, indexed by id; empty cells are empty text.

    Raises:
      UserError: If the file is missing or unreadable, or the column is missing or not unique.
    """
    path = pathlib.Path(path)
    delimited.check_is_file(path)
    suffix = compression.find_suffix(path)
    if suffix in tables.PARQUET_SUFFIXES:
        table = _read_parquet(path, id_column)
    elif suffix in tables.JSON_SUFFIXES:
        table = json_features.read(path, id_column, encoding)
    else:
        layout = tables.TableLayout(encoding=encoding, isolates_rows=isolates_rows)
        table = _read_text(path, id_column, layout)
    table = table.set_index(id_column)
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise errors.UserError(f"{path}: {id_column} {repeated[0]!r} is there twice")
    return table


def check_matches(table: pd.DataFrame, path: str | pathlib.Path, ids: Collection[str]) -> None:
    """Refuses a table of which the log names nothing: its ids are written in another way.

    Args:
      table: The table from `read`.
      path: The table's file.
      ids: The raw ids of the log.

    Raises:
      UserError: If no id is in both.
    """
    if not set(table.index) & set(ids):
        raise errors.UserError(
            f"{path}: none of its {table.index.name} is in the log, whose ids are like "
            f"{next(iter(ids))!r}: write them in the same way"
        )


def find_beside(place: str | pathlib.Path, suffix: str) -> pathlib.Path | None:
    """Finds the table of items or users that RecBole has beside interactions.

    Args:
      place: The file, folder or pattern of the interactions.
      suffix: `.item` or `.user`.

    Returns:
      Its path; None if there is none, or if the interactions are no `.inter` file.
    """
    for path in parts.find(place):
        beside = path.with_suffix(suffix)
        if path.suffix.lower() == ".inter" and beside.is_file():
            return beside
    return None


def _read_text(path: pathlib.Path, id_column: str, layout: tables.TableLayout) -> pd.DataFrame:
    text_format = tables.find_text_format(path, layout)
    names = delimited.read_names(path, text_format)
    cells.check_names(path, names, [id_column])
    kinds = dict.fromkeys(names, "text") | {id_column: "id"}
    frame = delimited.read_columns(path, text_format, kinds).frame
    for name in delimited.read_sequence_names(path, text_format):
        if not name.endswith(_TITLE):  # whose values are its words
            frame[name] = frame[name].str.split().str.join(_SEPARATOR)
    return frame


def _read_parquet(path: pathlib.Path, id_column: str) -> pd.DataFrame:
    try:
        table = parquet.read_table(pa.BufferReader(compression.read(path)))
    except (pa.ArrowException, OSError) as error:
        raise errors.UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    names = [name.strip() for name in table.column_names]
    cells.check_names(path, names, [id_column])
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        to_text = _to_id if name == id_column else parquet_tables.to_text
        try:
            columns[name] = [to_text(value) for value in column.to_pylist()]
        except parquet_tables.UNREADABLE as error:
            text = " ".join(str(error).split())
            raise errors.UserError(f"{path}: column {name!r}: {text}") from error
    return pd.DataFrame(columns, dtype=object)


def _to_id(value: object) -> str:
    """An id as the log has it: integers with gaps are often stored as fractions."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return cells.unify_id(parquet_tables.to_text(value).strip())
