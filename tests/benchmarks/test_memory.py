"""Memory, in processes that have nothing else."""

import json
import pathlib
import subprocess
import sys

import pandas as pd
import pytest

from fedrec_tff import errors
from fedrec_tff.benchmarks import disk_population, memory

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
# Takes 200 MB and gives them back; then has a child that takes 100 MB and keeps them.
CODE = """
import json, subprocess, sys
from fedrec_tff.benchmarks import memory
found = [[memory.resident_bytes(), memory.peak_bytes()]]
block = bytearray(b"x") * 200_000_000
del block
found.append([memory.resident_bytes(), memory.peak_bytes()])
keep = 'block = bytearray(b"x") * 100_000_000; print("ready", flush=True); input()'
child = subprocess.Popen(
    [sys.executable, "-c", keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE
)
child.stdout.readline()
found.append([memory.resident_bytes(), memory.peak_bytes()])
child.communicate(b"\\n")
found.append([memory.resident_bytes(), memory.peak_bytes()])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def seen():
    found = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return json.loads(found.stdout)


def test_the_peak_outlasts_what_was_given_back(seen):
    (resident, peak), (resident_after, peak_after) = seen[:2]
    assert 2 * MEGABYTE < resident <= peak < 150 * MEGABYTE
    assert abs(resident_after - resident) < 20 * MEGABYTE
    assert 190 * MEGABYTE < peak_after - resident < 220 * MEGABYTE


def test_children_count_while_they_live(seen):
    (_, (resident, peak), (with_child, peak_with_child), (without, peak_without)) = seen
    assert 100 * MEGABYTE < with_child - resident < 130 * MEGABYTE
    assert 100 * MEGABYTE < peak_with_child - peak < 130 * MEGABYTE
    assert abs(without - resident) < 20 * MEGABYTE
    assert peak_without - peak < 20 * MEGABYTE


def test_a_command_is_watched_until_its_end(tmp_path):
    # Anonymous memory is its own; a file that is mapped and read is not.
    path = tmp_path / "file"
    path.write_bytes(bytes(80_000_000))
    code = (
        "import mmap, time\n"
        "own = bytearray(b'x') * 150_000_000\n"
        f"file = open({str(path)!r}, 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(mapped[::4096]), time.sleep(0.5)\n"
    )
    peak = disk_population.watch([sys.executable, "-c", code])
    assert 150 < peak.own < 190
    assert 80 < peak.mapped < 120
    assert peak.total >= 230
    with pytest.raises(errors.UserError, match="failed with status 3"):
        disk_population.watch([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_log_is_written_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_population, "_ROWS_PER_GROUP", 300)
    disk_population.write_table(tmp_path / "log.parquet", 50, 1000, 20, seed=1)
    frame = pd.read_parquet(tmp_path / "log.parquet")
    assert frame["timestamp"].is_monotonic_increasing
    assert frame["user_id"].nunique() == 50
    assert len(frame) == 1000
    assert frame["item_id"].between(0, 19).all()


def test_the_family_is_everyone_below():
    parents = {1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1, 21: 20}
    assert memory._find_family(10, parents) == {10, 11, 12, 13}
    assert memory._find_family(21, parents) == {21}
