"""MovieLens sets that are published as CSV files: 20M, 25M, 32M and the latest ones.

They are GroupLens's (Harper and Konstan 2015, see `movielens`), whose terms forbid redistribution.
Nothing is known of their users, of whom each has 20 ratings or more; the `ml-latest` sets change
from time to time, so results on them are no reference.
"""

from __future__ import annotations

import pathlib

import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import download, feature_tables, tables
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

NAMES = ("ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small")
_RATINGS, _MOVIES = "ratings.csv", "movies.csv"
_COLUMNS = tables.TableColumns("userId", "movieId", "timestamp", "rating")
_NO_GENRES = "(no genres listed)"


def read(
    data_dir: str | pathlib.Path,
    name: str,
    max_malformed_fraction: float = 0.0,
    isolates_rows: bool = False,
) -> tuple[Interactions, DataCounts, pd.DataFrame]:
    """Reads `ratings.csv` and `movies.csv`.

    Args:
      data_dir: The folder of these files, or one that holds it by the set's name.
      name: One of `NAMES`.
      max_malformed_fraction: The fraction of ratings that may be malformed and skipped.
      isolates_rows: As `delimited.TextFormat` has it.

    Returns:
      The log, with features `title` and `genres` (joined by "|") of items; what was dropped; and
      the features of all movies by raw id, of those without ratings, too.

    Raises:
      UserError: If a file is missing or malformed.
    """
    folder = _find_folder(pathlib.Path(data_dir), name)
    movies = feature_tables.read(folder / _MOVIES, _COLUMNS.item)
    movies = movies.replace({"genres": {_NO_GENRES: ""}})
    log, counts = tables.read(
        folder / _RATINGS,
        _COLUMNS,
        tables.TableLayout(isolates_rows=isolates_rows),
        max_malformed_fraction,
        item_features=movies,
    )
    return log, counts, movies


def _find_folder(data_dir: pathlib.Path, name: str) -> pathlib.Path:
    for folder in (data_dir, data_dir / name):
        if (folder / _RATINGS).is_file():
            return folder
    raise errors.UserError(
        f"there is no {_RATINGS} in {data_dir}, nor in a folder {name} in it: point --data_dir at "
        f"an unpacked {name}.zip, from {download.MOVIELENS_URL}"
    )
