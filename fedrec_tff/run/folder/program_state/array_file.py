"""Files of named arrays: NumPy's `.npz`, written in blocks, and mapped instead of read.

`numpy.savez` writes whole arrays, and `numpy.load` maps none of an archive. The format is theirs:
an uncompressed zip file (PKWARE, APPNOTE 6.3) of `.npy` files, with a checksum (CRC-32) of each.
"""

# Tested in tests/run/folder/test_program_state.py.

import functools
import hashlib
import io
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

_SUFFIX = ".npy"
_BLOCK_BYTES = 1 << 24
# Of a member's header in the file, and where in it the lengths of two fields behind it are.
_HEADER_BYTES, _LENGTHS_AT = 30, 26
# More than what stands before the numbers of an array of few dimensions.
_MAX_NPY_HEADER_BYTES = 4096


def write_array(
    archive: zipfile.ZipFile, name: str, array: np.ndarray, rows: np.ndarray | None = None
) -> None:
    """Writes an array, or some of its rows, without a second copy of it.

    Args:
      archive: The file, open for writing, uncompressed.
      name: Name of the array in it.
      array: Array of numbers or truth values.
      rows: int [num_rows], which rows to write; None for all of it.
    """
    shape = array.shape if rows is None else (len(rows), *array.shape[1:])
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": shape,
    }
    # Without the time: the same arrays make the same file.
    info = zipfile.ZipInfo(name + _SUFFIX)
    with archive.open(info, "w", force_zip64=True) as member:
        np.lib.format.write_array_header_2_0(member, header)
        for block in _split(array, rows):
            member.write(block)


def _split(array: np.ndarray, rows: np.ndarray | None) -> Iterator[np.ndarray]:
    """The bytes of an array, or of some of its rows, in blocks."""
    if rows is None:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for start in range(0, len(flat), _BLOCK_BYTES):
            yield flat[start : start + _BLOCK_BYTES]
        return
    step = max(1, _BLOCK_BYTES // array[:1].nbytes)
    for start in range(0, len(rows), step):
        yield from _split(array[rows[start : start + step]], None)


class ArrayFile:
    """A file of arrays that is mapped into memory.

    Attributes:
      path: Path of the file.
      names: Names of the arrays.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens a file; what is in it is checked when it is read.

        Args:
          path: Path of the file.

        Raises:
          OSError: If it cannot be opened.
          zipfile.BadZipFile: If it is cut off, or no such file.
        """
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self._members = {info.filename: info for info in archive.infolist()}
        # What is mapped stays whole if the file is removed meanwhile.
        self._content = np.memmap(path, np.uint8, mode="r")
        self.names = tuple(n.removesuffix(_SUFFIX) for n in self._members if n.endswith(_SUFFIX))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the file says is in it: names, sizes and checksums."""
        found = [(n, i.file_size, i.CRC) for n, i in sorted(self._members.items())]
        return hashlib.sha256(repr(found).encode()).hexdigest()

    def read_bytes(self, name: str) -> bytes:
        """Reads a member that is no array, by its whole name, and checks it."""
        member = self._find(name)
        self._check(name, member)
        return member.tobytes()

    def map_array(self, name: str) -> np.ndarray:
        """Maps an array, which is neither read nor checked yet, and cannot be written to."""
        member = self._find(name + _SUFFIX)
        header = io.BytesIO(member[:_MAX_NPY_HEADER_BYTES].tobytes())
        np.lib.format.read_magic(header)
        shape, _, dtype = np.lib.format.read_array_header_2_0(header)
        return member[header.tell() :].view(np.ndarray).view(dtype).reshape(shape)

    def read_array(self, name: str) -> np.ndarray:
        """Reads an array into memory of its own, and checks it.

        Args:
          name: Its name.

        Returns:
          The array.

        Raises:
          KeyError: If there is none of this name.
          zipfile.BadZipFile: If its checksum is another.
        """
        self._check(name + _SUFFIX, self._find(name + _SUFFIX))
        return np.array(self.map_array(name))

    def check(self) -> None:
        """Reads all of it from the disk, not from memory where the system allows, and checks it.

        Raises:
          zipfile.BadZipFile: If a checksum is another.
        """
        with self.path.open("rb") as file:
            # What was written is in memory still, where it is what it should be.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for name in self._members:
            self._check(name, self._find(name))

    def _find(self, name: str) -> np.ndarray:
        """The bytes of a member."""
        info = self._members[name]
        lengths = self._content[info.header_offset + _LENGTHS_AT :][:4].tobytes()
        start = info.header_offset + _HEADER_BYTES + sum(struct.unpack("<HH", lengths))
        return self._content[start : start + info.file_size]

    def _check(self, name: str, member: np.ndarray) -> None:
        if zlib.crc32(member) != self._members[name].CRC:
            raise zipfile.BadZipFile(f"{name} in {os.fspath(self.path)} has another checksum")
