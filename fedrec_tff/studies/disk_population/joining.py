"""The last pass: groups to one table each, in the order of all users' sorted ids.

A group's rows are in that order already, so groups are read from begin to end, side by side, and a
block of users is in memory at a time.
"""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.prepared import arrow_tables
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.prepared.arrow_tables import Column, MappedTable
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.studies.disk_population import groups

# Rows of the log in a block, about.
_BLOCK_ROWS = 2**21
_USER, _ITEM, _BILLIONTHS = "user_index", "item_index", "billionths"


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """The users and items that are left, and their final numbers.

    Attributes:
      user_ranks: int64 [users], the rank of each final user among all ids.
      item_ranks: int64 [items], likewise.
      user_number: int32 [all users], by rank; of those who are not left, anything.
      item_number: int32 [all items], likewise.
      rows_of_user: int64 [all users], the rows of the log, by rank.
      has_billionths: Whether a time has anything beyond its whole number.
    """

    user_ranks: np.ndarray
    item_ranks: np.ndarray
    user_number: np.ndarray
    item_number: np.ndarray
    rows_of_user: np.ndarray
    has_billionths: bool


def number_anew(
    folders: Sequence[pathlib.Path], num_users: int, num_items: int, keeps_items: bool
) -> Numbers:
    """Finds who and what is left in groups.

    Args:
      folders: The groups' folders.
      num_users: How many user ids were met.
      num_items: How many items there are.
      keeps_items: Whether items stay that nobody took.

    Returns:
      The final numbers.
    """
    is_left = np.zeros(num_users, bool)
    rows_of_user = np.zeros(num_users, np.int64)
    has_billionths = False
    takes = np.full(num_items, int(keeps_items), np.int64)
    for folder in folders:
        is_left[arrow_tables.read(folder / groups.USERS)["rank"]] = True
        log = arrow_tables.read(folder / prepared_folder.INTERACTIONS)
        rows_of_user += np.bincount(log[_USER], minlength=num_users)
        takes += np.bincount(log[_ITEM], minlength=num_items)
        has_billionths = has_billionths or bool(np.any(log.get(_BILLIONTHS, 0)))
    is_used = takes > 0
    return Numbers(
        np.flatnonzero(is_left),
        np.flatnonzero(is_used),
        (np.cumsum(is_left) - 1).astype(np.int32),
        (np.cumsum(is_used) - 1).astype(np.int32),
        rows_of_user,
        has_billionths,
    )


def join(
    folders: Sequence[pathlib.Path],
    target: pathlib.Path,
    numbers: Numbers,
    say_fn: Callable[[str], None],
) -> None:
    """Joins the tables of groups.

    Args:
      folders: The groups' folders.
      target: The folder for the tables.
      numbers: The final numbers.
      say_fn: Takes lines of progress.
    """
    bounds = _find_bounds(numbers.rows_of_user)
    for name in groups.FILES[1:]:
        say_fn(f"joining: {name}")
        tables = [arrow_tables.read(folder / name) for folder in folders]
        ragged = [column for column, held in tables[0].items() if isinstance(held, Sequences)]
        flat = {c: held.dtype for c, held in tables[0].items() if c not in ragged}
        if not numbers.has_billionths:
            flat.pop(_BILLIONTHS, None)
        with arrow_tables.TableWriter(target / name, flat, ragged) as writer:
            for block in _merge(tables, bounds):
                writer.append(_number(block, numbers))


def _find_bounds(rows_of_user: np.ndarray) -> np.ndarray:
    """Ranks between which about a block of rows lies; the first is 0, the last all users."""
    ends = np.cumsum(rows_of_user)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_BLOCK_ROWS, total, _BLOCK_ROWS))
    return np.unique(np.concatenate([[0], cuts, [len(rows_of_user)]]))


def _merge(tables: Sequence[MappedTable], bounds: np.ndarray) -> Iterator[dict[str, Column]]:
    """Yields the rows of all tables between bounds, sorted by user."""
    cursors = [np.searchsorted(table[_USER], bounds) for table in tables]
    for place, _ in enumerate(itertools.pairwise(bounds)):
        pieces = [
            {name: _cut(column, cursor[place], cursor[place + 1]) for name, column in table.items()}
            for table, cursor in zip(tables, cursors, strict=True)
        ]
        order = np.argsort(np.concatenate([piece[_USER] for piece in pieces]), kind="stable")
        yield {name: _join([piece[name] for piece in pieces], order) for name in pieces[0]}
        for table in tables:
            table.release()


def _cut(column: Column, start: int, stop: int) -> Column:
    if not isinstance(column, Sequences):
        return column[start:stop]
    offsets = column.offsets[start : stop + 1]
    return Sequences(column.items[offsets[0] : offsets[-1]], offsets - offsets[0])


def _join(columns: list[Column], order: np.ndarray) -> Column:
    if not isinstance(columns[0], Sequences):
        return np.concatenate(columns)[order]
    items = np.concatenate([column.items for column in columns])
    lengths = np.concatenate([column.lengths for column in columns])
    return sequences_lib.from_lengths(items, lengths).take(order)


def _number(block: Mapping[str, Column], numbers: Numbers) -> dict[str, Column]:
    """Puts final numbers in place of ranks."""
    numbered = dict(block)
    for name, column in block.items():
        if name == _USER:
            numbered[name] = numbers.user_number[column]
        elif name == _ITEM:
            numbered[name] = numbers.item_number[column]
        elif isinstance(column, Sequences):
            numbered[name] = dataclasses.replace(column, items=numbers.item_number[column.items])
    return numbered
