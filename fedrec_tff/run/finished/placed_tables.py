"""Tables in memory as files of the run's folder, so that a run is resumed and measured from there.

From then on they are read as any file is, with the same promises. What is placed are raw data of
people, so they are in `ids/`, which is its owner's alone, and which a start may find and replace.
"""

# Tested in tests/notebook/test_front_door.py.

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.folder import metrics_file, run_directory, whole_files

if TYPE_CHECKING:
    import pyarrow as pa

# By the flag that names the file.
_FILES = {
    "data_dir": "events.parquet",
    "item_table": "item_table.parquet",
    "user_table": "user_table.parquet",
}


def find_path(root: pathlib.Path, flag: str) -> pathlib.Path:
    """Where a table is that stands for the file of a flag.

    Args:
      root: The run's folder.
      flag: `data_dir`, `item_table` or `user_table`.

    Returns:
      Path of the table that the flag names.
    """
    return run_directory.RunDirectory(root).ids / _FILES[flag]


def find_moved(config: RunConfig, root: pathlib.Path) -> dict[str, str]:
    """Where the tables of a run are now, for its folder may have been moved.

    Args:
      config: The flags that the run was begun with.
      root: Folder of the run.

    Returns:
      New values of the flags that name a table of the folder.
    """
    found = {}
    for flag in _FILES:
        named, path = getattr(config, flag), find_path(root, flag)
        is_placed = named is not None and pathlib.Path(named).parts[-2:] == path.parts[-2:]
        if is_placed and path.exists():
            found[flag] = str(path)
    return found


def has_integers(path: str | None, column: str) -> bool:
    """Whether a column of events that were placed holds whole numbers.

    Args:
      path: Path of the run's data; None for no file.
      column: Name of the column.

    Returns:
      Whether it does; False for events that have not been placed.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if path is None or pathlib.Path(path).name != _FILES["data_dir"]:
        return False
    try:
        return pa.types.is_integer(parquet.read_schema(path).field(column).type)
    except (pa.ArrowException, OSError, KeyError):
        # Not there any more: ids are text then, as in all other files.
        return False


class PlacedTables:
    """The tables of one call, and what becomes of them if it fails."""

    def __init__(self, tables: "Mapping[str, pa.Table]") -> None:
        """Has placed nothing yet.

        Args:
          tables: Tables by the flag whose file they stand for.
        """
        self._tables = tables
        self._begun: run_directory.RunDirectory | None = None
        self._found: set[pathlib.Path] = set()

    def place(self, config: RunConfig, directory: run_directory.RunDirectory) -> None:
        """Writes the tables of a new run; compares them with those of a run that is there.

        Args:
          config: The run's flags, which name the files.
          directory: The run's paths; this process holds its lock.

        Raises:
          UserError: If the run in the folder was begun with other data.
        """
        found = set(directory.root.iterdir())
        whole_files.make_folder(directory.ids)
        if directory.config.exists():
            self._compare(config, directory)
            return
        self._begun, self._found = directory, found
        for name, table in self._tables.items():
            _write(find_path(directory.root, name), table)

    def let_go(self) -> None:
        """Takes a run that this call has begun, and that has done nothing yet, out of its folder.

        What has cost privacy, or has a round to go on from, stays.
        """
        directory = self._begun
        if directory is None:
            return
        with contextlib.suppress(errors.UserError), run_directory.lock(directory):
            if not (directory.has_rounds or metrics_file.read_rows(directory)):
                for name in self._tables:
                    find_path(directory.root, name).unlink(missing_ok=True)
                for path in set(directory.root.iterdir()) - self._found:
                    _remove(path)

    def _compare(self, config: RunConfig, directory: run_directory.RunDirectory) -> None:
        paths = {name: find_path(directory.root, name) for name in self._tables}
        stored = {name: _read(path) for name, path in paths.items()}
        changed = [
            name
            for name, table in self._tables.items()
            if stored[name] is None or not stored[name].equals(table)
        ]
        if changed:
            self._compare_fingerprints(config, directory, changed)
        for name, table in self._tables.items():
            if stored[name] is None:
                _write(paths[name], table)

    def _compare_fingerprints(
        self, config: RunConfig, directory: run_directory.RunDirectory, changed: Collection[str]
    ) -> None:
        """Refuses tables that are more than written in another way: other types, another order."""
        # Takes a moment: pandas.
        from fedrec_tff.run import data, features

        stored = run_directory.read_config(directory)["non_private/data"]
        with tempfile.TemporaryDirectory(prefix="compared-", dir=directory.ids) as folder:
            paths = {name: pathlib.Path(folder) / _FILES[name] for name in changed}
            for name, path in paths.items():
                _write(path, self._tables[name])
            changes = {name: str(path) for name, path in paths.items()}
            dataset = data.load_data(dataclasses.replace(config, **changes))
        found = features.create_features(config, dataset)
        run_directory.check_data(directory, stored, dataset.fingerprint, found.fingerprint)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(path: pathlib.Path, table: "pa.Table") -> None:
    from pyarrow import parquet

    with whole_files.open_whole(path) as file:
        parquet.write_table(table, file)


def _read(path: pathlib.Path) -> "pa.Table | None":
    """What was written; None if it is not there any more, or damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(path)
    except (pa.ArrowException, OSError):
        return None
