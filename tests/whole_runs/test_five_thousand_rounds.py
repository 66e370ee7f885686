"""A run of thousands of rounds takes no more than one of hundreds: memory, files, descriptors."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_ROUNDS = 5_000
_WARM = 1_000
_FLAGS = [
    "--synthetic_users=200",
    "--synthetic_items=300",
    "--max_interactions_per_user=10",
    "--embedding_dim=8",
    "--clients_per_round=5",
    "--noise_multiplier=1.0",
    "--rounds_per_evaluation=250",
    "--rounds_per_checkpoint=50",
]


@dataclasses.dataclass(frozen=True)
class _Sample:
    """What a process had at some time."""

    round_number: int
    resident_bytes: int
    num_descriptors: int
    num_threads: int
    num_event_files: int
    num_checkpoints: int


def _count_rounds(metrics: pathlib.Path) -> int:
    """The lines of a table, but for its header."""
    try:
        return metrics.read_bytes().count(b"\n") - 1
    except FileNotFoundError:
        return 0


def _look_at(pid: int, folder: pathlib.Path) -> _Sample:
    process = pathlib.Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return _Sample(
        round_number=_count_rounds(folder / "metrics.csv"),
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        num_descriptors=len(os.listdir(process / "fd")),
        num_threads=len(os.listdir(process / "task")),
        num_event_files=len(list(folder.rglob("events.out.tfevents*"))),
        num_checkpoints=len(list((folder / "checkpoints").glob("program_state_*"))),
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A look every second, of those after the first rounds."""
    folder = tmp_path_factory.mktemp("long") / "run"
    errors = folder.with_name("errors.txt")
    with errors.open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments.train", *_FLAGS),
                *(f"--rounds={_ROUNDS}", f"--output_dir={folder}"),
            ],
            cwd=_ROOT,
            stderr=log,
        )
        found = []
        try:
            while process.poll() is None:
                time.sleep(1.0)
                try:
                    found.append(_look_at(process.pid, folder))
                except (OSError, IndexError):
                    # It has just ended.
                    continue
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, errors.read_text()
    assert _count_rounds(folder / "metrics.csv") == _ROUNDS
    warm = [one for one in found if _WARM <= one.round_number < _ROUNDS]
    assert warm[0].round_number < 2 * _WARM
    assert warm[-1].round_number > 0.9 * _ROUNDS
    return warm


def test_memory_is_flat(samples):
    first = samples[0].resident_bytes
    assert max(one.resident_bytes for one in samples) < 1.05 * first


def test_descriptors_and_threads_stay_as_many(samples):
    # A checkpoint that is being written has one more.
    assert max(one.num_descriptors for one in samples) <= samples[0].num_descriptors + 4
    assert max(one.num_threads for one in samples) <= samples[0].num_threads + 1


def test_event_files_stay_as_many(samples):
    assert {one.num_event_files for one in samples} == {samples[0].num_event_files}


def test_old_checkpoints_are_removed(samples):
    # The newest, and one that is being written.
    assert max(one.num_checkpoints for one in samples) <= 4
