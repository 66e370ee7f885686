"""No worker process outlives the process that started it, however that one ends."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_STATUSES = {
    "block": 0,
    "no block": 0,
    "exception": 1,
    "SIGINT": -signal.SIGINT,
    "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL,
}


@pytest.fixture(scope="module")
def endings():
    script = pathlib.Path(__file__).with_name("native_endings.py")
    process = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    reports = [json.loads(line) for line in process.stdout.splitlines()]
    return {report["ending"]: report for report in reports}


@pytest.mark.parametrize("ending", _STATUSES)
def test_worker_ends_with_us(endings, ending):
    report = endings[ending]
    assert report["status"] == _STATUSES[ending]
    assert report["workers"]
    assert report["left"] == []


@pytest.mark.parametrize("ending", _STATUSES)
def test_output_is_closed_for_whoever_reads_it(endings, ending):
    assert endings[ending]["is_closed"]


def test_the_context_computes(endings):
    assert endings["block"]["sum"] == 6
