"""A population on disk: data that were read, prepared and split once, in a folder that is mapped.

Opening takes no longer for more interactions, and what is read from it are the pages that are
looked at: a cohort's own. Any process opens the same folder by its path, on other machines, too;
arrays are never sent. The folder holds the data of users, raw ids among them, and is its owner's
alone.

| file | a row for each | columns |
| --- | --- | --- |
| `interactions.arrow` | interaction kept, by user, oldest first | `user_index`, `item_index`, ... |
| `train.arrow` | training user | `user_index`, `items` |
| `validation.arrow`, `test.arrow` | user who is evaluated | `user_index`, `history`, `targets` |
| `users.feather`, `items.feather` | user, item | `id` |
| `user_features.feather`, `item_features.feather` | the same, where something is known | as named |
| `prepared.json` | | what was done, and how large each file is; written last |
"""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import feather

from fedrec_tff import errors
from fedrec_tff.datasets import tied_order
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts
from fedrec_tff.datasets.prepared import arrow_tables
from fedrec_tff.datasets.splits import EvaluationSet, Split

FACTS = "prepared.json"
# What a preparation that has not finished works in.
WORK = "unfinished"
INTERACTIONS, TRAIN = "interactions.arrow", "train.arrow"
EVALUATED = {"validation": "validation.arrow", "test": "test.arrow"}
USERS, ITEMS = "users.feather", "items.feather"
USER_FEATURES, ITEM_FEATURES = "user_features.feather", "item_features.feather"
_FORMAT = 1
_ID = "id"
_USER_INDEX = "user_index"
_INTERACTION_COLUMNS = {_USER_INDEX: np.int32, "item_index": np.int32, "timestamp": np.int64}
_TRAIN_COLUMNS = {_USER_INDEX: np.int32, "items": None}
_EVALUATED_COLUMNS = {_USER_INDEX: np.int32, "history": None, "targets": None}
_WAY_OUT = "prepare the data again, by python -m experiments.data prepare"


@dataclasses.dataclass(frozen=True)
class Claims:
    """What a run's flags say of data that were prepared before.

    Attributes:
      split_name: The split.
      seed: The key of what is drawn for it.
      is_private: Whether users are protected from one another.
      catalogue_kind: Where the catalogue comes from.
      roster_digest: A SHA-256 over the roster; None for the users of the data.
    """

    split_name: str
    seed: int
    is_private: bool
    catalogue_kind: str
    roster_digest: str | None


@dataclasses.dataclass(frozen=True)
class PreparedFacts:
    """What is known of a prepared folder without a look at its tables.

    Attributes:
      name: The data set.
      split_name: The split.
      seed: The key of the split and of ties, where they are drawn.
      ties: How interactions of the same time were ordered.
      is_private: Whether each row was read by itself, and all users who were read are kept.
      catalogue_kind: Where the catalogue comes from.
      roster_digest: A SHA-256 over the roster; None for the users of the data.
      counts: The fate of the rows that were read.
      fingerprint: A SHA-256 over the split and the ids, as `splits.fingerprint` has it.
      num_tied_users: The users whose last interaction is told by the order of ties.
      num_dropped: The held-out interactions that cannot be targets, by part.
      file_bytes: How large each table is, by its file's name.
      job: The flags and the files that it was made of.
      file_digests: A SHA-256 of each table, by its file's name; none in those of earlier versions.
    """

    name: str
    split_name: str
    seed: int
    ties: str
    is_private: bool
    catalogue_kind: str
    roster_digest: str | None
    counts: DataCounts
    fingerprint: str
    num_tied_users: int
    num_dropped: Mapping[str, int]
    file_bytes: Mapping[str, int]
    job: Mapping[str, Any]
    file_digests: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_drawn(self) -> bool:
        """Whether the split, or the order of ties, was drawn by the seed."""
        return self.split_name == "unseen_users" or self.ties == tied_order.RANDOM

    def check(self, claims: Claims, path: str | pathlib.Path) -> None:
        """Refuses a run whose flags say something else of the data.

        Args:
          claims: What the flags say.
          path: The folder.

        Raises:
          UserError: If so; a run without differential privacy may have data that were prepared for
            one with it.
        """
        if claims.is_private and not self.is_private:
            raise errors.UserError(
                f"{path} was not prepared for differential privacy: what its rows decided for "
                "others no noise covers; prepare it again with --for_private_runs"
            )
        self._compare(path, "--split", self.split_name, claims.split_name)
        self._compare(path, "--catalogue", self.catalogue_kind, claims.catalogue_kind)
        if self.is_drawn:
            self._compare(path, "--seed", self.seed, claims.seed)
        if self.roster_digest != claims.roster_digest:
            said = "without a roster: drop --roster" if self.roster_digest is None else (
                "with a roster: name the same by --roster"
            )  # fmt: skip
            raise errors.UserError(f"{path} was prepared {said}, or prepare the data again")

    def _compare(self, path: str | pathlib.Path, flag: str, there: Any, claimed: Any) -> None:
        if there != claimed:
            raise errors.UserError(
                f"{flag}={claimed}: {path} was prepared with {flag}={there}: give that, or prepare "
                "the data again"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedFolder:
    """An open folder, whose tables are mapped when they are asked for.

    Attributes:
      path: The folder.
      facts: What was done.
    """

    path: pathlib.Path
    facts: PreparedFacts

    @functools.cached_property
    def interactions(self) -> Interactions:
        """The prepared log."""
        columns = _read_columns(self.path / INTERACTIONS, _INTERACTION_COLUMNS)
        user_ids, item_ids = _read_ids(self.path / USERS), _read_ids(self.path / ITEMS)
        return Interactions(
            user_index=columns["user_index"],
            item_index=columns["item_index"],
            timestamp=columns["timestamp"],
            value=columns.get("value"),
            user_ids=user_ids,
            item_ids=item_ids,
            user_features=_read_features(self.path / USER_FEATURES, len(user_ids)),
            item_features=_read_features(self.path / ITEM_FEATURES, len(item_ids)),
            billionths=columns.get("billionths"),
        )

    @functools.cached_property
    def split(self) -> Split:
        """What training and evaluation see."""
        train = _read_columns(self.path / TRAIN, _TRAIN_COLUMNS, self.interactions.num_users)
        return Split(
            num_items=self.interactions.num_items,
            train_user_index=train["user_index"],
            train=train["items"],
            validation=self._read_part("validation"),
            test=self._read_part("test"),
        )

    def check_content(self, most_bytes: float = math.inf) -> None:
        """Reads all tables, and compares them with what was written.

        Args:
          most_bytes: Number of bytes of all tables above which nothing is read.

        Raises:
          UserError: If one is another.
        """
        if sum(self.facts.file_bytes.values()) > most_bytes:
            return
        for name, digest in self.facts.file_digests.items():
            if digest_file(self.path / name) != digest:
                raise errors.UserError(f"{self.path / name} is damaged: restore it, or {_WAY_OUT}")

    def _read_part(self, name: str) -> EvaluationSet:
        path, num_users = self.path / EVALUATED[name], self.interactions.num_users
        columns = _read_columns(path, _EVALUATED_COLUMNS, num_users)
        return EvaluationSet(
            columns["user_index"],
            columns["history"],
            columns["targets"],
            self.facts.num_dropped[name],
        )


def is_prepared(path: str | pathlib.Path) -> bool:
    """Tells whether a folder is one that is prepared, or is being so."""
    path = pathlib.Path(path)
    return (path / FACTS).exists() or (path / WORK).exists()


def open_folder(path: str | pathlib.Path) -> PreparedFolder:
    """Opens a prepared folder.

    Args:
      path: The folder.

    Returns:
      The folder, of which nothing but the facts was read.

    Raises:
      UserError: If it is none, its preparation has not finished, it is of another version, or a
        table is missing or has another size.
    """
    path = pathlib.Path(path)
    file = path / FACTS
    if not file.is_file():
        if (path / WORK).exists():
            raise errors.UserError(
                f"the preparation of {path} has not finished: the command that began it resumes it"
            )
        raise errors.UserError(f"{path} is no folder of prepared data: {_WAY_OUT}")
    facts = _read_facts(file)
    for name, size in facts.file_bytes.items():
        table = path / name
        found = table.stat().st_size if table.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes, not {size:,}"
            raise errors.UserError(f"{table} {state}: restore it, or {_WAY_OUT}")
    return PreparedFolder(path, facts)


def digest_file(path: pathlib.Path) -> str | None:
    """Returns a file's SHA-256 in hexadecimal; None if it is not there."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_facts(facts: PreparedFacts) -> dict[str, Any]:
    """What `prepared.json` says."""
    return {"format": _FORMAT, **dataclasses.asdict(facts)}


def write_ids(path: pathlib.Path, ids: np.ndarray) -> None:
    """Writes the raw ids of users or items."""
    _write_frame(path, pa.table({_ID: pa.array(ids, pa.large_string())}))


def write_features(path: pathlib.Path, features: pd.DataFrame) -> None:
    """Writes what is known of users or items, a row each, in the order of their ids."""
    _write_frame(path, pa.Table.from_pandas(features, preserve_index=False))


def _write_frame(path: pathlib.Path, table: pa.Table) -> None:
    with arrow_tables.open_private(path) as file:
        feather.write_feather(table, file, compression="uncompressed")
        file.flush()
        os.fsync(file.fileno())


def _read_columns(
    path: pathlib.Path, kinds: Mapping[str, Any], num_users: int | None = None
) -> arrow_tables.MappedTable:
    """Maps a table, and checks that it is one of its place, by what needs no look at all its rows.

    Args:
      path: The table's file.
      kinds: The type of each column that there must be; None for a ragged one.
      num_users: How many users there are, one of whom each row is about; None for rows of
        interactions.

    Returns:
      The columns.

    Raises:
      UserError: If it cannot be read, or is another table.
    """
    columns = arrow_tables.read(path)
    for name, kind in kinds.items():
        found = columns.get(name)
        is_flat = isinstance(found, np.ndarray)
        if found is None or (kind is None) == is_flat or (is_flat and found.dtype != kind):
            raise errors.UserError(f"{path} has no column {name!r} of its type: {_WAY_OUT}")
    users = columns[_USER_INDEX]
    if num_users is not None and not ((users >= 0) & (users < num_users)).all():
        raise errors.UserError(f"{path} is about other users than {USERS}: {_WAY_OUT}")
    return columns


def _read_frame(path: pathlib.Path) -> pa.Table:
    try:
        table = feather.read_table(path)
        table.validate(full=True)
        return table
    except (OSError, ValueError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise errors.UserError(f"{path} cannot be read ({text}): {_WAY_OUT}") from error


def _read_ids(path: pathlib.Path) -> np.ndarray:
    table = _read_frame(path)
    if table.column_names != [_ID] or not pa.types.is_large_string(table[_ID].type):
        raise errors.UserError(f"{path} has no column {_ID!r} of texts: {_WAY_OUT}")
    return table[_ID].to_numpy()


def _read_features(path: pathlib.Path, num_rows: int) -> pd.DataFrame | None:
    if not path.exists():
        return None
    table = _read_frame(path)
    if table.num_rows != num_rows:
        raise errors.UserError(f"{path} has {table.num_rows} rows, not {num_rows}: {_WAY_OUT}")
    # What pandas put beside the columns counts not: they are texts.
    features = table.to_pandas(ignore_metadata=True)
    return features.where(features.notna(), np.nan)


def _read_facts(file: pathlib.Path) -> PreparedFacts:
    try:
        stored = json.loads(file.read_text())
        version = stored.pop("format")
        if version != _FORMAT:
            raise errors.UserError(
                f"{file.parent} is of format {version}, this version reads {_FORMAT}: {_WAY_OUT}"
            )
        stored["counts"] = DataCounts(**stored["counts"])
        facts = PreparedFacts(**stored)
        _check_types(facts)
        return facts
    except errors.UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise errors.UserError(f"{file} cannot be read: restore it, or {_WAY_OUT}") from error


def _check_types(facts: PreparedFacts) -> None:
    """Raises a TypeError where a fact is of another type than is written."""
    counts = [*dataclasses.asdict(facts.counts).values(), *facts.num_dropped.values()]
    numbers = [facts.seed, facts.num_tied_users, *facts.file_bytes.values(), *counts]
    texts = [facts.name, facts.split_name, facts.ties, facts.catalogue_kind, facts.fingerprint]
    texts += facts.file_digests.values()
    names = {*facts.file_bytes} | ({facts.roster_digest} - {None})
    if not (
        all(type(number) is int for number in numbers)
        and all(isinstance(text, str) for text in [*texts, *names])
        and isinstance(facts.is_private, bool)
        and {*EVALUATED} <= {*facts.num_dropped}
        and all(pathlib.PurePath(name).name == name for name in facts.file_bytes)
        and facts.file_digests.keys() <= facts.file_bytes.keys()
        and isinstance(facts.job, dict)
    ):
        raise TypeError("a fact is of another type")
