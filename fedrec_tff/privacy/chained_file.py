"""A file of lines that each vouch for all lines before: what the privacy ledgers are written in.

A line is a JSON object that ends with a digest of itself and of the digest before it (SHA-256). A
line that was changed, removed or put between others breaks the chain. The chain tells damage and
careless edits; whoever forges a file as a whole can compute it anew.
"""

# Tested in tests/privacy/test_ledger.py and tests/privacy/test_population_ledger.py.

import fcntl
import hashlib
import json
import os
import pathlib
from typing import Any

from fedrec_tff.errors import UserError

FIRST_DIGEST = "0" * 64


def seal(value: dict[str, Any], previous_digest: str) -> tuple[bytes, str]:
    """Makes a line, with its digest.

    Args:
        value: Content of the line.
        previous_digest: Digest of the line before; `FIRST_DIGEST` for the first line.

    Returns:
        The line, and its digest.
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(previous_digest.encode() + text.encode()).hexdigest()
    return json.dumps({**value, "digest": digest}, allow_nan=False).encode() + b"\n", digest


def unseal(line: bytes, previous_digest: str) -> tuple[dict[str, Any], str]:
    """Reads a line, and checks that it follows the one before.

    Args:
        line: The line, without its line break.
        previous_digest: Digest of the line before; `FIRST_DIGEST` for the first line.

    Returns:
        The content of the line, and its digest.

    Raises:
        KeyError: If it has no digest.
        ValueError: If it is no JSON object, or the digest does not fit.
    """
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    del value["digest"]
    sealed, digest = seal(value, previous_digest)
    if sealed != line + b"\n":
        raise ValueError(
            "the digest does not fit, so this line or one before it was changed, removed or "
            "added; what was spent is not known: restore the file or begin a new run"
        )
    return value, digest


def holds_an_object(line: bytes) -> bool:
    """Whether a line without its end is complete all the same, with or without more behind it."""
    try:
        json.JSONDecoder().raw_decode(line.decode("utf-8", errors="replace"))
    except ValueError:
        return False
    return True


class ChainedFile:
    """A chained file that is open for appending, and locked.

    One process at a time: the file is locked (`flock`) while it is open. Where a file system has no
    such locks, as some network ones, that is on the person who starts the run.
    """

    def __init__(self, path: str | os.PathLike, title: str, *, waits: bool = False) -> None:
        """Opens the file, creates an empty one where there is none, and locks it.

        Args:
            path: The file; its folder must exist.
            title: Name of the file in messages.
            waits: Whether to wait for another process to end, and not refuse.

        Raises:
            UserError: If it cannot be opened, or another process has it open and `waits` is off.
        """
        self._path = pathlib.Path(path)
        self._name = f"the {title} {path}"
        self._usable = True
        self.digest = FIRST_DIGEST
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UserError(f"cannot open {self._name}: {error.strerror}") from error
        try:
            self._lock(waits)
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> str:
        """The file by its file system's number and its own there.

        A file that is moved within its file system keeps it, a copy has another. Of file systems
        only the number that they keep from mount to mount is taken, where they have one.
        """
        return f"{os.fstatvfs(self._fd).f_fsid:x}-{os.fstat(self._fd).st_ino:x}"

    def read(self) -> bytes:
        """Returns all that is in the file."""
        size = os.fstat(self._fd).st_size
        chunks = []
        while size > 0:
            chunk = os.pread(self._fd, size, sum(map(len, chunks)))
            if not chunk:
                break
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    def begin(self, value: dict[str, Any]) -> None:
        """Writes the first line, in the place of all that is there.

        Args:
            value: Content of the line.
        """
        os.ftruncate(self._fd, 0)
        self.digest = FIRST_DIGEST
        self.append(value)
        sync_folder(self._path.parent)

    def go_on_after(self, data: bytes, end: int, digest: str) -> None:
        """Mends the end of the file, for further lines.

        Args:
            data: All that is in the file.
            end: Position where its last sound line ends, with or without its line break.
            digest: Digest of the last sound line.
        """
        self.digest = digest
        if len(data) > end:
            os.ftruncate(self._fd, end)
        if not data[:end].endswith(b"\n"):
            self._write(b"\n")

    def append(self, value: dict[str, Any]) -> None:
        """Adds a line; returns when it is on disk.

        Args:
            value: Content of the line.

        Raises:
            ValueError: If the file is closed, or failed to write before.
            OSError: If the line could not be written.
        """
        self.check_usable()
        line, self.digest = seal(value, self.digest)
        self._write(line)

    def check_usable(self) -> None:
        """Raises a ValueError if the file is closed, or failed to write before."""
        if not self._usable:
            raise ValueError(f"{self._name} is closed, or failed to write before")

    def close(self) -> None:
        """Closes the file, and with it gives up the lock. May be called twice."""
        self._usable = False
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _lock(self, waits: bool) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(
                f"another process is using {self._name}; wait for it to end, or choose another "
                "output folder"
            ) from error
        except OSError as error:
            raise UserError(f"cannot lock {self._name}: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        # After a failed write or sync nobody knows what is on disk: this object is then done with.
        # The next to open the file sees what is there.
        self._usable = False
        written = 0
        while written < len(data):
            written += os.write(self._fd, data[written:])
        os.fsync(self._fd)
        self._usable = True


def sync_folder(folder: str | os.PathLike) -> None:
    """Waits until the names of a folder's files are on disk.

    Args:
        folder: The folder, which must exist.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
