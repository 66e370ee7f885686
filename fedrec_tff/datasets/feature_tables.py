"""Tables of what is known of items or users: one row each, CSV, TSV or Parquet."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Collection

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import delimited

_DELIMITER_OF_SUFFIX = {".tsv": "\t", ".tab": "\t"}
_PARQUET_SUFFIXES = (".parquet", ".pq")
_SEPARATOR = "|"


def read(path: str | pathlib.Path, id_column: str) -> pd.DataFrame:
    """Reads a table whose first line is its header.

    Args:
      path: A file; `.parquet` and `.pq` are Parquet, `.tsv` and `.tab` have tabs, all others
        commas.
      id_column: The column of raw ids, as the interactions have them.

    Returns:
      The other columns as text, indexed by id; empty cells are empty text.

    Raises:
      UserError: If the file is missing or unreadable, or the column is missing or not unique.
    """
    path = pathlib.Path(path)
    delimited.check_is_file(path)
    try:
        table = _read(path)
    # The readers have a dozen kinds of errors, some of pandas, some of pyarrow.
    except Exception as error:
        raise errors.UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    table.columns = [str(name).strip() for name in table.columns]
    delimited.check_names(path, list(table.columns), [id_column])
    table = table.set_index(table.pop(id_column).str.strip())
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise errors.UserError(f"{path}: {id_column} {repeated[0]!r} is there twice")
    return table


def check_matches(table: pd.DataFrame, path: str | pathlib.Path, ids: Collection[str]) -> None:
    """Refuses a table of which the log names nothing: its ids are written in another way.

    Args:
      table: From `read`.
      path: Where it was.
      ids: The raw ids of the log.

    Raises:
      UserError: If no id is in both.
    """
    if not set(table.index) & set(ids):
        raise errors.UserError(
            f"{path}: none of its {table.index.name} is in the log, whose ids are like "
            f"{next(iter(ids))!r}: write them in the same way"
        )


def _read(path: pathlib.Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix in _PARQUET_SUFFIXES:
        return pd.read_parquet(path).apply(lambda column: column.map(_to_text))
    with warnings.catch_warnings():
        # A row with more fields than the header.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            sep=_DELIMITER_OF_SUFFIX.get(suffix, ","),
            dtype=str,
            keep_default_na=False,
            index_col=False,
        )


def _to_text(value: object) -> str:
    """A cell of a Parquet file; the values of a list are separated by `|`."""
    if isinstance(value, list | tuple | np.ndarray):
        return _SEPARATOR.join(map(str, value))
    return "" if pd.isna(value) else str(value)
