"""The worker's life: how it begins, and that it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fedrec_tff import errors
from fedrec_tff.accelerator import worker_process
from fedrec_tff.execution import exceptions

_PARENT = """
from fedrec_tff.accelerator import worker_process
worker = worker_process.WorkerProcess("cpu")
print(worker._child.process_id, flush=True)
input()
"""
_SECONDS_TO_END = 20.0


def _is_running(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_ends_with_the_process_that_started_it_however_that_ends(environment):
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process_id = int(parent.stdout.readline())
    assert _is_running(process_id)

    parent.kill()
    parent.communicate()

    end = time.monotonic() + _SECONDS_TO_END
    while _is_running(process_id) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_running(process_id)


def test_one_that_was_killed_is_told_in_one_line(environment):
    worker = worker_process.WorkerProcess("cpu")
    try:
        os.kill(worker._child.process_id, signal.SIGKILL)
        with pytest.raises(exceptions.WorkerLostError, match="status -9") as caught:
            worker.ask("prepared", {})
        assert "\n" not in str(caught.value)
    finally:
        worker.end()


def test_a_device_that_is_not_there_is_named_with_what_is(environment):
    with pytest.raises(exceptions.DeviceNotFoundError, match=r"'tpu'.*cpu"):
        worker_process.WorkerProcess("tpu")
    with pytest.raises(exceptions.DeviceNotFoundError, match="'cpu:1': there are 1"):
        worker_process.WorkerProcess("cpu:1")


def test_without_an_environment_a_line_says_how_to_make_one(monkeypatch, tmp_path):
    monkeypatch.delenv(worker_process.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(worker_process.sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(worker_process, "_HERE", tmp_path)

    with pytest.raises(errors.UserError, match=r"^--execution=pjrt: .*make accelerator"):
        worker_process.check_is_installed("--execution=pjrt")


def test_an_environment_that_is_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(worker_process.ENVIRONMENT_VARIABLE, str(tmp_path / "python"))
    with pytest.raises(exceptions.WorkerUnfitError, match="no interpreter"):
        worker_process.find_python()

    (tmp_path / "python").write_text("#!/bin/sh\necho there is no JAX >&2\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(exceptions.WorkerUnfitError, match="status 3: there is no JAX"):
        worker_process.WorkerProcess("cpu")
