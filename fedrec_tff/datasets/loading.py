"""The one way from a configuration to data that are ready to train on and to evaluate with.

Who the users are, and which items there are, may be told by a roster and by a catalogue that do not
come from the data. What becomes of a user's rows then follows from these and the rows alone.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import (
    adjacency,
    dataset_config,
    download,
    feature_tables,
    movielens,
    movielens_csv,
    parts,
    preparation,
    roster,
    sequence_files,
    sources,
    splits,
    synthetic,
    tables,
    tied_order,
)
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.dataset_config import DATA, DatasetConfig
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.datasets.sources import Source
from fedrec_tff.datasets.splits import Split
from fedrec_tff.datasets.tables import TableColumns

_MOVIELENS_READERS = {"ml-100k": movielens.read_100k, "ml-1m": movielens.read_1m}
_TITLE = "title"
_MOST_CHECKED_BYTES = 1 << 28
_CATALOGUE_SOURCES = {
    DATA: "of the data",
    dataset_config.TABLE: "of the item table",
    dataset_config.SELECTED: "selected beforehand",
}


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedDataset:
    """Data that are ready to use.

    Attributes:
      name: The data set.
      split_name: The split.
      interactions: The prepared log; of an adjacency set, the published training data. Its users
        are all of the population: of the roster, if there is one.
      split: The data that training and evaluation see.
      counts: The fate of the rows that were read, in numbers.
      fingerprint: A SHA-256 over the split and the ids: another one means other data.
      catalogue_kind: Where the catalogue comes from: a kind of `dataset_config`.
      ties: How interactions of the same time were ordered, one of `tied_order.ORDERS`.
      roster_digest: A SHA-256 over the roster; None where the users are those of the data.
      num_tied_users: The users whose last interaction shares its time with the one before, if the
        split goes by it.
    """

    name: str
    split_name: str
    interactions: Interactions
    split: Split
    counts: DataCounts
    fingerprint: str
    catalogue_kind: str = DATA
    ties: str = tied_order.FILE
    roster_digest: str | None = None
    num_tied_users: int = 0

    @property
    def has_public_roster(self) -> bool:
        """Whether the users were told by a roster, and not by the data."""
        return self.roster_digest is not None

    @property
    def population_source(self) -> str:
        """Where the users come from, in a few words."""
        return "of the roster" if self.has_public_roster else "of the data"

    @property
    def catalogue_source(self) -> str:
        """Where the items come from, in a few words."""
        return _CATALOGUE_SOURCES[self.catalogue_kind]

    @property
    def train_user_ids(self) -> np.ndarray:
        """The raw ids of the training users, a row of `split.train` each: object (str)."""
        return self.interactions.user_ids[self.split.train_user_index]

    def public_summary(self) -> str:
        """Returns one line: what is public of the data where users are protected."""
        return (
            f"{self.name}: {self.split.train.num_rows:,} training users {self.population_source}, "
            f"{self.split.num_items:,} items {self.catalogue_source}"
        )

    def summary(self) -> str:
        """Returns one line: what was read, what was dropped, and what is left."""
        split = self.split
        dropped = split.validation.num_dropped + split.test.num_dropped
        roster = f" {self.population_source}" if self.has_public_roster else ""
        catalogue = f" {self.catalogue_source}" if self.catalogue_kind != DATA else ""
        return (
            f"{self.name}: {self.counts.summary()}; {self.interactions.num_users:,} users{roster}, "
            f"{self.interactions.num_items:,} items{catalogue}; {self.split_name}: "
            f"{split.train.num_rows:,} training users, {split.validation.num_rows:,} validation "
            f"and {split.test.num_rows:,} test rows"
            + (f", {dropped:,} held-out interactions cannot be targets" if dropped else "")
            + self._describe_ties()
        )

    def _describe_ties(self) -> str:
        """A clause on users whose last interaction is told by the order of ties, if there are."""
        if not self.num_tied_users:
            return ""
        return (
            f"; of {self.num_tied_users:,} users the last interaction shares its time with the one "
            f"before, and --ties={self.ties} orders them"
        )


def load(config: DatasetConfig) -> LoadedDataset:
    """Reads or generates, prepares and splits.

    Args:
      config: Which data, and what to do to them.

    Returns:
      The data.

    Raises:
      UserError: If files are missing or malformed, or too little is left for the split.
    """
    if config.name == dataset_config.PREPARED:
        return _open_prepared(config)
    source = read(config)
    roster_digest = None
    if config.roster is not None:
        source, roster_digest = sources.place_on_roster(source, config.roster, config.columns.user)
    has_public_catalogue = config.catalogue_kind != DATA
    if has_public_catalogue:
        source = sources.place_in_catalogue(source, config.catalogue_ids)
    log, counts = source.logs[0], source.counts
    if config.name == "adjacency":
        split = splits.fixed(*source.logs, config.seed, config.keeps_all_users)
    else:
        if config.ties == tied_order.RANDOM:
            log = tied_order.shuffle(log, config.seed)
        log, dropped = preparation.prepare(
            log, config.preparation, config.keeps_all_users, has_public_catalogue
        )
        counts += dropped
        split = split_log(log, config)
    return LoadedDataset(
        name=config.name,
        split_name=config.split_name,
        interactions=log,
        split=split,
        counts=counts,
        fingerprint=splits.fingerprint(split, log.user_ids, log.item_ids),
        catalogue_kind=config.catalogue_kind,
        ties=config.ties,
        roster_digest=roster_digest,
        num_tied_users=count_tied_users(log, config),
    )


def read(config: DatasetConfig) -> Source:
    """Reads or generates, and nothing more.

    Args:
      config: Which data; what is to be done to them has no say.

    Returns:
      The logs and tables.

    Raises:
      UserError: If files are missing or malformed.
    """
    if config.name == "synthetic":
        log = synthetic.generate_with_all_items(config.synthetic)
        return Source(
            (interactions_lib.drop_unused_ids(log),),
            DataCounts(rows_read=log.num_interactions),
            log.user_features.set_axis(log.user_ids),
            log.item_features.set_axis(log.item_ids),
        )
    if config.name == "csv":
        return _read_table(config)
    if config.name == dataset_config.PREPARED:
        folder = prepared_folder.open_folder(config.data_dir)
        log = folder.interactions
        return Source((log,), folder.facts.counts)
    if config.name == "sequences":
        return _read_sequences(config)
    if config.name in movielens_csv.NAMES:
        log, counts, items = movielens_csv.read(
            config.data_dir, config.name, config.max_malformed_fraction, config.is_private
        )
        return Source((log,), counts, items=items)
    if config.name == "adjacency":
        *logs, counts = adjacency.read(config.data_dir, config.max_malformed_fraction)
        return Source(tuple(logs), counts)
    data_dir = config.data_dir
    if data_dir is None:
        data_dir = download.fetch(download.ARCHIVES[config.name])
    log, counts = _MOVIELENS_READERS[config.name](data_dir, config.max_malformed_fraction)
    users, items = (
        table.set_axis(table.index.map(str))
        for table in movielens.read_features(data_dir, config.name)
    )
    return Source((log,), counts, users, items)


def _read_table(config: DatasetConfig) -> Source:
    layout = create_layout(config)

    def read_fn(users: pd.DataFrame | None, items: pd.DataFrame | None) -> tuple:
        return tables.read(
            config.data_path,
            find_event_columns(config, layout, users is None, items is None),
            layout,
            config.max_malformed_fraction,
            users,
            items,
        )

    return _read_with_features(config, read_fn, *find_feature_tables(config))


def create_layout(config: DatasetConfig) -> tables.TableLayout:
    """The layout of a table's files, as far as it was told."""
    return tables.TableLayout(
        config.column_names,
        config.delimiter,
        config.encoding,
        config.time_format,
        config.quoting,
        isolates_rows=config.is_private,
    )


def find_feature_tables(
    config: DatasetConfig,
) -> tuple[str | pathlib.Path | None, str | pathlib.Path | None]:
    """Finds the files that tell of a table's items and of its users, named or beside it."""
    return (
        config.item_table or feature_tables.find_beside(config.data_path, ".item"),
        config.user_table or feature_tables.find_beside(config.data_path, ".user"),
    )


def find_event_columns(
    config: DatasetConfig, layout: tables.TableLayout, asks_users: bool, asks_items: bool
) -> TableColumns:
    """Finds the columns of a table to read: those that tell of users and items, too, if asked.

    Args:
      config: Which table, and what to do to it.
      layout: Its layout.
      asks_users: Whether no table tells of its users.
      asks_items: Whether no table tells of its items.

    Returns:
      The columns.

    Raises:
      UserError: If rows of users would tell of items, and users are protected.
    """
    columns = config.columns
    wanted_of_items = config.item_features if asks_items else ()
    if config.is_private and wanted_of_items:
        raise errors.UserError(
            f"--item_features={','.join(wanted_of_items)}: what the rows of users say of items is "
            "those users' data, which no noise covers: add --item_table, a public table of items"
        )
    names = tables.read_names(parts.find(config.data_path)[0], layout)
    roles = (columns.user, columns.item, columns.time, columns.value)
    of_users = config.user_features if asks_users else ()
    if asks_items and not config.is_private and _TITLE not in roles:
        wanted_of_items = dict.fromkeys((*wanted_of_items, _TITLE))
    return dataclasses.replace(
        columns,
        user_features=tuple(name for name in of_users if name in names),
        item_features=tuple(name for name in wanted_of_items if name in names),
    )


def _read_sequences(config: DatasetConfig) -> Source:
    def read_fn(users: pd.DataFrame | None, items: pd.DataFrame | None) -> tuple:
        return sequence_files.read(
            config.data_dir, config.max_malformed_fraction, config.encoding, users, items
        )

    beside = sequence_files.find_attributes(config.data_dir)
    return _read_with_features(config, read_fn, config.item_table or beside, config.user_table)


def _read_with_features(
    config: DatasetConfig,
    read_fn: Callable[[pd.DataFrame | None, pd.DataFrame | None], tuple[Interactions, DataCounts]],
    items_path: str | pathlib.Path | None,
    users_path: str | pathlib.Path | None,
) -> Source:
    """Reads what is known of users and items, and then the log, which goes by their ids."""
    items, users = read_features(config, items_path, users_path)
    log, counts = read_fn(users, items)
    if users is not None:
        feature_tables.check_matches(users, users_path, log.user_ids)
    elif log.user_features is not None:
        users = log.user_features.set_axis(log.user_ids)
    if items is not None:
        feature_tables.check_matches(items, items_path, log.item_ids)
    elif log.item_features is not None:
        items = log.item_features.set_axis(log.item_ids)
    return Source((log,), counts, users, items)


def read_features(
    config: DatasetConfig,
    items_path: str | pathlib.Path | None,
    users_path: str | pathlib.Path | None,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Reads the tables that tell of items and of users; None for a table that is not there."""
    encoding = config.encoding
    users = items = None
    if users_path is not None:
        users = feature_tables.read(users_path, config.columns.user, config.is_private, encoding)
    if items_path is not None:
        # Items are public.
        items = feature_tables.read(items_path, config.columns.item, False, encoding)
    return items, users


def count_tied_users(log: Interactions, config: DatasetConfig) -> int:
    """Counts the users whose last interaction is told by the order of ties."""
    return 0 if config.split_name == "global_time" else tied_order.count_users(log)


def split_log(log: Interactions, config: DatasetConfig) -> Split:
    """Makes the split that is asked for.

    Args:
      log: The prepared log.
      config: Which split.

    Returns:
      The split.

    Raises:
      UserError: If too little is left for it.
    """
    if config.split_name == "unseen_users":
        return splits.unseen_users(
            log, config.validation_fraction, config.test_fraction, config.seed
        )
    if config.split_name == "global_time":
        return splits.global_time(log, config.validation_quantile, config.test_quantile)
    return splits.leave_last_out(log)


def _open_prepared(config: DatasetConfig) -> LoadedDataset:
    folder = prepared_folder.open_folder(config.data_dir)
    # Reading more would be felt: `experiments.data prepare`, given again, reads all.
    folder.check_content(_MOST_CHECKED_BYTES)
    facts = folder.facts
    digest = None
    if config.roster is not None:
        digest = roster.digest(roster.read(config.roster, config.columns.user))
    facts.check(
        prepared_folder.Claims(
            config.split_name, config.seed, config.is_private, config.catalogue, digest
        ),
        config.data_dir,
    )
    return LoadedDataset(
        name=facts.name,
        split_name=facts.split_name,
        interactions=folder.interactions,
        split=folder.split,
        counts=facts.counts,
        fingerprint=facts.fingerprint,
        catalogue_kind=facts.catalogue_kind,
        ties=facts.ties,
        roster_digest=facts.roster_digest,
        num_tied_users=facts.num_tied_users,
    )
