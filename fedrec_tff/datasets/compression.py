"""Files as they are, or compressed: gzip, bzip2, Zstandard, and a zip archive of one file.

The last suffix tells which: `events.csv.gz` is a CSV file in gzip.
"""

from __future__ import annotations

import contextlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from fedrec_tff import errors

_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_ZIP = ".zip"
SUFFIXES = (*_CODECS, _ZIP)


def is_compressed(path: pathlib.Path) -> bool:
    """Tells by its name whether a file is compressed."""
    return path.suffix.lower() in SUFFIXES


def find_suffix(path: pathlib.Path) -> str:
    """Returns what a file's name ends with beneath its compression, in lower case.

    Raises:
      UserError: If it is an archive of none or several files.
    """
    if path.suffix.lower() == _ZIP and path.is_file():
        with _open_zip(path) as archive:
            return pathlib.PurePosixPath(_find_member(path, archive)).suffix.lower()
    return pathlib.Path(path.stem if is_compressed(path) else path.name).suffix.lower()


def read(path: pathlib.Path) -> bytes:
    """Returns the whole content of a file, unpacked.

    Args:
      path: A file that is there.

    Returns:
      Its content.

    Raises:
      UserError: If it cannot be read or unpacked, or is an archive of none or several files.
    """
    with open_stream(path) as stream:
        return stream.read()


@contextlib.contextmanager
def open_stream(path: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file to be read from its begin to its end, unpacked on the way.

    Args:
      path: A file that is there.

    Yields:
      The stream of its content.

    Raises:
      UserError: If it cannot be read or unpacked, or is an archive of none or several files.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == _ZIP:
            with _open_zip(path) as archive, archive.open(_find_member(path, archive)) as stream:
                yield stream
        elif suffix in _CODECS:
            with pa.input_stream(str(path), compression=_CODECS[suffix]) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: an archive with a password.
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise errors.UserError(f"cannot read {path}: {reason}") from error


def _open_zip(path: pathlib.Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise errors.UserError(f"cannot read {path}: {error}") from error


def _find_member(path: pathlib.Path, archive: zipfile.ZipFile) -> str:
    """The name of the one file of an archive; what systems put beside it does not count."""
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/")
        and not name.startswith("__MACOSX/")
        and not pathlib.PurePosixPath(name).name.startswith(".")
    ]
    if len(names) != 1:
        held = f"{len(names)} files ({', '.join(sorted(names)[:4])}...)" if names else "no file"
        raise errors.UserError(f"{path} holds {held}, one is needed: unpack it, and name the file")
    return names[0]
