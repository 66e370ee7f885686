"""Tables of what is known of items or users: one row each, CSV, TSV or Parquet."""

from __future__ import annotations

import pathlib

import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import delimited

_DELIMITER_OF_SUFFIX = {".tsv": "\t", ".tab": "\t"}
_PARQUET_SUFFIXES = (".parquet", ".pq")


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
    suffix = path.suffix.lower()
    try:
        if suffix in _PARQUET_SUFFIXES:
            table = pd.read_parquet(path)
            table = table.astype(object).where(table.notna(), "").astype(str)
        else:
            delimiter = _DELIMITER_OF_SUFFIX.get(suffix, ",")
            table = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False)
    # The readers have a dozen kinds of errors, some of pandas, some of pyarrow.
    except Exception as error:
        raise errors.UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    delimited.check_names(path, list(table.columns), [id_column])
    table = table.set_index(id_column)
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise errors.UserError(f"{path}: {id_column} {repeated[0]!r} is there twice")
    return table
