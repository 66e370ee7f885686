"""One checkpoint: arrays by name, whole or as what changed against a whole one, the base.

The rows that changed are found by comparison with what the base's file has, so that this holds for
any process, and nothing has to tell what it changed. Each difference is against the base and none
against another difference: two files are read for a checkpoint, however many were written, and any
of them but the base may be lost or removed without harm to others. In return, differences grow: a
row that changed once is in all that follow. So a whole checkpoint is written again as soon as

- the difference at hand has more than half the bytes of all arrays: then it saves little; or
- all differences from the base together would have more bytes than all arrays. If each is larger by
  d than the one before, n of them and a base of W bytes take W + d n^2 / 2, which is least for each
  where d n^2 / 2 = W: where the differences have cost what the base did.

What is kept is thus never larger than a few whole checkpoints, and where most rows change with each
round, such as by noise on all rows, every checkpoint is whole.

Privacy: a difference is a function of two models that the run had, both of which are in checkpoints
of their own anyway, so that it reveals nothing that these do not; where the mechanism covers the
models of all rounds, it covers differences. Which rows a round touched can be told from two
checkpoints in any form. Where that is not covered, checkpoints are as secret as before.
"""

# Tested in tests/run/folder/test_program_state.py.

import contextlib
import dataclasses
import json
import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedrec_tff.run.folder import whole_files
from fedrec_tff.run.folder.program_state import array_file, changed_rows

# As `tff.program.FileProgramStateManager` calls them, which wrote folders of this name.
PREFIX = "program_state_"
_NAME = re.compile(rf"{PREFIX}(\d+)")
_ABOUT = "about.json"
_ROWS, _VALUES = ":rows", ":values"
_MAX_SHARE = 0.5
# What `zipfile`, `numpy` and `json` raise on what they cannot read.
_DAMAGES = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, NotImplementedError, RuntimeError),
    *(struct.error, zipfile.BadZipFile, zlib.error, IndexError, OverflowError, MemoryError),
)


class DamagedFileError(Exception):
    """A file that a checkpoint is read from is missing or damaged.

    Attributes:
      path: The file, which may be the base of the checkpoint that was asked for.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Initialises the error.

        Args:
          path: The file.
        """
        super().__init__(f"{path.name} is {'damaged' if path.exists() else 'missing'}")
        self.path = path


@dataclasses.dataclass(frozen=True)
class About:
    """What a checkpoint says of itself.

    Attributes:
      base: Name of the file of the whole checkpoint that it is a difference from; None for a whole
        one.
      base_digest: Digest of that file.
      num_bytes: Bytes of all differences from that base so far, this one among them.
    """

    base: str | None = None
    base_digest: str | None = None
    num_bytes: int = 0


class StateFile:
    """A checkpoint's arrays, wherever they are.

    Attributes:
      about: What it says of itself.
      names: Names of the arrays.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens a checkpoint.

        Args:
          path: Path of its file.

        Raises:
          DamagedFileError: If it or its base is missing or cut off, or the base is another.
        """
        self._file, self.about = _open(path)
        self._base = None
        if self.about.base is not None:
            self._base, _ = _open(path.with_name(self.about.base))
            if self._base.digest != self.about.base_digest:
                raise DamagedFileError(self._base.path)
        names = (n.removesuffix(_ROWS) for n in self._file.names if not n.endswith(_VALUES))
        self.names = tuple(names)

    def check(self) -> None:
        """Compares the file's own content with its checksums.

        Raises:
          BadZipFile: If one is another.
        """
        self._file.check()

    def read(self, name: str) -> np.ndarray:
        """Reads an array into memory of its own, and checks what it is read from.

        Args:
          name: One of `names`.

        Returns:
          The array.

        Raises:
          DamagedFileError: If a checksum is another.
        """
        with _naming(self._file.path):
            if name in self._file.names:
                return self._file.read_array(name)
            rows = self._file.read_array(name + _ROWS)
            values = self._file.read_array(name + _VALUES)
        with _naming(self._base.path):
            array = self._base.read_array(name)
        array[rows] = values
        return array


def find_versions(folder: pathlib.Path) -> tuple[int, ...]:
    """Finds the rounds whose checkpoints are in a folder, ascending; the folder may be missing."""
    if not folder.is_dir():
        return ()
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def find_base(path: pathlib.Path) -> str | None:
    """Finds the name of the file that a checkpoint is a difference from.

    Args:
      path: Path of the checkpoint.

    Returns:
      The name; None for a whole checkpoint, or one that cannot be read.
    """
    if path.is_dir():
        return None
    try:
        return _open(path)[1].base
    except DamagedFileError:
        return None


def write(
    path: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    previous: pathlib.Path | None,
    **finding: Any,
) -> None:
    """Writes a checkpoint, as a whole or not at all; see above for when it is a difference.

    Args:
      path: Path of the file.
      arrays: Arrays of numbers or truth values by name.
      previous: Path of the checkpoint before it; None for none of this form. If it cannot be read,
        a whole one is written.
      **finding: Keyword arguments of `changed_rows.find`.
    """
    about, rows = _compare(arrays, previous, **finding)
    with (
        whole_files.open_whole(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(zipfile.ZipInfo(_ABOUT), json.dumps(dataclasses.asdict(about)))
        for name, array in arrays.items():
            if name in rows:
                array_file.write_array(archive, name + _ROWS, rows[name])
                array_file.write_array(archive, name + _VALUES, array, rows[name])
            else:
                array_file.write_array(archive, name, array)


def verify(path: pathlib.Path) -> None:
    """Reads a checkpoint back from the disk; holds no more than a block of it in memory.

    Args:
      path: Path of its file.

    Raises:
      DamagedFileError: If it is not what was written.
    """
    state = StateFile(path)
    with _naming(path):
        state.check()


def _compare(
    arrays: Mapping[str, np.ndarray], previous: pathlib.Path | None, **finding: Any
) -> tuple[About, dict[str, np.ndarray]]:
    """What a new checkpoint will say of itself, and the rows that it will have of some arrays."""
    whole = About(), {}
    if previous is None:
        return whole
    try:
        base, before = _open(previous)
        if before.base is not None:
            base, _ = _open(previous.with_name(before.base))
    except DamagedFileError:
        return whole
    rows = {}
    for name in arrays.keys() & set(base.names):
        found = changed_rows.find(arrays[name], base.map_array(name), **finding)
        if found is not None:
            rows[name] = found
    num_whole = sum(array.nbytes for array in arrays.values())
    num_bytes = sum(_count_bytes(array, rows.get(name)) for name, array in arrays.items())
    total = before.num_bytes + num_bytes
    if num_bytes > _MAX_SHARE * num_whole or total > num_whole:
        return whole
    return About(base.path.name, base.digest, total), rows


def _count_bytes(array: np.ndarray, rows: np.ndarray | None) -> int:
    return array.nbytes if rows is None else len(rows) * array[:1].nbytes + rows.nbytes


def _open(path: pathlib.Path) -> tuple[array_file.ArrayFile, About]:
    with _naming(path):
        file = array_file.ArrayFile(path)
        about = About(**json.loads(file.read_bytes(_ABOUT)))
        # A name, and no path: what is read lies beside.
        if about.base is not None and not _NAME.fullmatch(about.base):
            raise ValueError(f"{about.base!r} is no name of a checkpoint")
        return file, about


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Names the file where a damaged one is told in one of many ways."""
    try:
        yield
    except _DAMAGES as error:
        raise DamagedFileError(path) from error
