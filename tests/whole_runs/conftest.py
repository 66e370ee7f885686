"""Whole training runs, made once for all tests that look at them."""

import dataclasses
import os
import subprocess
import sys

import pytest
from training_runs import DETERMINISTIC, ROOT, TIMEOUT_SECONDS, Run, SessionServer, to_argv


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Runs sessions; see `session_server.py`."""
    server = SessionServer(tmp_path_factory.mktemp("sessions"))
    yield server
    server.close()


@dataclasses.dataclass(frozen=True)
class FinishedProcess:
    """A run of the binary as its users start it."""

    run: Run
    status: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def uninterrupted_process(tmp_path_factory):
    """Starts a private run with repeatable noise, as a process of its own; does not wait."""
    root = tmp_path_factory.mktemp("uninterrupted") / "run"
    # A library that other tests import lets TensorFlow say more, for itself and its children.
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.train", *to_argv(DETERMINISTIC, root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
        umask=0,
    )
    yield root, process
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def uninterrupted(uninterrupted_process, server):
    """The run, finished, with its pipes closed."""
    root, process = uninterrupted_process
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return FinishedProcess(Run(root, server), process.returncode, stdout, stderr)
