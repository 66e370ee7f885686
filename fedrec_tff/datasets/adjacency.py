"""Published splits in adjacency form: a line per user, `user item item ...`, without times.

This is the layout that LightGCN's data sets come in: a folder with a training and a test file.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import cells, delimited
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

TRAIN_NAMES = ("train_full.txt", "train.txt")  # a full file beside a partial one is what we want
TEST_NAME = "test.txt"
_LINE = re.compile(rb"[0-9]{1,18}(?:[ \t]+[0-9]{1,18})*")


def read(
    data_dir: str | pathlib.Path, max_malformed_fraction: float = 0.0
) -> tuple[Interactions, Interactions, DataCounts]:
    """Reads `train_full.txt` (or `train.txt`) and `test.txt`.

    Args:
      data_dir: The folder of these files.
      max_malformed_fraction: The fraction of lines that may be malformed and skipped.

    Returns:
      The training log and the test log, which number users and items alike; and what was
      dropped, where `malformed` lines count as one row each.

    Raises:
      UserError: If a file is missing, empty or malformed.
    """
    data_dir = pathlib.Path(data_dir)
    if not data_dir.is_dir():
        raise errors.UserError(f"--data_dir={data_dir} is no folder: name one with {TEST_NAME}")
    train_path = next((data_dir / name for name in TRAIN_NAMES if (data_dir / name).exists()), None)
    if train_path is None:
        raise errors.UserError(f"there is no {' or '.join(TRAIN_NAMES)} in {data_dir}")
    files = [
        _read_file(path, max_malformed_fraction) for path in (train_path, data_dir / TEST_NAME)
    ]
    is_test = np.repeat([0, 1], [len(users) for users, _, _ in files])
    # As a time stamp, the file sorts training before test, and finds duplicates in each by itself.
    both = interactions_lib.create_interactions(
        np.concatenate([users for users, _, _ in files]),
        np.concatenate([items for _, items, _ in files]),
        is_test,
    )
    in_order = dataclasses.replace(both, timestamp=np.arange(both.num_interactions, dtype=np.int64))
    malformed = sum(malformed for _, _, malformed in files)
    counts = DataCounts(
        rows_read=len(is_test) + malformed,
        malformed=malformed,
        duplicates=len(is_test) - both.num_interactions,
    )
    return (
        interactions_lib.select_interactions(in_order, both.timestamp == 0),
        interactions_lib.select_interactions(in_order, both.timestamp == 1),
        counts,
    )


def _read_file(
    path: pathlib.Path, max_malformed_fraction: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the user and the item of each interaction, int64, and how many lines are bad."""
    good = []
    malformed = num_lines = 0
    first_error = ""
    for number, raw_line in enumerate(delimited.read_bytes(path).split(b"\n"), start=1):
        line = raw_line.strip()
        if not line:
            continue
        num_lines += 1
        if _LINE.fullmatch(line):
            good.append(line)
        else:
            malformed += 1
            first_error = first_error or f"{path}:{number}: {_what_is_wrong(line)}"
    cells.check_malformed(malformed, num_lines, max_malformed_fraction, first_error)
    if not good:
        raise errors.UserError(f"{path} has no rows of data")
    lengths = np.array([len(line.split()) for line in good])
    ids = np.array(b" ".join(good).split()).astype(np.int64)
    is_user = np.zeros(len(ids), bool)
    is_user[np.cumsum(lengths) - lengths] = True
    return np.repeat(ids[is_user], lengths - 1), ids[~is_user], malformed


def _what_is_wrong(line: bytes) -> str:
    for field in line.split():
        if not re.fullmatch(rb"[0-9]+", field):
            return f"{field.decode(errors='replace')!r} is not a whole number, as ids must be here"
        if len(field) > 18:
            return f"{field.decode()} does not fit a 64-bit integer"
    return "fields must be separated by spaces"
