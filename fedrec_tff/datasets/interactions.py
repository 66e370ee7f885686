"""The log of interactions: who took what, when, with dense indices and the raw ids behind them."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

import numpy as np
import pandas as pd

from fedrec_tff import errors

MAX_INDEX = np.iinfo(np.int32).max
# Features by which people know an item.
_SHOWN_OF_ITEMS = ("title", "genres")
_INTEGER = re.compile(r"-?[0-9]+")

OpenFn = Callable[[pathlib.Path], AbstractContextManager[BinaryIO]]


@dataclasses.dataclass(frozen=True, eq=False)
class Interactions:
    """A log of who took what, when; sorted by user, then time, then file order.

    Attributes:
      user_index: int32 [num_interactions], into `user_ids`.
      item_index: int32 [num_interactions], into `item_ids`.
      timestamp: int64 [num_interactions], when: whole numbers of the file as they are, in its own
        unit; else whole seconds since 1970, UTC. The file order where the source has no time.
      value: float32 [num_interactions], for example ratings; None where the source has none.
      user_ids: object (str) [num_users], the raw id of each dense user index.
      item_ids: object (str) [num_items], the raw id of each dense item index.
      user_features: one row per user, in the order of `user_ids`; None where there are none.
      item_features: one row per item, in the order of `item_ids`, with a column `title` where
        items have names; None where there are none.
      billionths: int32 [num_interactions], 0 to 999,999,999, what each time has beyond
        `timestamp`: nanoseconds, where that is in seconds; None where there is nothing.
    """

    user_index: np.ndarray
    item_index: np.ndarray
    timestamp: np.ndarray
    value: np.ndarray | None
    user_ids: np.ndarray
    item_ids: np.ndarray
    user_features: pd.DataFrame | None = None
    item_features: pd.DataFrame | None = None
    billionths: np.ndarray | None = None

    @property
    def num_users(self) -> int:
        """The number of users."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """The number of items."""
        return len(self.item_ids)

    @property
    def num_interactions(self) -> int:
        """The number of rows of the log."""
        return len(self.user_index)

    @property
    def lengths(self) -> np.ndarray:
        """The number of interactions of each user, int64 [num_users]."""
        return np.bincount(self.user_index, minlength=self.num_users)

    @property
    def time_rank(self) -> np.ndarray:
        """Sorts and compares as the exact times do, int64 [num_interactions]."""
        if self.billionths is None:
            return self.timestamp
        order = np.lexsort((self.billionths, self.timestamp))
        is_later = np.diff(self.timestamp[order]) | np.diff(self.billionths[order]) != 0
        rank = np.zeros(len(order), np.int64)
        rank[order[1:]] = np.cumsum(is_later)
        return rank


def create_interactions(
    user: Sequence[str] | Sequence[int] | np.ndarray,
    item: Sequence[str] | Sequence[int] | np.ndarray,
    timestamp: np.ndarray | None = None,
    value: np.ndarray | None = None,
    user_features: pd.DataFrame | None = None,
    item_features: pd.DataFrame | None = None,
    billionths: np.ndarray | None = None,
) -> Interactions:
    """Builds a log from columns of raw ids.

    Dense indices follow the sorted raw ids: integers first, in numeric order, then all others in
    lexical order, so the order of two ids rests on the two alone. A row that repeats an earlier
    one's user, item and exact time is dropped (without time stamps: user and item), so
    `len(user) - result.num_interactions` is the number of duplicates.

    Args:
      user: Raw user ids, strings or integers, [n].
      item: Raw item ids, strings or integers, [n].
      timestamp: Integers [n], or None to keep the order given.
      value: Numbers [n], or None.
      user_features: A row per user, indexed by raw id. Users without interactions are left out.
      item_features: A row per item, indexed by raw id. Items without interactions are left out.
      billionths: The parts of times beyond `timestamp`, integers [n], 0 to 999,999,999; or None.

    Returns:
      The sorted log.

    Raises:
      UserError: If columns differ in length, a value is not finite, a feature table names an id
        twice, or there are more users or items than an int32 can number.
    """
    columns = {
        "user": user,
        "item": item,
        "timestamp": timestamp,
        "value": value,
        "billionths": billionths,
    }
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        raise errors.UserError(f"the columns of the interactions differ in length: {lengths}")
    user_index, user_ids = _dense_ids(user, "users")
    item_index, item_ids = _dense_ids(item, "items")
    if timestamp is None:
        order = order_without_duplicates(user_index, item_index, ())
        timestamp = np.arange(len(user_index), dtype=np.int64)
    else:
        timestamp = np.asarray(timestamp).astype(np.int64, casting="same_kind")
        time = (timestamp,)
        if billionths is not None:
            billionths = np.asarray(billionths).astype(np.int32, casting="same_kind")
            time = (timestamp, billionths)
        order = order_without_duplicates(user_index, item_index, time)
    if value is not None:
        value = np.asarray(value, np.float32)
        if not np.isfinite(value).all():
            raise errors.UserError("the values of the interactions must be finite numbers")
        value = value[order]
    return Interactions(
        user_index=user_index[order],
        item_index=item_index[order],
        timestamp=timestamp[order],
        value=value,
        user_ids=user_ids,
        item_ids=item_ids,
        user_features=align_features(user_features, user_ids, "user"),
        item_features=align_features(item_features, item_ids, "item"),
        billionths=None if billionths is None else billionths[order],
    )


def select_interactions(interactions: Interactions, keep: np.ndarray) -> Interactions:
    """Keeps some rows of the log; users and items keep their indices.

    Args:
      interactions: The log.
      keep: bool [num_interactions], or the positions of the rows, in order.

    Returns:
      The log of the rows kept.
    """
    value, billionths = interactions.value, interactions.billionths
    return dataclasses.replace(
        interactions,
        user_index=interactions.user_index[keep],
        item_index=interactions.item_index[keep],
        timestamp=interactions.timestamp[keep],
        value=None if value is None else value[keep],
        billionths=None if billionths is None else billionths[keep],
    )


def drop_unused_ids(
    interactions: Interactions, keeps_users: bool = False, keeps_items: bool = False
) -> Interactions:
    """Drops users and items that no row names, and numbers the others anew in the same order.

    Args:
      interactions: The log.
      keeps_users: Whether users stay, whatever they took.
      keeps_items: Whether items stay, whoever took them.

    Returns:
      The same rows.
    """
    user_used = _used(interactions.user_index, interactions.num_users) | keeps_users
    item_used = _used(interactions.item_index, interactions.num_items) | keeps_items
    return dataclasses.replace(
        interactions,
        user_index=_renumber(user_used)[interactions.user_index],
        item_index=_renumber(item_used)[interactions.item_index],
        user_ids=interactions.user_ids[user_used],
        item_ids=interactions.item_ids[item_used],
        user_features=_select_features(interactions.user_features, user_used),
        item_features=_select_features(interactions.item_features, item_used),
    )


def place_users(
    interactions: Interactions, user_ids: Collection[str], features: pd.DataFrame | None = None
) -> Interactions:
    """Puts the rows of a log on a list of users that does not come from the log.

    Args:
      interactions: The log.
      user_ids: Raw ids, all different, in any order. Rows of other users are dropped; who has no
        row is a user all the same.
      features: The features of users by raw id; None for none.

    Returns:
      The log, in which users are numbered by their sorted ids.
    """
    listed, index = index_in(user_ids, interactions.user_ids, "user", "users")
    placed = replace_index(interactions, "user_index", index)
    order = np.argsort(placed.user_index, kind="stable")
    return dataclasses.replace(
        select_interactions(placed, order),
        user_ids=listed,
        user_features=align_features(features, listed, "user"),
    )


def place_items(
    interactions: Interactions, item_ids: Collection[str], features: pd.DataFrame | None = None
) -> Interactions:
    """Puts the rows of a log on a catalogue that does not come from the log.

    Args:
      interactions: The log.
      item_ids: Raw ids, all different, in any order. Rows of other items are dropped; what nobody
        took is an item all the same.
      features: The features of items by raw id; None for none.

    Returns:
      The log, in which items are numbered by their sorted ids.
    """
    listed, index = index_in(item_ids, interactions.item_ids, "item", "items")
    return dataclasses.replace(
        replace_index(interactions, "item_index", index),
        item_ids=listed,
        item_features=align_features(features, listed, "item"),
    )


def save_id_maps(
    interactions: Interactions,
    directory: str | pathlib.Path,
    open_fn: OpenFn = lambda path: path.open("wb"),
) -> None:
    """Writes `user_ids.csv` and `item_ids.csv`: index, raw id and what people call an item.

    That is its title and its genres, joined by `|`, where they are known.

    Args:
      interactions: The log whose ids are written.
      directory: The folder to write to; made if it is not there.
      open_fn: Function that opens a file of bytes to be written.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tables = (
        ("user_ids.csv", interactions.user_ids, None),
        ("item_ids.csv", interactions.item_ids, interactions.item_features),
    )
    for name, ids, features in tables:
        table = pd.DataFrame({"index": np.arange(len(ids)), "id": ids})
        for column in _SHOWN_OF_ITEMS:
            if features is not None and column in features:
                table[column] = features[column].to_numpy()
        with open_fn(directory / name) as file:
            table.to_csv(file, index=False, lineterminator="\n")


def check_index_range(count: int, what: str) -> None:
    """Refuses more `what` than int32 indices can number."""
    if count > MAX_INDEX:
        raise errors.UserError(
            f"{count} {what} are too many: indices are int32, {MAX_INDEX} at most"
        )


def _dense_ids(raw: Sequence | np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the dense index of each raw id, int32 [n], and the sorted raw ids, str."""
    raw = np.asarray(raw)
    if not np.issubdtype(raw.dtype, np.integer):
        raw = raw.astype(object)
    codes, unique = pd.factorize(raw)
    check_index_range(len(unique), what)
    if np.issubdtype(unique.dtype, np.integer):
        order = np.argsort(unique, kind="stable")
    else:
        if (codes < 0).any() or not all(isinstance(raw_id, str) for raw_id in unique):
            raise errors.UserError(f"the raw ids of {what} must be all strings or all integers")
        order = sort_ids(unique)
    rank = np.empty(len(unique), np.int32)
    rank[order] = np.arange(len(unique), dtype=np.int32)
    ids = np.array([str(raw_id) for raw_id in unique[order]], dtype=object)
    return rank[codes], ids


def sort_ids(ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Returns the positions that sort string ids: integers by value, then the others as text."""

    def key_fn(position: int) -> tuple[bool, int, str]:
        raw_id = ids[position]
        is_text = _INTEGER.fullmatch(raw_id) is None
        return is_text, 0 if is_text else int(raw_id), raw_id

    return np.array(sorted(range(len(ids)), key=key_fn), dtype=np.int64)


def index_in(
    listed: Collection[str], ids: np.ndarray, what: str, plural: str
) -> tuple[np.ndarray, np.ndarray]:
    """Finds ids in a list.

    Args:
      listed: Raw ids, all different, in any order.
      ids: The raw ids to find, [n].
      what: What an id is of, for errors.
      plural: The same of several.

    Returns:
      The list, sorted, and where each of the ids is in it: int32 [n], -1 for one that is not.

    Raises:
      UserError: If an id is listed twice.
    """
    listed = np.array([str(raw_id) for raw_id in listed], dtype=object)
    check_index_range(len(listed), plural)
    listed = listed[sort_ids(listed)]
    index = pd.Index(listed)
    if not index.is_unique:
        repeated = index[index.duplicated()][0]
        raise errors.UserError(f"the {plural} are listed by raw id, and {what} {repeated!r} twice")
    return listed, index.get_indexer(pd.Index(ids, dtype=object)).astype(np.int32)


def replace_index(interactions: Interactions, name: str, index: np.ndarray) -> Interactions:
    """Numbers users or items anew, and drops the rows of those that are numbered -1.

    Args:
      interactions: The log.
      name: `user_index` or `item_index`.
      index: int32 [num_users] or [num_items], the new numbers.

    Returns:
      The log, whose ids and features are still those of the old numbers.
    """
    column = index[getattr(interactions, name)]
    renumbered = dataclasses.replace(interactions, **{name: column})
    return select_interactions(renumbered, column >= 0)


def order_without_duplicates(
    user_index: np.ndarray, item_index: np.ndarray, time: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Returns the rows sorted by user, time and file order, the first of equal rows only.

    Args:
      user_index: int32 [n].
      item_index: int32 [n].
      time: The parts of times, the coarsest first; empty where there are none.

    Returns:
      int64 [rows that are left], their positions.
    """
    by_time = (*reversed(time), user_index)
    grouped = np.lexsort((item_index, *by_time))  # stable: file order breaks ties
    same = np.ones(max(len(grouped) - 1, 0), bool)
    for column in (item_index, *by_time):
        same &= np.diff(column[grouped]) == 0
    first = np.ones(len(grouped), bool)
    first[grouped[1:][same]] = False
    order = np.lexsort(by_time)
    return order[first[order]]


def align_features(
    features: pd.DataFrame | None, ids: np.ndarray, what: str
) -> pd.DataFrame | None:
    """Orders a feature table as `ids`; ids that it does not name get empty cells.

    Args:
      features: A row per raw id, the index; None for nothing.
      ids: object (str) [n], raw ids.
      what: What an id is of, for errors.

    Returns:
      A row for each of the ids, in their order; None for nothing.

    Raises:
      UserError: If the table names an id twice.
    """
    if features is None:
        return None
    features = features.set_axis(features.index.map(str), axis="index")
    repeated = features.index[features.index.duplicated()]
    if len(repeated):
        raise errors.UserError(f"the {what} features name {what} {repeated[0]!r} twice")
    features = features.reindex(ids)
    if "title" in features:
        features["title"] = features["title"].where(features["title"].notna(), ids)
    return features.reset_index(drop=True)


def _used(index: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(index, minlength=count) > 0


def _renumber(used: np.ndarray) -> np.ndarray:
    return (np.cumsum(used) - 1).astype(np.int32)


def _select_features(features: pd.DataFrame | None, keep: np.ndarray) -> pd.DataFrame | None:
    return None if features is None else features[keep].reset_index(drop=True)
