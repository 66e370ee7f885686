"""Time-ordered sequences: a line per user, `user item item ...`, oldest first, or a pair a line.

The first is how S3-Rec publishes its data sets (Zhou et al. 2020, arXiv 2008.07873), the second how
SASRec does (Kang and McAuley 2018, arXiv 1808.09781). Both are read alike: a line adds its items
to its user's, in the order of the file. There are no times beside that order, and an item that
comes back counts each time. Both sets of files were filtered to five interactions of each user and
item before they were published.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import cells, delimited
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

FILE_NAME = "sequences.txt"
_ATTRIBUTE_NAMES = ("item_attributes.json", "{stem}_item2attributes.json")


def read(
    place: str | pathlib.Path,
    max_malformed_fraction: float = 0.0,
    encoding: str = "utf-8",
    user_features: pd.DataFrame | None = None,
    item_features: pd.DataFrame | None = None,
) -> tuple[Interactions, DataCounts]:
    """Reads sequences.

    Args:
      place: The file, or a folder with `sequences.txt`.
      max_malformed_fraction: The fraction of lines that may be malformed and skipped.
      encoding: The text encoding of the file.
      user_features: A row of what is known per user, indexed by raw id; None for nothing.
      item_features: A row of what is known per item, likewise.

    Returns:
      The log, in which an interaction's time stamp is its place among the user's own, from 0; and
      what was dropped, where a malformed line counts as one row.

    Raises:
      UserError: If the file is missing, empty or malformed.
    """
    path = find_file(place)
    lines, malformed = _read_lines(path, max_malformed_fraction, encoding)
    lengths = np.array([len(line) - 1 for line in lines])
    users = np.repeat(np.array([line[0] for line in lines], object), lengths)
    items = np.array([item for line in lines for item in line[1:]], object)
    log = interactions_lib.create_interactions(
        users,
        items,
        pd.Series(users).groupby(users, sort=False).cumcount().to_numpy(),
        user_features=user_features,
        item_features=item_features,
    )
    return log, DataCounts(rows_read=len(users) + malformed, malformed=malformed)


def find_file(place: str | pathlib.Path) -> pathlib.Path:
    """Returns the file of sequences that a file or a folder stands for."""
    place = pathlib.Path(place)
    if not place.is_dir():
        return place
    path = place / FILE_NAME
    if not path.exists():
        raise errors.UserError(
            f"there is no {FILE_NAME} in {place}: name the file of sequences itself"
        )
    return path


def find_attributes(place: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the attributes of items that lie beside the sequences as S3-Rec has them, or None."""
    path = find_file(place)
    beside = (path.with_name(name.format(stem=path.stem)) for name in _ATTRIBUTE_NAMES)
    return next((found for found in beside if found.is_file()), None)


def _read_lines(
    path: pathlib.Path, max_malformed_fraction: float, encoding: str
) -> tuple[list[list[str]], int]:
    """Returns the fields of each good line, the user first, and how many lines are bad."""
    good = []
    malformed = num_lines = 0
    first_error = ""
    for number, line in enumerate(delimited.read_text(path, encoding).split("\n"), start=1):
        fields = line.split()
        num_lines += bool(fields)
        if len(fields) > 1:
            good.append([cells.unify_id(field) for field in fields])
        elif fields:
            malformed += 1
            first_error = first_error or (
                f"{path}:{number}: {fields[0]!r} stands alone: a user and their items are needed, "
                "separated by spaces"
            )
    cells.check_malformed(malformed, num_lines, max_malformed_fraction, first_error)
    if not good:
        raise errors.UserError(f"{path} has no rows of data")
    return good, malformed
