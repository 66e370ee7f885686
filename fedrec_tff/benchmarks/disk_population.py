"""What it takes to prepare a population on disk, and to train on it: seconds and memory."""

# Tested in tests/benchmarks/test_memory.py.

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from fedrec_tff import child_processes, errors

_SCHEMA = pa.schema([(name, pa.int64()) for name in ("user_id", "item_id", "timestamp")])
_ROWS_PER_GROUP = 2**20
_FIRST_SECOND = 1_000_000_000
_SECONDS_BETWEEN_LOOKS = 0.05
_UNITS_PER_MEGABYTE = 1e3  # of the kilobytes that Linux tells


@dataclasses.dataclass(frozen=True)
class Peak:
    """What a process had at most.

    Attributes:
      own: Megabytes that are nobody else's: no files.
      mapped: Megabytes of files, libraries among them, which the system takes back when it needs
        them.
      total: Megabytes of both at one moment.
      seconds: Seconds until it ended.
    """

    own: float
    mapped: float
    total: float
    seconds: float


def write_table(
    path: pathlib.Path, num_users: int, num_interactions: int, num_items: int, seed: int
) -> None:
    """Writes a made-up log as Parquet, a block of rows at a time.

    Users are drawn alike for each row, so their rows lie far apart; few items are popular.

    Args:
      path: The file.
      num_users: Number of users, about: those who are never drawn are missing.
      num_interactions: Number of rows.
      num_items: Number of items, about.
      seed: Seed of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    with parquet.ParquetWriter(path, _SCHEMA) as writer:
        for start in range(0, num_interactions, _ROWS_PER_GROUP):
            count = min(_ROWS_PER_GROUP, num_interactions - start)
            user = rng.integers(0, num_users, count)
            item = np.minimum((num_items * rng.random(count) ** 3).astype(np.int64), num_items - 1)
            time_stamp = _FIRST_SECOND + start + np.arange(count)
            writer.write_table(pa.table([user, item, time_stamp], schema=_SCHEMA))


def watch(command: Sequence[str]) -> Peak:
    """Runs a command, whose output is ours, and looks at its memory until it ends.

    Args:
      command: Program and arguments.

    Returns:
      What it had at most.

    Raises:
      UserError: If it fails.
    """
    start = time.monotonic()
    child = child_processes.Child(command, stdout=sys.stderr, stderr=sys.stderr)
    own = mapped = total = 0.0
    try:
        while (status := child.poll()) is None:
            found = _look(child.process_id)
            own, mapped = max(own, found["RssAnon"]), max(mapped, found["RssFile"])
            total = max(total, found["VmHWM"])
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        child.end()
    if status:
        raise errors.UserError(f"a step failed with status {status}: {' '.join(command)}")
    return Peak(own, mapped, total, time.monotonic() - start)


def measure(
    folder: pathlib.Path,
    num_users: int,
    num_interactions: int,
    num_items: int,
    rounds: int,
    seed: int,
    say_fn: Callable[[str], None],
) -> dict[str, Peak]:
    """Makes a population up, prepares it and trains on it, by the binaries that users run.

    Args:
      folder: An empty folder.
      num_users: As `write_table` takes it.
      num_interactions: As `write_table` takes it.
      num_items: As `write_table` takes it.
      rounds: Rounds to train; after the last one everybody is evaluated.
      seed: Seed of the table and of the run.
      say_fn: Takes lines of progress.

    Returns:
      The peak of each step by its name.
    """
    table, prepared = folder / "log.parquet", folder / "prepared"
    say_fn(f"writing {table}")
    write_table(table, num_users, num_interactions, num_items, seed)
    binary = [sys.executable, "-m"]
    say_fn("preparing")
    steps = {
        "prepare": watch(
            [
                *binary,
                "experiments.data",
                "prepare",
                str(table),
                "--time_column=timestamp",
                f"--output_dir={prepared}",
            ]
        )
    }
    say_fn("training")
    steps["train"] = watch(
        [
            *binary,
            "experiments.train",
            "--dataset=prepared",
            f"--data_dir={prepared}",
            f"--output_dir={folder / 'run'}",
            f"--rounds={rounds}",
            f"--seed={seed}",
            f"--rounds_per_evaluation={rounds}",
            "--preset=basic",
        ]
    )
    return steps


def describe(steps: dict[str, Peak]) -> str:
    """Writes a table of steps."""
    lines = [f"{'':8} {'own MB':>8} {'mapped MB':>10} {'total MB':>9} {'seconds':>8}"]
    for name, peak in steps.items():
        lines.append(
            f"{name:8} {peak.own:8,.0f} {peak.mapped:10,.0f} {peak.total:9,.0f} "
            f"{peak.seconds:8,.0f}"
        )
    return "\n".join(lines)


def _look(process_id: int) -> dict[str, float]:
    """Megabytes that a process has now, and had at most; none where it has ended."""
    found = dict.fromkeys(("RssAnon", "RssFile", "VmHWM"), 0.0)
    try:
        lines = pathlib.Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) / _UNITS_PER_MEGABYTE
    return found
