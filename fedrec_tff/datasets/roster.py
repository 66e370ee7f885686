"""The roster: who the users are, listed before anybody's data are looked at."""

# Tested in tests/datasets/test_loading.py.

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable

from fedrec_tff.datasets import compression, delimited, parts, tables

# No id has it, so a line is one field.
_NO_DELIMITER = "\x1f"


def read(path: str | pathlib.Path, user_column: str) -> tuple[str, ...]:
    """Reads a roster.

    Args:
      path: A CSV, TSV, Parquet or JSON lines table, by its suffix; any other file has one raw id
        a line.
      user_column: The column of raw user ids of a table.

    Returns:
      The raw ids, each once; ids that are listed again count once.

    Raises:
      UserError: If the file is missing, empty or malformed, or has no such column.
    """
    path = pathlib.Path(path)
    delimited.check_is_file(path)
    if compression.find_suffix(path) in parts.TABLE_SUFFIXES:
        ids = tables.read_ids(path, user_column)
    else:
        lines = delimited.TextFormat(_NO_DELIMITER, ("user",), quoting=False)
        ids = delimited.read_columns(path, lines, {"user": "id"}).frame["user"].tolist()
    return tuple(dict.fromkeys(ids))


def digest(ids: Iterable[str]) -> str:
    """Returns a SHA-256 in hexadecimal over the ids, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
