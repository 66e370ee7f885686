"""What is known of items and users besides interactions, as rows of a table of embeddings.

A value is hashed to its row (Weinberger et al. 2009, arXiv 0902.2206), so no vocabulary is kept:
an item that comes later has its rows at once, and no list of users' values leaves their devices.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedrec_tff import errors

PADDING = -1
_SEPARATOR = "|"
_TITLE = "title"
_YEAR = "year"
_TITLE_YEAR = re.compile(r"\((\d{4})\)\s*$")
_WORD = re.compile(r"[^\W_]+")
_AS_WORDS = "words"
_MAX_VALUES_PER_COLUMN = 16


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureValues:
    """Each item's or user's rows of a table of embeddings.

    Attributes:
      index: int32 [num_rows, slots], rows of the table, padded with -1; the slots of a column are
        side by side.
      widths: How many slots each column has.
    """

    index: np.ndarray
    widths: tuple[int, ...]


def create_feature_values(
    features: pd.DataFrame | None,
    columns: Sequence[str],
    num_buckets: int,
    flag: str,
    has_fixed_widths: bool = False,
) -> FeatureValues:
    """Hashes the values of some columns.

    Args:
      features: A row for each item or user, in the order of their indices; None if the data set
        has none.
      columns: Names. A column holds categories, several of them separated by `|`; of `name:words`
        each word counts. `year` is the year in parentheses at the end of a `title` where no column
        has that name. At most 16 values of a column count.
      num_buckets: Rows of the table.
      flag: That the columns were given by, for errors.
      has_fixed_widths: Whether each column has slots for 16 values, so that no row decides how
        many others have. Else it has as many as its longest row.

    Returns:
      The rows.

    Raises:
      UserError: If there is no such column, or one is named twice.
    """
    if len(set(columns)) < len(columns):
        raise errors.UserError(f"--{flag}={','.join(columns)}: name each column once")
    if features is None:
        raise errors.UserError(
            f"--{flag}={','.join(columns)}: this data set has no such features: add a table of "
            "them (--item_table, --user_table), or a column to the events"
        )
    width = _MAX_VALUES_PER_COLUMN if has_fixed_widths else None
    parts = [
        _hash(column, _split_values(features, column, flag), num_buckets, width)
        for column in columns
    ]
    return FeatureValues(np.concatenate(parts, axis=1), tuple(part.shape[1] for part in parts))


def hash_ids(ids: Sequence[str], num_buckets: int) -> FeatureValues:
    """Hashes each id to two rows, by two functions.

    Two items have both rows in common with a probability of about 2 / num_buckets^2 alone, though
    each row is shared by many (Svenstrup et al. 2017, "Hash embeddings for efficient word
    representations", arXiv 1709.03933, without weights of importance).

    Args:
      ids: Raw ids of items, in the order of their indices.
      num_buckets: Rows of the table.

    Returns:
      The rows, two columns of one slot each.
    """
    functions = ("id, first", "id, second")
    columns = [[_bucket(name, str(raw), num_buckets) for raw in ids] for name in functions]
    return FeatureValues(np.array(columns, np.int32).T.reshape(-1, len(functions)), (1, 1))


def join(first: FeatureValues, second: FeatureValues) -> FeatureValues:
    """The columns of both, of the same items and table."""
    index = np.concatenate([first.index, second.index], axis=1)
    return FeatureValues(index, first.widths + second.widths)


def find_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of a table that features are made from.

    Args:
      columns: Names as `create_feature_values` takes them.
    """
    return tuple(dict.fromkeys(column.partition(":")[0] for column in columns))


def _split_values(features: pd.DataFrame, column: str, flag: str) -> list[list[str]]:
    name, _, kind = column.partition(":")
    if kind not in ("", _AS_WORDS):
        raise errors.UserError(f"--{flag}={column}: write a column's name, or name:{_AS_WORDS}")
    if name == _YEAR and name not in features and _TITLE in features:
        found = [_TITLE_YEAR.search(title) for title in _texts(features[_TITLE])]
        return [[match[1]] if match else [] for match in found]
    if name not in features:
        there = ", ".join(map(str, features.columns))
        if _TITLE in features:
            there = f"{there}, {_YEAR}"
        raise errors.UserError(f"--{flag}={column}: there is no such column; there are: {there}")
    texts = _texts(features[name])
    if kind == _AS_WORDS:
        return [_WORD.findall(_TITLE_YEAR.sub("", text).lower()) for text in texts]
    return [[value.strip() for value in text.split(_SEPARATOR) if value.strip()] for text in texts]


def _texts(column: pd.Series) -> list[str]:
    return column.fillna("").astype(str).tolist()


def _hash(column: str, values: list[list[str]], num_buckets: int, width: int | None) -> np.ndarray:
    """The rows of each item's values, without repetition: int32 [items, slots]."""
    distinct = sorted({value for row in values for value in row})
    bucket = {value: _bucket(column, value, num_buckets) for value in distinct}
    rows = [sorted({bucket[value] for value in row[:_MAX_VALUES_PER_COLUMN]}) for row in values]
    slots = width or max(map(len, rows), default=0) or 1
    index = np.full((len(rows), slots), PADDING, np.int32)
    for position, row in enumerate(rows):
        index[position, : len(row)] = row
    return index


def _bucket(column: str, value: str, num_buckets: int) -> int:
    digest = hashlib.blake2b(f"{column}={value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % num_buckets
