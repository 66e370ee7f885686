"""What is in a data set, before anything is dropped for a split: exact, so for its owner alone."""

# Tested in tests/studies/data_report/test_data_report_text.py.

import dataclasses
import datetime

import numpy as np

from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading, tied_order
from fedrec_tff.datasets.preparation import DataCounts
from fedrec_tff.run import data

# Whole numbers beyond are no seconds since 1970 of our days.
_SECONDS = (10**8, 4 * 10**9)


@dataclasses.dataclass(frozen=True, eq=False)
class DataReport:
    """Exact numbers of a data set.

    Attributes:
      name: The data set.
      counts: What became of the rows that were read.
      num_users: The users who have an interaction.
      num_items: The items that somebody took.
      lengths: The number of interactions of each user, int64 [num_users].
      num_tied_users: The users whose last interaction shares its time with the one before.
      takers: The number of interactions of each item, int64 [num_items].
      period: The first and the last day; None where times are no seconds since 1970.
      item_features: The columns of what is known of items.
      user_features: The columns of what is known of users.
      num_known_items: The items of the table that comes with the data; None without one.
    """

    name: str
    counts: DataCounts
    num_users: int
    num_items: int
    lengths: np.ndarray
    num_tied_users: int
    takers: np.ndarray
    period: tuple[datetime.date, datetime.date] | None
    item_features: tuple[str, ...]
    user_features: tuple[str, ...]
    num_known_items: int | None


def create_report(config: RunConfig) -> DataReport:
    """Reads a data set and counts.

    Args:
      config: The flags of its data.

    Returns:
      The report.

    Raises:
      UserError: If files are missing or malformed.
    """
    source = loading.read(data.create_dataset_config(config))
    users = np.concatenate([log.user_index for log in source.logs])
    items = np.concatenate([log.item_index for log in source.logs])
    times = np.concatenate([log.timestamp for log in source.logs])
    lengths, takers = np.bincount(users), np.bincount(items)
    known = [log.item_features for log in source.logs], [log.user_features for log in source.logs]
    item_columns, user_columns = (
        tuple(map(str, tables[0].columns)) if tables[0] is not None else () for tables in known
    )
    return DataReport(
        config.dataset,
        source.counts,
        int(np.count_nonzero(lengths)),
        int(np.count_nonzero(takers)),
        lengths[lengths > 0],
        sum(map(tied_order.count_users, source.logs)) if config.has_times else 0,
        takers[takers > 0],
        _find_period(times) if config.has_times else None,
        item_columns,
        user_columns,
        len(source.items) if config.has_item_table and source.items is not None else None,
    )


def _find_period(times: np.ndarray) -> tuple[datetime.date, datetime.date] | None:
    ends = times.min(), times.max()
    if not (_SECONDS[0] <= ends[0] and ends[1] <= _SECONDS[1]):
        return None
    first, last = (datetime.datetime.fromtimestamp(int(end), datetime.UTC).date() for end in ends)
    return first, last
