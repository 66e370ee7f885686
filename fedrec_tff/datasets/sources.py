"""What a reader found, and how it is put on lists of users and items that do not come from it."""

# Tested in tests/datasets/test_loading.py.

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Collection

import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import roster
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What was read.

    Attributes:
      logs: The log; of an adjacency set, the published training and test data.
      counts: The fate of its rows, in numbers.
      users: The features of users by raw id, of those without rows, too; None for none.
      items: The features of items, likewise.
    """

    logs: tuple[Interactions, ...]
    counts: DataCounts
    users: pd.DataFrame | None = None
    items: pd.DataFrame | None = None

    @property
    def num_rows(self) -> int:
        """The rows of all logs."""
        return sum(log.num_interactions for log in self.logs)


def place_on_roster(
    source: Source, path: str | pathlib.Path, user_column: str
) -> tuple[Source, str]:
    """Makes a roster the users: rows of others are dropped and counted.

    Args:
      source: The logs and tables that were read.
      path: The roster, as `roster.read` takes it.
      user_column: The roster's column of raw ids, if it is a table.

    Returns:
      The logs that are left, and the roster's digest.

    Raises:
      UserError: If the roster cannot be read, or nobody on it is in the log.
    """
    ids = roster.read(path, user_column)
    check_overlap(ids, source.logs[0].user_ids, f"{path}: no user of it")

    def place_fn(log: Interactions) -> Interactions:
        return interactions_lib.place_users(log, ids, source.users)

    return _place(source, place_fn, "off_roster"), roster.digest(ids)


def place_in_catalogue(source: Source, item_ids: Collection[str] | None = None) -> Source:
    """Makes a list of items the catalogue: rows of others are dropped and counted.

    Args:
      source: The logs and tables that were read.
      item_ids: Raw ids, all different; None for all items of the table that came with the log.

    Returns:
      The logs that are left, with their tables.

    Raises:
      UserError: If no item of the catalogue is in the log.
    """
    ids = source.items.index if item_ids is None else item_ids
    check_overlap(ids, source.logs[0].item_ids, "no item of the catalogue")
    return _place(
        source,
        lambda log: interactions_lib.place_items(log, ids, source.items),
        "outside_catalogue",
    )


def _place(source: Source, place_fn: Callable[[Interactions], Interactions], name: str) -> Source:
    """Places each log on a list of ids, and counts the rows that this drops as `name`."""
    placed = dataclasses.replace(source, logs=tuple(map(place_fn, source.logs)))
    dropped = DataCounts(**{name: source.num_rows - placed.num_rows})
    return dataclasses.replace(placed, counts=source.counts + dropped)


def check_overlap(listed: Collection[str], ids: Collection[str], subject: str) -> None:
    """Refuses a list of which the log has nothing: its ids are written in another way.

    Args:
      listed: Raw ids.
      ids: The raw ids of the log.
      subject: What is missing, for errors.

    Raises:
      UserError: If no id is in both.
    """
    if set(listed).isdisjoint(ids):
        raise errors.UserError(
            f"{subject} is in the log, whose ids are like {next(iter(ids))!r}: write them in the "
            "same way"
        )
