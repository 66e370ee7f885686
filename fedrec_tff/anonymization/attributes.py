"""What the data say of users, and which of it is quasi-identifying, and which sensitive."""

# Tested in tests/anonymization/test_anonymization_pipeline.py.

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.anonymization import config as config_lib
from fedrec_tff.anonymization import generalization
from fedrec_tff.datasets import delimited, movielens
from fedrec_tff.datasets.interactions import Interactions


@dataclasses.dataclass(frozen=True, eq=False)
class UserAttributes:
    """Attributes of the users of a log.

    Attributes:
      frame: Attribute values as text; one row for each user, in the order of the log;
        `generalization.UNKNOWN` where nothing is known.
      age_cuts: The ages at which the data's own bands begin; None for ages in years.
    """

    frame: pd.DataFrame
    age_cuts: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ChosenAttributes:
    """The attributes that matter, by their part.

    Attributes:
      hierarchies: Hierarchy of each quasi-identifier, by name; there may be none.
      sensitive_name: Name of the sensitive attribute; None for none.
      sensitive: Value of the sensitive attribute for each user, object (str) [num_users]; None for
        none.
    """

    hierarchies: dict[str, generalization.Hierarchy]
    sensitive_name: str | None
    sensitive: np.ndarray | None


def read_movielens(log: Interactions, data_dir: str | pathlib.Path, name: str) -> UserAttributes:
    """Reads age, gender, occupation and zip code of the users of a MovieLens log."""
    frame = _align(movielens.read_users(data_dir, name), log)
    return UserAttributes(frame, movielens.AGE_BANDS[1:] if name == "ml-1m" else None)


def read_table(
    log: Interactions, path: str | pathlib.Path, id_column: str, columns: Sequence[str]
) -> UserAttributes:
    """Reads a CSV or TSV file with a header and one row for each user.

    Args:
      log: Log whose users the file describes; those that the file leaves out have unknown
        attributes.
      path: Path of the CSV or TSV file.
      id_column: Name of the column of raw user ids.
      columns: Names of the columns to read as attributes.

    Returns:
      The attributes, in the order of the log.

    Raises:
      UserError: If the file or a column is missing, a row is malformed, or a user is there twice.
    """
    path = pathlib.Path(path)
    text_format = delimited.TextFormat("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    kinds = {id_column: "id"} | dict.fromkeys(columns, "text")
    frame = delimited.read_columns(path, text_format, kinds).frame.set_index(id_column)
    repeated = frame.index[frame.index.duplicated()]
    if len(repeated):
        raise errors.UserError(f"{path} has user {repeated[0]!r} twice: remove one of the rows")
    if not frame.index.isin(log.user_ids).any():
        raise errors.UserError(
            f"{path} names none of the users of the interactions in its column {id_column!r}: "
            "check that both files use the same ids"
        )
    return UserAttributes(_align(frame, log))


def from_features(log: Interactions) -> UserAttributes:
    """Takes what the log itself carries; there may be nothing."""
    features = log.user_features
    if features is None:
        features = pd.DataFrame(index=np.arange(log.num_users))
    return UserAttributes(_as_text(features))


def choose(
    log: Interactions, attributes: UserAttributes, config: config_lib.AnonymizationConfig
) -> ChosenAttributes:
    """Gives each attribute its part, and each quasi-identifier its hierarchy.

    Args:
      log: Log that says which genres users took, or under randomised response answered to have
        taken.
      attributes: All that is known of users.
      config: Configuration that says which attributes are which.

    Returns:
      The attributes that matter; the others go no further.

    Raises:
      UserError: If an attribute is unknown, or something is demanded of data without attributes.
    """
    frame = attributes.frame
    sensitive_name = config.sensitive
    if sensitive_name is None and _has_genres(log):
        sensitive_name = config_lib.TOP_GENRE
    if sensitive_name == config_lib.NOT_SENSITIVE:
        sensitive_name = None
    names = config.quasi_identifiers
    if names is None:
        names = tuple(name for name in frame.columns if name != sensitive_name)
    known = list(frame.columns)
    if sensitive_name not in (None, config_lib.TOP_GENRE):
        _check_known("sensitive", [sensitive_name], known)
    _check_known("quasi_identifiers", names, known)
    if not names:
        _check_nothing_demanded(config)
        return ChosenAttributes({}, None, None)
    sensitive = None
    if sensitive_name == config_lib.TOP_GENRE:
        sensitive = find_top_genres(log)
    elif sensitive_name is not None:
        sensitive = frame[sensitive_name].to_numpy()
    return ChosenAttributes(
        {name: _create_hierarchy(name, attributes, config) for name in names},
        sensitive_name,
        sensitive,
    )


def find_top_genres(log: Interactions) -> np.ndarray:
    """Returns the genre that each user took most often, object (str) [num_users].

    An item of several genres counts for each; the first by name wins a tie.

    Raises:
      UserError: If the items have no genres.
    """
    if not _has_genres(log):
        raise errors.UserError(
            f"--sensitive={config_lib.TOP_GENRE}: the items of these data have no genres; name "
            "another attribute, or leave it out"
        )
    has_genre = log.item_features["genres"].fillna(generalization.UNKNOWN).str.get_dummies("|")
    counts = [
        np.bincount(log.user_index, weights=column[log.item_index], minlength=log.num_users)
        for column in has_genre.to_numpy(np.float64).T
    ]
    return has_genre.columns.to_numpy(object)[np.argmax(counts, axis=0)]


def find_first_genres(log: Interactions) -> np.ndarray:
    """Returns a number for the first genre of each item, int64 [num_items].

    Raises:
      UserError: If the items have no genres.
    """
    if not _has_genres(log):
        raise errors.UserError(
            "--response_domain=genre: the items of these data have no genres; use "
            "--response_domain=catalogue"
        )
    first = log.item_features["genres"].fillna(generalization.UNKNOWN).str.split("|").str[0]
    return pd.factorize(first)[0]


def _has_genres(log: Interactions) -> bool:
    return log.item_features is not None and "genres" in log.item_features


def _align(frame: pd.DataFrame, log: Interactions) -> pd.DataFrame:
    return _as_text(frame.reindex(log.user_ids))


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    def convert(value: object) -> str:
        return generalization.UNKNOWN if pd.isna(value) else str(value).strip() or unknown

    unknown = generalization.UNKNOWN
    return frame.apply(lambda column: column.map(convert).astype(object)).reset_index(drop=True)


def _create_hierarchy(
    name: str, attributes: UserAttributes, config: config_lib.AnonymizationConfig
) -> generalization.Hierarchy:
    raw = attributes.frame[name].to_numpy()
    if name == config.age_column:
        cuts = generalization.age_cuts(config.age_bands, attributes.age_cuts)
        return generalization.create_age_hierarchy(raw, cuts)
    if name == config.zip_column:
        return generalization.create_prefix_hierarchy(raw, config.zip_digits)
    return generalization.create_category_hierarchy(raw)


def _check_known(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none"
            raise errors.UserError(
                f"--{flag}={name}: these data have no such attribute of users; {there}"
            )


def _check_nothing_demanded(config: config_lib.AnonymizationConfig) -> None:
    for name in ("k", "l", "sensitive", "generalize_order", "age_bands"):
        value = getattr(config, name)
        if value != getattr(config_lib.AnonymizationConfig, name):
            raise errors.UserError(
                f"--{name} means nothing without quasi-identifiers, and these data have no "
                "attributes of users that are one: drop it, or name a --users_file and its "
                "--quasi_identifiers"
            )
