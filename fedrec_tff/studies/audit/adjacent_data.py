"""Pairs of data sets that differ in one member of the population, written as files to be read.

What a run does is a function of its files and keys. So an audit of the whole way begins with files:
nothing of a run is left out, its reader and preparation included.
"""

# Tested in tests/studies/audit/test_adjacent_sums.py.

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import adjacency, loading
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.run import data

# What a user with so many distinct items adds is longer than what may count.
_ITEMS_OVER_LIMIT = 4
_USER, _ITEM, _TIME, _VALUE = "user_id", "item_id", "time", "value"
_NEW_ITEM = "~new"
# Of a published split, whether a row is of the test.
_IS_TEST = "is_test"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Flags of one run on two data sets.

    Attributes:
      change: Change that the second data set makes to one member of the population, in a few words.
      first: Flags of the run on the first data set.
      second: The same flags, on the second data set.
      member: The member's raw id.
      changed: Raw ids of all whose data differ.
      num_steps: Number of updates of one user that a sum may move by: 1 where a member's data are
        there or not, 2 where other data are in their place.
      trains: Whether the member is in training.
    """

    change: str
    first: RunConfig
    second: RunConfig
    member: str
    changed: frozenset[str]
    num_steps: int
    trains: bool


def write_pairs(config: RunConfig, folder: pathlib.Path) -> list[Pair]:
    """Writes the data of a run, and the same with the data of one member changed.

    The population stays what it is, for it is public: where a change adds or takes an id, both runs
    are given the same roster. The member is the first by id of those who train, and of those of the
    validation where these are others: whatever goes by rank, all behind notice.

    Args:
      config: Flags of the audited run.
      folder: Folder to write to; the files hold user data.

    Returns:
      The pairs: the member has all items in place of its own, one, two, none, or another id.

    Raises:
      UserError: If there are no others, or nobody to evaluate.
    """
    dataset = data.load_data(_without_preparation(config))
    _check_dataset(config, dataset)
    writer = _Writer(config, dataset, folder)
    split = dataset.split
    member = _choose_member(dataset, split.train_user_index)
    members = {member: True}
    if member not in dataset.interactions.user_ids[split.validation.user_index]:
        members[_choose_member(dataset, split.validation.user_index)] = False
    return [
        pair for member, trains in members.items() for pair in _write_pairs(writer, member, trains)
    ]


def _check_dataset(config: RunConfig, dataset: loading.LoadedDataset) -> None:
    if np.count_nonzero(dataset.interactions.lengths) < 2:
        raise errors.UserError(
            "--attack=adjacent looks for what the data of one user do to others, and no two users "
            "have any: choose other data"
        )
    if not dataset.split.validation.num_rows:
        raise errors.UserError(
            f"--split={config.split} leaves nothing to evaluate in its validation part: choose "
            "another split, or more data"
        )


def _write_pairs(writer: _Writer, member: str, trains: bool) -> Iterator[Pair]:
    name = "training" if trains else "validation"
    rows = writer.rows
    others, own = rows[rows[_USER] != member], rows[rows[_USER] == member]
    all_items = writer.create_rows(member, writer.choose_items(others))
    newcomer = writer.create_id()
    roster = [*writer.roster, newcomer]

    def write(version: str, part: pd.DataFrame, listed: Sequence[str] = ()) -> RunConfig:
        return writer.write(f"{name}_{version}", pd.concat([others, part]), listed)

    original, listed = write("original", own), write("listed", own, roster)
    of_all_items = write("all_items", all_items)
    short = {n: write(f"{n}_items", all_items[:n]) for n in (1, 2)}
    listed_all, gone = write("listed_all", all_items, roster), write("gone", own[:0], roster)
    renamed = write("renamed", own.assign(**{_USER: newcomer}), roster)
    one, both = frozenset([member]), frozenset([member, newcomer])
    yield Pair("has all items instead", original, of_all_items, member, one, 2, trains)
    yield Pair("has one item instead", original, short[1], member, one, 2, trains)
    yield Pair("has two items instead", original, short[2], member, one, 2, trains)
    yield Pair("with all items has gone", listed_all, gone, member, one, 1, trains)
    yield Pair("has another id", listed, renamed, member, both, 2, trains)


class _Writer:
    """Writes versions of one data set, each with the flags to read it by."""

    def __init__(
        self, config: RunConfig, dataset: loading.LoadedDataset, folder: pathlib.Path
    ) -> None:
        self._config, self._log, self._folder = config, dataset.interactions, folder
        self._takes_catalogue_from_data = dataset.catalogue_kind == loading.DATA
        # One item more than anybody took, which a catalogue of the table has all the same.
        self._item_ids = [*self._log.item_ids, _NEW_ITEM]
        self.rows = self._read_rows()
        self.roster = self._log.user_ids.tolist()

    def write(self, name: str, rows: pd.DataFrame, roster: Sequence[str]) -> RunConfig:
        """Writes a version, and returns the flags that read it."""
        root = self._folder / name
        root.mkdir(parents=True)
        write = self._write_lists if _IS_TEST in rows else self._write_table
        flags = write(root, rows)
        if roster:
            flags["roster"] = str(root / "roster.txt")
            (root / "roster.txt").write_text("".join(f"{raw_id}\n" for raw_id in roster))
        return dataclasses.replace(self._config, **flags)

    def choose_items(self, others: pd.DataFrame) -> list[str]:
        """More items than one user counts for in any release, as far as there are so many.

        The rarest come first: some that nobody else took. Where the catalogue is of the data these
        are left out: it is then the same without the user.
        """
        num_takers = others[_ITEM].value_counts().reindex(self._item_ids, fill_value=0)
        if self._takes_catalogue_from_data:
            num_takers = num_takers[num_takers > 0]
        rarest = num_takers.sort_values(kind="stable").index
        return rarest[: _ITEMS_OVER_LIMIT * self._config.popularity_items_per_user].tolist()

    def create_rows(self, user: str, items: Sequence[str]) -> pd.DataFrame:
        """What a user took, one after the other."""
        rows = {_USER: user, _ITEM: items, _TIME: np.arange(len(items))}
        if _VALUE in self.rows:
            rows[_VALUE] = self.rows[_VALUE].max()
        if _IS_TEST in self.rows:
            rows[_IS_TEST] = False
        return pd.DataFrame(rows)

    def create_id(self) -> str:
        """An id that nobody has, behind all others: a number where ids must be numbers."""
        if self._config.dataset == "adjacency":
            return str(1 + max(map(int, self.roster)))
        return f"~{max(self.roster)}"

    def _read_rows(self) -> pd.DataFrame:
        if self._config.dataset != "adjacency":
            return _create_frame(self._log)
        config = self._config
        train, test, _ = adjacency.read(config.data_dir, config.max_malformed_fraction)
        parts = [_create_frame(log).assign(**{_IS_TEST: log is test}) for log in (train, test)]
        return pd.concat(parts)

    def _write_lists(self, root: pathlib.Path, rows: pd.DataFrame) -> dict[str, str | None]:
        """A published split: a line a user, in each of two files."""
        for name, is_test in ((adjacency.TRAIN_NAMES[-1], False), (adjacency.TEST_NAME, True)):
            part = rows[rows[_IS_TEST] == is_test]
            items = part.groupby(_USER, sort=False)[_ITEM].agg(" ".join)
            (root / name).write_text("".join(f"{user} {taken}\n" for user, taken in items.items()))
        return {"data_dir": str(root)}

    def _write_table(self, root: pathlib.Path, rows: pd.DataFrame) -> dict[str, str | None]:
        """A table and, where catalogue or features may come from tables, these."""
        has_times = self._config.dataset != "csv" or self._config.time_column is not None
        log, path = self._log, root / "interactions.csv"
        has_item_table = self._config.has_item_table or log.item_features is not None
        rows[[column for column in rows if has_times or column != _TIME]].to_csv(path, index=False)
        flags = {"dataset": "csv", "data_dir": str(path), "column_names": None}
        flags |= {"delimiter": None, "encoding": "utf-8", "time_format": None, "quoting": True}
        flags |= {"user_column": _USER, "item_column": _ITEM}
        flags["time_column"] = _TIME if has_times else None
        flags["value_column"] = _VALUE if _VALUE in rows else None
        if has_item_table:
            path = root / "items.csv"
            flags["item_table"] = _write_features(path, _ITEM, self._item_ids, log.item_features)
        if log.user_features is not None:
            path = root / "users.csv"
            flags["user_table"] = _write_features(path, _USER, log.user_ids, log.user_features)
        return flags


def _without_preparation(config: RunConfig) -> RunConfig:
    """Versions are prepared when they are read."""
    return dataclasses.replace(config, minimum_value=None, max_interactions_per_user=None)


def _create_frame(log: Interactions) -> pd.DataFrame:
    columns = {
        _USER: log.user_ids[log.user_index],
        _ITEM: log.item_ids[log.item_index],
        _TIME: log.timestamp,
    }
    return pd.DataFrame(columns if log.value is None else columns | {_VALUE: log.value})


def _write_features(
    path: pathlib.Path, id_name: str, ids: Sequence[str], features: pd.DataFrame | None
) -> str:
    table = pd.DataFrame({id_name: ids})
    if features is not None:
        table = pd.concat([table, features], axis="columns")
    table.to_csv(path, index=False)
    return str(path)


def _choose_member(dataset: loading.LoadedDataset, user_index: np.ndarray) -> str:
    """The first whose every item somebody else took too: without them, the catalogue is the same.

    Where there is nobody like that, the first.
    """
    log = dataset.interactions
    num_takers = np.bincount(log.item_index, minlength=log.num_items)
    rarest = np.full(log.num_users, np.iinfo(np.int64).max)
    np.minimum.at(rarest, log.user_index, num_takers[log.item_index])
    is_fitting = (log.lengths > 0) & (rarest > 1)
    fitting = user_index[is_fitting[user_index]]
    return str(log.user_ids[fitting[0] if len(fitting) else user_index[0]])
