"""The files of a table that is stored in parts: a folder of them, or a pattern of names."""

from __future__ import annotations

import glob
import pathlib
import re

from fedrec_tff import errors
from fedrec_tff.datasets import compression

_NUMBER = re.compile(r"([0-9]+)")
# Those that tell of a table; text without one of them is read too, if it is named.
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
_INTERACTIONS = ".inter"


def find(place: str | pathlib.Path) -> list[pathlib.Path]:
    """Finds the files of a table.

    Args:
      place: A file; a folder, of which all files count but those whose name, or whose folder's,
        begins with "." or "_", and those without content, or, where there are some, those that end
        with `.inter`; or a pattern with `*`, `?`,
        `[...]` and `**`.

    Returns:
      The files in the order of their names, in which numbers go by their value: the order of the
      table. A place that is not there is returned as it is.

    Raises:
      UserError: If the folder is empty, or the pattern matches nothing.
    """
    path = pathlib.Path(place)
    if path.is_dir():
        found = [file for file in path.rglob("*") if _has_content(file) and _is_seen(file, path)]
        # RecBole's interactions lie in a folder with other tables.
        found = [file for file in found if file.suffix == _INTERACTIONS] or found
        if not found:
            raise errors.UserError(f"the folder {path} holds no files: name the file of the table")
        return sorted(found, key=_order)
    if not path.exists() and glob.has_magic(str(place)):
        names = glob.glob(str(place), recursive=True)
        found = [pathlib.Path(name) for name in names if _has_content(pathlib.Path(name))]
        if not found:
            raise errors.UserError(f"no file matches {place}: check the pattern")
        return sorted(found, key=_order)
    return [path]


def holds_tables(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds files that are tables by their names, and no others."""
    files = [file for file in folder.rglob("*") if _has_content(file) and _is_seen(file, folder)]
    return bool(files) and all(_is_table(file) for file in files)


def _is_table(file: pathlib.Path) -> bool:
    beneath = file.stem if compression.is_compressed(file) else file.name
    return pathlib.Path(beneath).suffix.lower() in TABLE_SUFFIXES


def _has_content(file: pathlib.Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size > 0
    except OSError:  # not for this user to look at
        return False


def _is_seen(file: pathlib.Path, folder: pathlib.Path) -> bool:
    return not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _order(path: pathlib.Path) -> list[tuple[int, int | str]]:
    pieces = _NUMBER.split(str(path))
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces]
