"""The folder that `--output_dir` names: made, or found to be free, or to be gone on in."""

import contextlib
import errno
import fcntl
import glob
import os
import pathlib
import secrets
import shutil
from collections.abc import Collection, Iterator

from fedrec_tff import errors
from fedrec_tff.privacy import chained_file

_FLAG = "--output_dir"


@contextlib.contextmanager
def name_errors(output_dir: str | os.PathLike, flag: str = _FLAG) -> Iterator[None]:
    """Tells what the system refuses inside a `with` block as a mistake in the flag.

    Args:
      output_dir: Path of the folder, as the flag has it.
      flag: The flag.

    Yields:
      Nothing.

    Raises:
      UserError: In the place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise errors.UserError(f"{flag}={output_dir}: {error.strerror}") from error


@contextlib.contextmanager
def name_shortage(
    output_dir: str | os.PathLike,
    way_out: str = "give the same command again, or choose another",
) -> Iterator[None]:
    """Tells a disk that gets full inside a `with` block as what it is, also if TensorFlow writes.

    Args:
      output_dir: Path of the folder, as `--output_dir` has it.
      way_out: What to do when there is room again, or another folder.

    Yields:
      Nothing.

    Raises:
      UserError: In the place of the error.
    """
    try:
        yield
    # TensorFlow has errors of its own, and is not imported for this.
    except Exception as error:
        reason = _find_shortage(error)
        if reason is None:
            raise
        raise errors.UserError(
            f"{_FLAG}={output_dir}: the disk is full ({reason}): free some, and {way_out}"
        ) from error


def _find_shortage(error: Exception) -> str | None:
    """The system's words for a full disk; None where an error means something else."""
    number = error.errno if isinstance(error, OSError) else None
    for shortage in (errno.ENOSPC, errno.EDQUOT):
        if number == shortage or (number is None and os.strerror(shortage) in str(error)):
            return os.strerror(shortage)
    return None


def open_folder(
    output_dir: str | os.PathLike,
    refusal: str,
    marker: str | None = None,
    left_before: Collection[str] = (),
    flag: str = _FLAG,
) -> pathlib.Path:
    """Makes a folder, or checks that the one there is empty or holds the same kind of work.

    Args:
      output_dir: Path of the folder.
      refusal: End of the message if the folder holds something else.
      marker: Name of a file or folder that is there once the work has begun; None where the folder
        must be empty.
      left_before: Names of what an aborted start may leave before the marker is there.
      flag: The flag that names the folder.

    Returns:
      The folder.

    Raises:
      UserError: If it holds something else, or cannot be made or read.
    """
    root = pathlib.Path(output_dir)
    with name_errors(root, flag):
        root.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in root.iterdir()}
    if marker not in found and found - set(left_before):
        raise errors.UserError(f"{flag}={root}: not empty{refusal}")
    return root


def find_free(output_dir: str | os.PathLike) -> pathlib.Path:
    """Checks that a folder can be written as a whole; makes nothing.

    Args:
      output_dir: Path of the folder; missing or empty.

    Returns:
      Its path.

    Raises:
      UserError: If it is no such folder.
    """
    path = pathlib.Path(output_dir)
    with name_errors(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise errors.UserError(
                f"--output_dir={path}: there is something already; choose another"
            )
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise errors.UserError(f"--output_dir={path}: {nearest} is no folder to write to")
    return path


@contextlib.contextmanager
def open_whole_folder(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a folder beside `output_dir` to write to, and renames it when the block succeeds.

    All that is in it is on disk before it has its name. What a process that was killed has left of
    its own is removed.

    Args:
      output_dir: Path of the folder that is to hold the result, which is missing or empty.

    Yields:
      The folder to write to.

    Raises:
      UserError: If something has come into `output_dir` meanwhile, or the disk is full.
    """
    target = output_dir.absolute()
    prefix = f".{target.name}.partial-"
    with name_errors(output_dir):
        partial, descriptor = _make_locked(target, prefix)
    try:
        _remove_abandoned(target.parent, prefix)
        with name_shortage(output_dir):
            yield partial
        with name_errors(output_dir):
            _sync_all(partial)
            partial.replace(target)
            chained_file.sync_folder(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(descriptor)


def _make_locked(target: pathlib.Path, prefix: str) -> tuple[pathlib.Path, int]:
    """Makes a folder beside the target that others see to be in use; its lock is to be closed."""
    while True:
        partial = target.with_name(f"{prefix}{secrets.token_hex(4)}")
        partial.mkdir(parents=True)
        try:
            descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        # Where there are no locks, nobody takes it for abandoned.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if partial.exists():
            return partial, descriptor
        # Somebody took it for abandoned before it was locked.
        os.close(descriptor)


def _remove_abandoned(parent: pathlib.Path, prefix: str) -> None:
    """Removes the folders of processes that are no more."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _sync_all(folder: pathlib.Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            chained_file.sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    chained_file.sync_folder(folder)
