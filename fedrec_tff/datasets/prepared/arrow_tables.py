"""Tables of numbers in Arrow files: written block by block, and mapped into memory when read.

A file has one record batch, so a column is one piece of the file: reading it makes an array that
takes no memory of its own. Ragged columns are lists: a row's items, one row after the other. Any
program that knows Arrow's IPC format reads them.
"""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

import dataclasses
import mmap
import os
import pathlib
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences

_OWNER_ONLY = 0o600
_RAGGED = pa.large_list(pa.int32())
Column = np.ndarray | Sequences


@dataclasses.dataclass(frozen=True, eq=False)
class MappedSequences(Sequences):
    """Sequences that lie in a file: to another process they go as the file's path.

    Attributes:
      place: The file, its version, as `_describe_version` has it, and the name of the column.
      mapping: The file in memory.
    """

    place: tuple[pathlib.Path, tuple[int, int], str] | None = None
    mapping: mmap.mmap | None = None

    @property
    def is_mapped(self) -> bool:
        """Always."""
        return True

    def release(self) -> None:
        """Drops the pages that were looked at; what is looked at again is mapped again."""
        self.mapping.madvise(mmap.MADV_DONTNEED)

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_column, (*self.place, self.user_index)


class MappedTable(dict[str, Column]):
    """The columns of a table that lies in a file, by name."""

    def __init__(self, columns: Mapping[str, Column], mapping: mmap.mmap) -> None:
        """Initialises the table.

        Args:
          columns: The columns.
          mapping: The file in memory.
        """
        super().__init__(columns)
        self._mapping = mapping

    def release(self) -> None:
        """As `MappedSequences.release`."""
        self._mapping.madvise(mmap.MADV_DONTNEED)


class TableWriter:
    """Writes a table whose rows come in blocks; only a block is in memory.

    Columns are spooled to files beside the table, and joined when the `with` block ends well. Until
    then nothing is at the table's path.
    """

    def __init__(
        self, path: pathlib.Path, flat: Mapping[str, type], ragged: Collection[str] = ()
    ) -> None:
        """Opens the spools.

        Args:
          path: The table's file, whose folder exists.
          flat: The NumPy type of each column of numbers, by name.
          ragged: The names of the columns of lists of int32.
        """
        self._path, self._flat, self._ragged = path, dict(flat), tuple(ragged)
        names = [*self._flat, *self._ragged, *map(_name_offsets, self._ragged)]
        self._spools = {name: path.with_name(f"{path.name}.{name}.spool") for name in names}
        self._files = {name: open_private(spool) for name, spool in self._spools.items()}
        self._num_entries = dict.fromkeys(self._ragged, 0)
        self._num_rows = 0
        for name in self._ragged:
            self._files[_name_offsets(name)].write(np.zeros(1, np.int64).tobytes())

    def append(self, columns: Mapping[str, Column]) -> None:
        """Appends rows.

        Args:
          columns: The values of every column, of the same number of rows.
        """
        for name, dtype in self._flat.items():
            values = np.ascontiguousarray(columns[name], dtype)
            self._files[name].write(values.data)
            num_rows = len(values)
        for name in self._ragged:
            rows = columns[name]
            self._files[name].write(np.ascontiguousarray(rows.items, np.int32).data)
            offsets = rows.offsets[1:] + self._num_entries[name]
            self._files[_name_offsets(name)].write(np.ascontiguousarray(offsets, np.int64).data)
            self._num_entries[name] += len(rows.items)
        self._num_rows += num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for file in self._files.values():
                file.close()
            if kind is None:
                self._join()
        finally:
            for spool in self._spools.values():
                spool.unlink(missing_ok=True)

    def _join(self) -> None:
        arrays = {
            name: pa.Array.from_buffers(
                pa.from_numpy_dtype(dtype), self._num_rows, [None, _map(self._spools[name])]
            )
            for name, dtype in self._flat.items()
        }
        for name in self._ragged:
            items = pa.Array.from_buffers(
                pa.int32(), self._num_entries[name], [None, _map(self._spools[name])]
            )
            offsets = _map(self._spools[_name_offsets(name)])
            arrays[name] = pa.Array.from_buffers(
                _RAGGED, self._num_rows, [None, offsets], children=[items]
            )
        batch = pa.RecordBatch.from_pydict(arrays)
        partial = self._path.with_name(f"{self._path.name}.partial")
        open_private(partial).close()
        # Arrow's own file writes what is mapped without a copy of it.
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self._path)


def write(path: pathlib.Path, columns: Mapping[str, Column]) -> None:
    """Writes a table that is in memory.

    Args:
      path: The table's file.
      columns: Its columns, of the same number of rows.
    """
    flat = {name: column.dtype for name, column in columns.items() if _is_flat(column)}
    with TableWriter(path, flat, [name for name in columns if name not in flat]) as writer:
        writer.append(columns)


def read(path: pathlib.Path) -> MappedTable:
    """Maps a table into memory.

    Args:
      path: The table's file.

    Returns:
      Its columns, which cannot be written to; pages are read when they are looked at.

    Raises:
      UserError: If it is no such file, or is cut off.
    """
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            version = _describe_version(file)
        batch = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapping))).get_batch(0)
        # Sizes alone: the rows are not looked at.
        batch.validate()
        place = path.resolve(), version
        names = batch.schema.names
        columns = {name: _to_numpy(place, mapping, name, batch.column(name)) for name in names}
    # IndexError: a file of no batch.
    except (OSError, ValueError, TypeError, IndexError, KeyError, pa.ArrowException) as error:
        raise errors.UserError(
            f"{path} cannot be read ({' '.join(str(error).split())}): prepare the data again"
        ) from error
    return MappedTable(columns, mapping)


def open_private(path: pathlib.Path) -> BinaryIO:
    """Opens a file to be written that is its owner's alone."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, _OWNER_ONLY), "wb")


def _is_flat(column: Column) -> bool:
    return isinstance(column, np.ndarray)


def _describe_version(file: BinaryIO) -> tuple[int, int]:
    """The size of a file, in bytes, and when it was changed, in nanoseconds."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _to_numpy(
    place: tuple[pathlib.Path, tuple[int, int]], mapping: mmap.mmap, name: str, column: pa.Array
) -> Column:
    if not pa.types.is_large_list(column.type):
        return column.to_numpy(zero_copy_only=True)
    items = column.values.to_numpy(zero_copy_only=True)
    offsets = column.offsets.to_numpy(zero_copy_only=True)
    return MappedSequences(items, offsets, place=(*place, name), mapping=mapping)


def _read_column(
    path: pathlib.Path, version: tuple[int, int], name: str, user_index: np.ndarray | None
) -> Sequences:
    """Reads the column in another process, which may be on another machine."""
    column = read(path)[name]
    if column.place[1] != version:
        raise errors.UserError(f"{path} is another file here: its size, or its time, differs")
    return dataclasses.replace(column, user_index=user_index)


def _map(path: pathlib.Path) -> pa.Buffer:
    if not path.stat().st_size:
        return pa.py_buffer(b"")
    return pa.memory_map(str(path)).read_buffer()


def _name_offsets(name: str) -> str:
    return f"{name}_offsets"
