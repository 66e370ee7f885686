"""The second pass: some slots' users at a time, whose rows are sorted, prepared and split.

What becomes of a user's rows follows from these and the user's own id, so each group is prepared as
if it were all there is, by the functions that prepare data in memory. Users and items are written
by their ranks among all ids that were met, sorted.
"""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from fedrec_tff.datasets import dataset_config, loading, preparation, splits, tied_order
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.dataset_config import DatasetConfig
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts
from fedrec_tff.datasets.prepared import arrow_tables
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.splits import EvaluationSet, Split
from fedrec_tff.studies.disk_population.row_files import NUM_SLOTS, SlotRows

USERS = "users.arrow"
FILES = (
    USERS,
    prepared_folder.INTERACTIONS,
    prepared_folder.TRAIN,
    *prepared_folder.EVALUATED.values(),
)


@dataclasses.dataclass(frozen=True, eq=False)
class KnownIds:
    """All ids that the first pass met, and those that count.

    Attributes:
      user_rank: int32 [users], the rank of each number among the sorted ids.
      user_ids: object (str) [users], sorted.
      item_rank: int32 [items met], likewise; where there is a catalogue, ranks in it, -1 for what
        is not in it.
      item_ids: object (str) [items], sorted: those met or, if there is one, the catalogue.
      num_listed: How many users are on the roster, those of the first numbers; None for no roster.
    """

    user_rank: np.ndarray
    user_ids: np.ndarray
    item_rank: np.ndarray
    item_ids: np.ndarray
    num_listed: int | None


@dataclasses.dataclass(frozen=True)
class GroupFacts:
    """What became of a group's rows.

    Attributes:
      counts: The fate of the rows.
      num_tied_users: As `loading.LoadedDataset` has it.
      num_dropped: The held-out interactions that cannot be targets, by part.
      part_sizes: How many users were drawn for training, validation and the test.
    """

    counts: DataCounts
    num_tied_users: int
    num_dropped: dict[str, int]
    part_sizes: tuple[int, int, int]


def rank_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts ids.

    Args:
      ids: object (str) [n], by number.

    Returns:
      The rank of each number, int32 [n]; and the sorted ids.
    """
    order = interactions_lib.sort_ids(ids)
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    return rank, ids[order]


def write_group(
    folder: pathlib.Path, slots: range, rows: SlotRows, ids: KnownIds, config: DatasetConfig
) -> GroupFacts:
    """Prepares the users of some slots, and writes what they are.

    Args:
      folder: The group's folder, which exists.
      slots: The slots.
      rows: Their rows.
      ids: All ids.
      config: What to do.

    Returns:
      What became of the rows.

    Raises:
      UserError: If users have too little for the split.
    """
    ranks = _find_users(slots, ids)
    log = _create_log(ranks, rows, ids, config)
    counts = DataCounts(duplicates=len(rows.user) - log.num_interactions)
    if ids.num_listed is not None:
        ranks = ranks[_is_listed(ids)[ranks]]
        placed = interactions_lib.place_users(log, ids.user_ids[ranks].tolist())
        counts += DataCounts(off_roster=log.num_interactions - placed.num_interactions)
        log = placed
    if config.catalogue_kind != dataset_config.DATA:
        placed = interactions_lib.select_interactions(log, log.item_index >= 0)
        counts += DataCounts(outside_catalogue=log.num_interactions - placed.num_interactions)
        log = placed
    if config.ties == tied_order.RANDOM:
        log = tied_order.shuffle(log, config.seed)
    prepared, dropped = preparation.prepare(
        log, config.preparation, config.keeps_all_users, keeps_items=True, may_be_empty=True
    )
    ranks = ranks[pd.Index(log.user_ids).get_indexer(prepared.user_ids)]
    split, part_sizes = _split(prepared, config)
    _write(folder, prepared, split, ranks)
    return GroupFacts(
        counts + dropped,
        loading.count_tied_users(prepared, config) if prepared.num_interactions else 0,
        {name: getattr(split, name).num_dropped for name in prepared_folder.EVALUATED},
        part_sizes,
    )


def _find_users(slots: range, ids: KnownIds) -> np.ndarray:
    """The ranks of all users of some slots, ascending."""
    slot = np.arange(len(ids.user_rank)) % NUM_SLOTS
    return np.sort(ids.user_rank[(slot >= slots.start) & (slot < slots.stop)])


def _is_listed(ids: KnownIds) -> np.ndarray:
    """Which users are on the roster, by rank: bool [users]."""
    listed = np.zeros(len(ids.user_rank), bool)
    listed[ids.user_rank[: ids.num_listed]] = True
    return listed


def _create_log(
    ranks: np.ndarray, rows: SlotRows, ids: KnownIds, config: DatasetConfig
) -> Interactions:
    """The group's rows in order, without duplicates; items that are in no catalogue are -1."""
    user_index = np.searchsorted(ranks, ids.user_rank[rows.user]).astype(np.int32)
    time: tuple[np.ndarray, ...] = ()
    if config.columns.time is not None:
        time = (rows.time, rows.billionths)
    order = interactions_lib.order_without_duplicates(user_index, rows.item, time)
    return Interactions(
        user_index=user_index[order],
        item_index=ids.item_rank[rows.item[order]],
        timestamp=rows.time[order],
        value=None if rows.value is None else rows.value[order],
        user_ids=ids.user_ids[ranks],
        item_ids=ids.item_ids,
        billionths=None if rows.billionths is None else rows.billionths[order],
    )


def _split(log: Interactions, config: DatasetConfig) -> tuple[Split, tuple[int, int, int]]:
    if config.split_name != "unseen_users":
        return splits.leave_last_out(log), (log.num_users, 0, 0)
    train, validation, test = splits.draw_parts(
        log.user_ids, config.validation_fraction, config.test_fraction, config.seed
    )
    split = splits.hold_out_users(log, (train, validation, test))
    return split, (len(train), len(validation), len(test))


def _write(folder: pathlib.Path, log: Interactions, split: Split, ranks: np.ndarray) -> None:
    arrow_tables.write(folder / USERS, {"rank": ranks})
    columns = {
        "user_index": ranks[log.user_index],
        "item_index": log.item_index,
        "timestamp": log.timestamp,
        "value": log.value,
        "billionths": log.billionths,
    }
    present = {name: column for name, column in columns.items() if column is not None}
    arrow_tables.write(folder / prepared_folder.INTERACTIONS, present)
    train = {"user_index": ranks[split.train_user_index], "items": split.train}
    arrow_tables.write(folder / prepared_folder.TRAIN, train)
    for name, file in prepared_folder.EVALUATED.items():
        part: EvaluationSet = getattr(split, name)
        rows = {
            "user_index": ranks[part.user_index],
            "history": part.history,
            "targets": part.targets,
        }
        arrow_tables.write(folder / file, rows)
