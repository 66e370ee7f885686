"""Which data set a folder holds, by the files in it."""

# Tested in tests/notebook/test_event_tables.py.

import pathlib

from fedrec_tff.config.data_config import DATASETS, PREPARED

_MOVIES = "movies.csv"
_FOLDERS = {
    "ratings.dat": {"dataset": "ml-1m"},
    "u.data": {"dataset": "ml-100k"},
    "test.txt": {"dataset": "adjacency", "split": "published"},
    "sequences.txt": {"dataset": "sequences"},
    "prepared.json": {"dataset": PREPARED},
    _MOVIES: {"dataset": "ml-latest"},
}
FILES = tuple(_FOLDERS)


def find_flags(folder: pathlib.Path) -> dict[str, str] | None:
    """The flags by which a folder is read.

    Args:
      folder: A folder.

    Returns:
      The flags without `data_dir`; None if the folder holds nothing that is known.
    """
    for name, flags in _FOLDERS.items():
        if (folder / name).exists():
            # The sets that have the same files are told by the folder's name, if at all.
            is_named = name == _MOVIES and folder.name in DATASETS
            return flags | ({"dataset": folder.name} if is_named else {})

    # Waits for it: a wrong flag is told before pyarrow is imported.
    from fedrec_tff.datasets import parts

    return {"dataset": "csv"} if parts.holds_tables(folder) else None
