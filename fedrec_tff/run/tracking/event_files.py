"""TensorBoard's event files of a run: each of its own kind, so that one can be replaced.

They lie in the run's folder itself, because TensorBoard calls a run by the folder of its files.
"""

import os
import pathlib
import shutil
from collections.abc import Collection

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from fedrec_tff.privacy import chained_file
from fedrec_tff.run.folder import whole_files

# Ends of files' names: what the run is, written anew by each session, what its rounds measured, and
# what was measured once, where that is no column of HParams.
DESCRIPTION, ROUNDS, MEASURED_ONCE = ".description", ".rounds", ".once"
# Folders beside the files, which TensorBoard shows as runs of their own: what was measured once, at
# the end, quality over simulated time, and the lines of recommenders that the model is to beat.
END = "end"
CLOCK = "clock"
POPULARITY, PRIVATE_POPULARITY = "popularity", "private_popularity"

_PATTERN = "events.out.tfevents.*"
# What rounds leave that later ones do not write anew.
_KEPT = ("scalars", "images")


def create_writer(folder: str | os.PathLike, kind: str = ".v2") -> tf.summary.SummaryWriter:
    """Creates a writer of one more file.

    Args:
      folder: Folder of the file; made if missing.
      kind: End of the file's name: `DESCRIPTION`, `ROUNDS`, or any other.

    Returns:
      The writer.
    """
    return tf.summary.create_file_writer(os.fspath(folder), filename_suffix=kind)


def remove(folder: pathlib.Path, kind: str) -> None:
    """Removes the files of a kind from a folder."""
    for path in folder.glob(f"{_PATTERN}{kind}"):
        path.unlink()


def remove_folders(root: pathlib.Path) -> None:
    """Removes what the end of a run has left, before it is written anew.

    Args:
      root: The run's folder.
    """
    for name in (END, POPULARITY, PRIVATE_POPULARITY):
        shutil.rmtree(root / name, ignore_errors=True)


def keep_lines(root: pathlib.Path, is_kept: bool) -> bool:
    """Keeps the lines of other recommenders in a run of a study, or leaves them to another run.

    Args:
      root: The run's folder.
      is_kept: Whether this is the run that shows them.

    Returns:
      Whether it shows some.
    """
    folders = [root / name for name in (POPULARITY, PRIVATE_POPULARITY)]
    if not is_kept:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return any(folder.exists() for folder in folders)


def cut_after(folder: pathlib.Path, round_number: int, undrawn_tags: Collection[str] = ()) -> None:
    """Takes rounds out of a run's files that are to be computed again, so that none is there twice.

    Args:
      folder: Folder of the files.
      round_number: Last round to keep; what a crash cut short after it is gone, too.
      undrawn_tags: Tags of scalars of which nothing is kept: what is there of them was drawn by a
        later round.
    """
    for path in folder.glob(f"{_PATTERN}{ROUNDS}"):
        kept = [_cut(event, round_number, undrawn_tags) for event in _read(path)]
        partial = path.with_name(f".{path.name}.partial")
        with tf.io.TFRecordWriter(os.fspath(partial)) as writer:
            for event in kept:
                if event is not None:
                    writer.write(event.SerializeToString())
        whole_files.sync_file(partial)
        partial.replace(path)


def sync(folder: pathlib.Path, kind: str) -> None:
    """Waits until the files of a kind are on disk, as far as their writers have flushed them."""
    for path in folder.glob(f"{_PATTERN}{kind}"):
        whole_files.sync_file(path)


def sync_end(root: pathlib.Path) -> None:
    """Waits until what the end of a run has written for TensorBoard is on disk.

    Args:
      root: The run's folder.
    """
    sync(root, MEASURED_ONCE)
    for name in (END, POPULARITY, PRIVATE_POPULARITY):
        folder = root / name
        if folder.is_dir():
            for path in folder.iterdir():
                whole_files.sync_file(path)
            chained_file.sync_folder(folder)


def _read(path: pathlib.Path) -> list[event_pb2.Event]:
    """The events of a file, up to one that a crash has torn."""
    records = event_file_loader.RawEventFileLoader(os.fspath(path)).Load()
    return [event_pb2.Event.FromString(record) for record in records]


def _cut(
    event: event_pb2.Event, round_number: int, undrawn_tags: Collection[str]
) -> event_pb2.Event | None:
    """What is left of an event; None for nothing."""
    if event.HasField("file_version"):
        return event
    if not event.HasField("summary") or event.step > round_number:
        return None
    kept = [
        value
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name in _KEPT and value.tag not in undrawn_tags
    ]
    del event.summary.value[:]
    event.summary.value.extend(kept)
    return event if kept else None
