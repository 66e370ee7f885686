"""Files that are there as a whole or not at all, on disk, and secret ones their owner's alone."""

import contextlib
import io
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

from fedrec_tff.privacy import chained_file

# What is for the owner of a run alone, whatever the umask: a file has mode 0600, a folder 0700, and
# what is in it is out of reach with it. All else is as public as the umask says.
SECRET = frozenset(
    {
        # Whoever has the key knows who was in which round.
        "cohort_key",
        # Noise of past rounds, where it is correlated, and what a clock tells.
        "checkpoints",
        # Raw ids, and what users' devices keep.
        "ids",
        "devices",
        # Exact counts and a fingerprint of the data.
        "config.json",
        # A sweep that sells its best trial alone must not tell of others.
        "trials",
        "study.json",
        "sweep.csv",
        "sweep.json",
        # What an audit found of real users.
        "audit.json",
        # Exact metrics and counts, and recommenders that are exact functions of the data.
        "baselines.json",
        "baselines.csv",
        "models",
        # An evaluation's exact metrics, and what each user got.
        "evaluation.json",
        "evaluation.csv",
        "user_metrics.parquet",
        "user_metrics.csv",
        "non_private_user_metrics.parquet",
        "non_private_user_metrics.csv",
        # Stays with who made an anonymised copy.
        "anonymization_report.json",
    }
)
INFINITIES = ("inf", "-inf")
_SECRET_MODE, _SECRET_FOLDER_MODE, _PUBLIC_MODE = 0o600, 0o700, 0o666


def make_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes a folder of a run, before anything is written to it; one that is there is kept.

    Args:
      path: Path of the folder; its parent must exist.

    Returns:
      The folder, closed to others if its name is in `SECRET`.
    """
    if path.name in SECRET:
        return make_secret_folder(path)
    path.mkdir(exist_ok=True)
    return path


def make_secret_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes a folder that is its owner's alone; one that is there becomes so.

    Args:
      path: Path of the folder; parents are made as the umask says.

    Returns:
      The folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=_SECRET_FOLDER_MODE, exist_ok=True)
    if path.stat().st_mode & 0o077:
        # Of an earlier version, or made by somebody.
        path.chmod(_SECRET_FOLDER_MODE)
    return path


@contextlib.contextmanager
def open_whole(path: pathlib.Path, is_secret: bool = False) -> Iterator[BinaryIO]:
    """Opens a file to be written as a whole or not at all.

    Args:
      path: Path of the file; its folder must exist. `SECRET` says who may read it.
      is_secret: Whether it is its owner's alone, whatever its name.

    Yields:
      A file; what is written to it is at `path`, and on disk, when the block ends without an error.
    """
    temporary = path.with_name(f"{path.name}.partial")
    temporary.unlink(missing_ok=True)
    is_secret = is_secret or bool(SECRET & {path.name, path.parent.name})
    mode = _SECRET_MODE if is_secret else _PUBLIC_MODE
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # A full disk needs the room.
        temporary.unlink(missing_ok=True)
        raise
    chained_file.sync_folder(path.parent)


def sync_file(path: pathlib.Path) -> None:
    """Waits until what was written to a file is on disk.

    Args:
      path: Path of the file; one that is missing is no matter.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def open_whole_text(path: pathlib.Path) -> Iterator[TextIO]:
    """Opens a file of text like `open_whole`; line breaks are written as they come.

    Args:
      path: Path of the file.

    Yields:
      A file.
    """
    with open_whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file as a whole or not at all.

    Args:
      path: Path of the file; its folder must exist.
      value: Value that `json` can write; infinities are written as strings.
    """
    text = json.dumps(_without_infinities(value), indent=2, allow_nan=False)
    with open_whole(path) as file:
        file.write(f"{text}\n".encode())


def mend_torn_line(path: pathlib.Path) -> None:
    """Removes the last line of a text file if a crash cut it short; the file, if nothing is left.

    Args:
      path: The file; it may be missing.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end == 0:
        path.unlink()
    elif end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_infinities(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(part) for part in value]
    if isinstance(value, float) and str(value) in INFINITIES:
        return str(value)
    return value
