"""The topic of data: which users there are, what they did, and what is known of items."""

# Tested in tests/config/test_run_config.py.

import dataclasses

from fedrec_tff.config.field_spec import MOST, Need, declare

_MOVIELENS_CSV = ("ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small")
_DATASETS_WITH_ITEM_TABLE = ("synthetic", "ml-100k", "ml-1m", *_MOVIELENS_CSV)
# A folder that was written by `experiments.data prepare`.
PREPARED = "prepared"
DATASETS = (*_DATASETS_WITH_ITEM_TABLE, "csv", "sequences", "adjacency", PREPARED)
# Files of one's own, which may have tables of users and of items beside them.
OWN_DATASETS = ("csv", "sequences")
NEED_DATA_DIR = (*_MOVIELENS_CSV, *OWN_DATASETS, "adjacency", PREPARED)
SPLITS = ("leave_last_out", "unseen_users", "global_time", "published")
TIES = ("file", "random")
CATALOGUES = ("table", "selected", "data")
# The flags that name columns of the interactions' own file.
COLUMN_FLAGS = ("user_column", "item_column", "time_column", "value_column")

_CSV = Need("--dataset=csv", lambda config: config.dataset == "csv")
_OWN = Need("--dataset=csv or sequences", lambda config: config.dataset in OWN_DATASETS)
_USER_TABLE_OR_ROSTER = Need(
    "--dataset=csv or --roster or --user_table",
    lambda config: config.dataset == "csv" or (config.roster or config.user_table) is not None,
)
_CSV_OR_ITEM_TABLE = Need(
    "--dataset=csv or --item_table",
    lambda config: config.dataset == "csv" or config.item_table is not None,
)
_TIME_COLUMN = Need("--time_column", lambda config: config.time_column is not None)
_TIMES = Need("times (--time_column)", lambda config: config.has_times)
_USER_FEATURES = Need("--user_features", lambda config: bool(config.user_features))
_UNPREPARED = Need(
    "data that are not prepared yet",
    lambda config: config.dataset != PREPARED,
    "drop it, or give it to experiments.data prepare",
)
_SYNTHETIC = Need("--dataset=synthetic", lambda config: config.dataset == "synthetic")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data of a run. See each field's help."""

    dataset: str = declare(
        "synthetic",
        "Data set to train on.",
        choices=DATASETS,
        about_data=True,
        is_leading=True,
    )
    data_dir: str | None = declare(
        None,
        "Folder of the original files (ml-...; ml-100k and ml-1m are downloaded if it is not "
        "given), or of train.txt and test.txt (adjacency); the table itself (csv): delimited text, "
        "Parquet, JSON lines or a RecBole .inter file, also as .gz, .bz2, .zst or .zip, or a "
        "folder or a quoted pattern (*) of its parts; the text file of sequences, or a folder "
        "with sequences.txt (sequences); or a folder of experiments.data prepare (prepared).",
        about_data=True,
        is_place=True,
    )
    split: str = declare(
        "leave_last_out",
        "Evaluation protocol; 'published' takes the split that an adjacency set comes with.",
        choices=SPLITS,
        about_data=True,
    )
    user_column: str = declare(
        "user_id",
        "Column of user ids (csv, --roster, --user_table).",
        needs=(_USER_TABLE_OR_ROSTER,),
        about_data=True,
    )
    item_column: str = declare(
        "item_id",
        "Column of item ids (csv, --item_table).",
        needs=(_CSV_OR_ITEM_TABLE,),
        about_data=True,
    )
    time_column: str | None = declare(
        None,
        "Column of times (csv): whole numbers in any one unit, seconds with a fraction, or ISO "
        "8601 dates, exact to the nanosecond; without it, the order of the file.",
        needs=(_CSV,),
        about_data=True,
    )
    time_format: str | None = declare(
        None,
        "Format of dates in --time_column that are not ISO 8601, as %d/%m/%Y %H:%M, in the "
        "directives of Python's strptime (csv).",
        needs=(_CSV, _TIME_COLUMN),
        about_data=True,
    )
    value_column: str | None = declare(
        None,
        "Column of ratings (csv), for --minimum_value.",
        needs=(_CSV,),
        about_data=True,
    )
    column_names: str | None = declare(
        None,
        "Names of all columns, separated by commas, of a file without a header (csv).",
        needs=(_CSV,),
        about_data=True,
    )
    delimiter: str | None = declare(
        None,
        "Character between the fields of text, or ::, tab or space (csv). By default the suffix "
        "tells it, or else the first line.",
        needs=(_CSV,),
        about_data=True,
    )
    quoting: bool = declare(
        True,
        "Double quotes around a field of text are no part of it; --noquoting for files in which "
        "quotes are ordinary characters (csv).",
        needs=(_CSV,),
        about_data=True,
    )
    encoding: str = declare(
        "utf-8",
        "Encoding of text, as latin-1 (csv, sequences, and the tables beside them).",
        needs=(_OWN,),
        about_data=True,
    )
    max_malformed_fraction: float = declare(
        0.0,
        "Fraction of a file's malformed rows, at most, to skip instead of refusing the first.",
        low=0.0,
        high=1.0,
        needs=(_UNPREPARED,),
        about_data=True,
    )
    ties: str = declare(
        "file",
        "Order of a user's interactions of the same time, which tells what is held out as the "
        "last: file, as they stand there; random, drawn by --seed.",
        choices=TIES,
        needs=(_TIMES,),
        about_data=True,
    )
    minimum_value: float | None = declare(
        None,
        "Least value (rating) of the interactions to keep; by default all are kept.",
        needs=(_UNPREPARED,),
        about_data=True,
    )
    k_core: int = declare(
        1,
        "Number of interactions below which users and items are dropped, repeatedly.",
        low=1,
        high=MOST,
        needs=(_UNPREPARED,),
        about_data=True,
    )
    max_interactions_per_user: int | None = declare(
        None,
        "Number of each user's newest interactions to keep at most: a cap on contributions.",
        low=3,
        high=MOST,
        needs=(_UNPREPARED,),
        about_data=True,
    )
    roster: str | None = declare(
        None,
        "File of all users, one id a line, or a CSV, TSV, Parquet or JSON lines table with "
        "--user_column. They are the population, whatever their data; rows of others are dropped. "
        "By default the users of the data: all of them under differential privacy, else those with "
        "enough data.",
        about_data=True,
        is_place=True,
    )
    catalogue: str | None = declare(
        None,
        "Origin of the items: table, the item table of ml-..., synthetic, or --item_table "
        "(csv, sequences); selected, the items that enough users took, chosen with noise as a part "
        "of epsilon (--catalogue_noise_multiplier); data, the items that users took. By default "
        "table under differential privacy where there is one, else data.",
        choices=CATALOGUES,
        about_data=True,
    )
    item_table: str | None = declare(
        None,
        "CSV, TSV, Parquet or JSON file of items, with --item_column, for --item_features, "
        "--catalogue=table and, in a column `title`, what recommendations call items (csv, "
        "sequences). Beside sequences, item_attributes.json is found without it.",
        needs=(_OWN,),
        about_data=True,
        is_place=True,
    )
    user_table: str | None = declare(
        None,
        "CSV, TSV, Parquet or JSON file of users, with --user_column, for --user_features (csv, "
        "sequences).",
        needs=(_OWN, _USER_FEATURES),
        about_data=True,
        is_place=True,
    )
    synthetic_users: int = declare(
        3000,
        "Users of the synthetic data.",
        low=10,
        high=10_000_000,
        needs=(_SYNTHETIC,),
        about_data=True,
    )
    synthetic_items: int = declare(
        400,
        "Items of the synthetic data.",
        low=20,
        high=1_000_000,
        needs=(_SYNTHETIC,),
        about_data=True,
    )

    @property
    def has_item_table(self) -> bool:
        """Whether a table of all items comes with the data."""
        if self.dataset == PREPARED:
            # The folder has one if it was prepared so, and is held against the flag.
            return self.catalogue == "table"
        return self.item_table is not None or self.dataset in _DATASETS_WITH_ITEM_TABLE

    @property
    def has_times(self) -> bool:
        """Whether interactions have times, and not just an order."""
        if self.dataset == "csv":
            return self.time_column is not None
        return self.dataset not in ("sequences", "adjacency", PREPARED)

    @property
    def has_public_roster(self) -> bool:
        """Whether the users are told by a roster; if not, those of the data are taken as public."""
        return self.roster is not None

    def catalogue_kind_if(self, is_private: bool) -> str:
        """Returns where the items come from, one of `CATALOGUES`.

        Args:
          is_private: Whether the users are protected, by the aggregator or by other means.
        """
        if self.catalogue is not None:
            return self.catalogue
        return "table" if is_private and self.has_item_table else "data"
