"""Which data, and what to do to them; contradictions are refused before anything is read."""

# Tested in tests/datasets/test_loading.py.

from __future__ import annotations

import dataclasses
import pathlib

from fedrec_tff import errors
from fedrec_tff.datasets import (
    adjacency,
    download,
    movielens_csv,
    sequence_files,
    splits,
    tied_order,
)
from fedrec_tff.datasets.preparation import PreparationConfig
from fedrec_tff.datasets.synthetic import SyntheticConfig
from fedrec_tff.datasets.tables import TableColumns

_DOWNLOADED = tuple(download.ARCHIVES)
_MOVIELENS = (*_DOWNLOADED, *movielens_csv.NAMES)
# A folder that `experiments.data prepare` wrote, of data that were read, prepared and split before.
PREPARED = "prepared"
DATASETS = ("synthetic", *_MOVIELENS, "csv", "sequences", "adjacency", PREPARED)

# Where the catalogue comes from.
DATA, TABLE, SELECTED = "data", "table", "selected"
CATALOGUES = (TABLE, DATA)


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Which data, and what to do to them.

    Attributes:
      name: One of `DATASETS`; "csv" is any table, Parquet too.
      data_dir: The folder of a MovieLens, adjacency or prepared set, or the file or folder of
        sequences; MovieLens sets are downloaded if None.
      data_path: The file of a table, a folder or a pattern of its parts.
      allow_download: Whether a MovieLens set without `data_dir` may be downloaded.
      columns: Which columns of a table hold what.
      column_names: The names of all columns of a table that has no header.
      item_table: The file of what is known of the items of a table.
      user_table: The same of its users.
      item_features: The columns that are asked of items: where no table has them, those of the
        interactions of these names, and one called `title`, unless users are protected, whose data
        these are.
      user_features: The same of users, who may tell of themselves in any case.
      delimiter: The delimiter of a table's text, as `tables.TableLayout` has it; None to guess it.
      encoding: The encoding of tables and sequences.
      quoting: Whether fields of a table's text may stand in double quotes.
      time_format: The directives by which a table's times are written, as `times.parse` takes it.
      max_malformed_fraction: The fraction of rows that may be malformed and skipped.
      preparation: Which users, items and interactions to keep; not for adjacency sets.
      split: One of `splits.SPLITS`; None for "published" where the data are adjacency sets, and
        "leave_last_out" elsewhere.
      validation_fraction: The fraction of users held out for validation, for "unseen_users".
      test_fraction: The fraction of users held out for the test, for "unseen_users".
      validation_quantile: The quantile of time stamps where training ends, for "global_time".
      test_quantile: The quantile of time stamps where the test begins, for "global_time".
      ties: The order of a user's interactions of the same time, one of `tied_order.ORDERS`.
      seed: The key of the split and of ties, where they are random.
      is_private: Whether users are protected from one another. All users that were read are then
        kept, those with too little data as training users without any, and nothing is guessed from
        rows; what looks at several users at once is refused.
      roster: The file of the raw ids of all users, as `roster.read` takes it, who are kept whatever
        their data; None for the users of the data.
      catalogue: One of `CATALOGUES`: the items of the item table that comes with the data, or those
        that are left of the data.
      catalogue_ids: The raw ids of the items that make up the catalogue, in place of both.
      synthetic: The description of synthetic users, which has its own seed.
    """

    name: str = "synthetic"
    data_dir: str | pathlib.Path | None = None
    data_path: str | pathlib.Path | None = None
    allow_download: bool = True
    columns: TableColumns = dataclasses.field(default_factory=TableColumns)
    column_names: tuple[str, ...] = ()
    item_table: str | pathlib.Path | None = None
    user_table: str | pathlib.Path | None = None
    item_features: tuple[str, ...] = ()
    user_features: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str = "utf-8"
    time_format: str | None = None
    quoting: bool = True
    max_malformed_fraction: float = 0.0
    preparation: PreparationConfig = dataclasses.field(default_factory=PreparationConfig)
    split: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    validation_quantile: float = 0.8
    test_quantile: float = 0.9
    ties: str = tied_order.FILE
    seed: int = 0
    is_private: bool = False
    roster: str | pathlib.Path | None = None
    catalogue: str = DATA
    catalogue_ids: tuple[str, ...] | None = None
    synthetic: SyntheticConfig = dataclasses.field(default_factory=SyntheticConfig)

    def __post_init__(self) -> None:
        if self.name not in DATASETS:
            raise errors.UserError(
                f"there is no dataset {self.name!r}; choose one of: {', '.join(DATASETS)}"
            )
        if self.split is not None and self.split not in splits.SPLITS:
            raise errors.UserError(
                f"there is no split {self.split!r}; choose one of: {', '.join(splits.SPLITS)}"
            )
        if not 0 <= self.max_malformed_fraction < 1:
            raise errors.UserError("--max_malformed_fraction must be at least 0 and less than 1")
        if self.ties not in tied_order.ORDERS:
            raise errors.UserError(
                f"there is no order of ties {self.ties!r}; choose one of: "
                f"{', '.join(tied_order.ORDERS)}"
            )
        if self.seed < 0:
            raise errors.UserError("the seed of a dataset must not be negative")
        self._check_paths()
        self._check_split()
        self._check_catalogue()
        if self.preparation.minimum_value is not None:
            self._check_has_values()

    @property
    def split_name(self) -> str:
        """The split that is made."""
        return self.split or ("published" if self.name == "adjacency" else "leave_last_out")

    @property
    def keeps_all_users(self) -> bool:
        """Whether users stay in training who have too little data."""
        return self.is_private or self.roster is not None

    @property
    def catalogue_kind(self) -> str:
        """Where the catalogue comes from: `DATA`, `TABLE` or `SELECTED`."""
        return self.catalogue if self.catalogue_ids is None else SELECTED

    def _check_paths(self) -> None:
        if self.data_path is not None and self.name != "csv":
            raise errors.UserError(f"data_path is for the dataset csv, not for {self.name}")
        if self.data_dir is not None and self.name in ("csv", "synthetic"):
            raise errors.UserError(f"--data_dir means nothing with --dataset={self.name}")
        if self.name == "csv" and self.data_path is None:
            raise errors.UserError("--dataset=csv needs --data_dir: the table to read")
        if self.name == PREPARED and self.data_dir is None:
            raise errors.UserError(
                "--dataset=prepared needs --data_dir: the folder of experiments.data prepare"
            )
        if self.name == "adjacency" and self.data_dir is None:
            raise errors.UserError(
                f"--dataset=adjacency needs --data_dir: the folder that holds {adjacency.TEST_NAME}"
            )
        if self.name == "sequences" and self.data_dir is None:
            raise errors.UserError(
                "--dataset=sequences needs --data_dir: the file of sequences, or a folder with "
                f"{sequence_files.FILE_NAME}"
            )
        if self.name in movielens_csv.NAMES and self.data_dir is None:
            raise errors.UserError(
                f"--dataset={self.name} needs --data_dir: the folder of an unpacked "
                f"{self.name}.zip, from {download.MOVIELENS_URL}"
            )
        if self.name in _DOWNLOADED and self.data_dir is None and not self.allow_download:
            raise errors.UserError(
                f"--dataset={self.name} needs --data_dir where downloads are not allowed"
            )

    def _check_split(self) -> None:
        is_published = self.split_name == "published"
        if is_published != (self.name == "adjacency"):
            raise errors.UserError(
                f"the split {self.split_name} is not for the dataset {self.name}: 'published' is "
                "for adjacency, and nothing else is"
            )
        if is_published and self.preparation != PreparationConfig():
            raise errors.UserError(
                "the dataset adjacency is taken as it was published: leave out thresholds, cores "
                "and caps"
            )
        if self.split_name == "global_time" and self.name == "sequences":
            raise errors.UserError(
                "--split=global_time needs times, and sequences have an order only: choose "
                "leave_last_out or unseen_users"
            )
        if self.split_name == "global_time" and self.name == "csv" and self.columns.time is None:
            raise errors.UserError("--split=global_time needs a --time_column: name it")
        if self.name == PREPARED:
            self._check_is_prepared()
        cores = (self.preparation.k_core_user, self.preparation.k_core_item)
        if self.is_private and (self.split_name == "global_time" or max(cores) > 1):
            raise errors.UserError(
                "--split=global_time and --k_core go by the data of all users together, which no "
                "noise covers: drop them"
            )

    def _check_is_prepared(self) -> None:
        """Refuses to do to data what can only be done before they are prepared."""
        is_asked = (
            self.preparation != PreparationConfig()
            or self.max_malformed_fraction > 0.0
            or self.catalogue_ids is not None
            or self.ties != tied_order.FILE
        )
        if is_asked:
            raise errors.UserError(
                "--dataset=prepared was prepared before: give thresholds, caps, ties and the "
                "fraction of malformed rows to experiments.data prepare"
            )

    def _check_has_values(self) -> None:
        if self.name == "csv" and self.columns.value is None:
            raise errors.UserError("--minimum_value needs a --value_column: name it, or drop it")
        if self.name == "sequences":
            raise errors.UserError("--minimum_value: sequences have no values: drop it")

    def _check_catalogue(self) -> None:
        if self.catalogue not in CATALOGUES:
            raise errors.UserError(
                f"there is no catalogue {self.catalogue!r}; choose one of: {', '.join(CATALOGUES)}"
            )
        has_table = self.item_table is not None or self.name in ("synthetic", PREPARED, *_MOVIELENS)
        if self.catalogue == TABLE and not has_table:
            raise errors.UserError(
                f"--catalogue=table: --dataset={self.name} comes without a table of its items: add "
                "--item_table (csv, sequences), or use --catalogue=data"
            )
