"""MovieLens 100K and 1M as their publisher lays them out.

The data are GroupLens's: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and
Context", ACM Transactions on Interactive Intelligent Systems 5(4), 2015. Their terms forbid
redistribution, so the files come from the publisher or from a folder of the user's.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import delimited
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

_GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
# The 1M set gives ages as the first year of a band; the 100K set is put into the same bands.
AGE_BANDS = (1, 18, 25, 35, 45, 50, 56)
_AGE_GROUPS = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56 and over")
_RATING_KINDS = {"user": "integer", "item": "integer", "rating": "number", "timestamp": "integer"}


def read_100k(
    data_dir: str | pathlib.Path, max_malformed_fraction: float = 0.0
) -> tuple[Interactions, DataCounts]:
    """Reads `u.data`, `u.item` and `u.user`.

    Args:
      data_dir: The folder of these files, or one that holds it as `ml-100k`.
      max_malformed_fraction: The fraction of ratings that may be malformed and skipped.

    Returns:
      The log, with features `title` and `genres` (joined by "|") of items, and `age_group`,
      `gender` and `occupation` of users; and what was dropped.

    Raises:
      UserError: If a file is missing or malformed.
    """
    path = _find_folder(data_dir, "ml-100k", "u.data") / "u.data"
    return _read(path, "\t", read_features(data_dir, "ml-100k"), max_malformed_fraction)


def read_1m(
    data_dir: str | pathlib.Path, max_malformed_fraction: float = 0.0
) -> tuple[Interactions, DataCounts]:
    """Reads `ratings.dat`, `movies.dat` and `users.dat`.

    Args:
      data_dir: The folder of these files, or one that holds it as `ml-1m`.
      max_malformed_fraction: The fraction of ratings that may be malformed and skipped.

    Returns:
      The log, with features `title` and `genres` (joined by "|") of items, and `age_group`,
      `gender` and `occupation` (the set's code) of users; and what was dropped.

    Raises:
      UserError: If a file is missing or malformed.
    """
    path = _find_folder(data_dir, "ml-1m", "ratings.dat") / "ratings.dat"
    return _read(path, "::", read_features(data_dir, "ml-1m"), max_malformed_fraction)


def read_features(data_dir: str | pathlib.Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads what a set tells of its users and items, of those without ratings, too.

    Args:
      data_dir: As `read_100k` and `read_1m` take it.
      name: "ml-100k" or "ml-1m".

    Returns:
      The features of users and those of items, as the logs have them, by raw id.

    Raises:
      UserError: If a file is missing or malformed.
    """
    if name == "ml-1m":
        return _read_features_1m(_find_folder(data_dir, name, "ratings.dat"))
    return _read_features_100k(_find_folder(data_dir, name, "u.data"))


def read_users(data_dir: str | pathlib.Path, name: str) -> pd.DataFrame:
    """Reads all that a set tells of its users, finer than the logs' features do.

    Args:
      data_dir: As `read_100k` and `read_1m` take it.
      name: "ml-100k" or "ml-1m".

    Returns:
      `age` (years; in the 1M set, the first year of one of `AGE_BANDS`), `gender`, `occupation`
      and `zip_code`, as text, by raw id.

    Raises:
      UserError: If the file is missing or malformed.
    """
    if name == "ml-1m":
        path = _find_folder(data_dir, name, "ratings.dat") / "users.dat"
        delimiter, names = "::", ("user", "gender", "age", "occupation", "zip_code")
    else:
        path = _find_folder(data_dir, name, "u.data") / "u.user"
        delimiter, names = "|", ("user", "age", "gender", "occupation", "zip_code")
    users = _read_table(path, delimiter, names, dict.fromkeys(names[1:], "text"))
    return users[["age", "gender", "occupation", "zip_code"]].set_axis(users.index.map(str))


def _read_features_100k(folder: pathlib.Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    users = _read_table(
        folder / "u.user",
        "|",
        ("user", "age", "gender", "occupation", "zip_code"),
        {"age": "integer", "gender": "text", "occupation": "text"},
    )
    items = _read_table(
        folder / "u.item",
        "|",
        ("item", "title", "date", "video_date", "url", *_GENRES_100K),
        {"title": "text"} | dict.fromkeys(_GENRES_100K, "integer"),
    )
    genre_table = items[_GENRES_100K].to_numpy() > 0
    genres = ["|".join(np.array(_GENRES_100K)[row]) for row in genre_table]
    return _with_age_group(users), items[["title"]].assign(genres=genres)


def _read_features_1m(folder: pathlib.Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    users = _read_table(
        folder / "users.dat",
        "::",
        ("user", "gender", "age", "occupation", "zip_code"),
        {"age": "integer", "gender": "text", "occupation": "text"},
    )
    items = _read_table(
        folder / "movies.dat",
        "::",
        ("item", "title", "genres"),
        {"title": "text", "genres": "text"},
    )
    return _with_age_group(users), items


def _find_folder(data_dir: str | pathlib.Path, name: str, file_name: str) -> pathlib.Path:
    data_dir = pathlib.Path(data_dir)
    for folder in (data_dir, data_dir / name):
        if (folder / file_name).is_file():
            return folder
    if not data_dir.is_dir():
        raise errors.UserError(
            f"--data_dir={data_dir} is no folder: name the one that holds {name}/"
        )
    raise errors.UserError(
        f"there is no {file_name} in {data_dir}, nor in a folder {name} in it: point --data_dir at "
        f"an unpacked {name}.zip, or leave it out to download"
    )


def _read(
    path: pathlib.Path,
    delimiter: str,
    features: tuple[pd.DataFrame, pd.DataFrame],
    max_malformed_fraction: float,
) -> tuple[Interactions, DataCounts]:
    text_format = delimited.TextFormat(delimiter, tuple(_RATING_KINDS), quoting=False)
    parsed = delimited.read_columns(path, text_format, _RATING_KINDS, max_malformed_fraction)
    frame = parsed.frame
    user_features, item_features = features
    log = interactions_lib.create_interactions(
        frame["user"].to_numpy(),
        frame["item"].to_numpy(),
        frame["timestamp"].to_numpy(),
        frame["rating"].to_numpy(),
        user_features=user_features,
        item_features=item_features,
    )
    return log, DataCounts(
        rows_read=parsed.rows_read,
        malformed=parsed.malformed,
        duplicates=len(frame) - log.num_interactions,
    )


def _read_table(
    path: pathlib.Path, delimiter: str, names: tuple[str, ...], kinds: dict[str, str]
) -> pd.DataFrame:
    """Reads a table whose first column is the raw id, which becomes the index."""
    text_format = delimited.TextFormat(delimiter, names, encoding="latin-1", quoting=False)
    parsed = delimited.read_columns(path, text_format, {names[0]: "integer"} | kinds)
    return parsed.frame.set_index(names[0])


def _with_age_group(users: pd.DataFrame) -> pd.DataFrame:
    band = np.searchsorted(AGE_BANDS, users["age"].to_numpy(), side="right") - 1
    age_group = np.array(_AGE_GROUPS, object)[np.maximum(band, 0)]
    return users[["gender", "occupation"]].assign(age_group=age_group)
