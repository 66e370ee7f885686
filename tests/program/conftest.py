"""Whole training runs, made once for all tests that look at them."""

import dataclasses
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
def uninterrupted(tmp_path_factory, server):
    """A private run with repeatable noise, in a process of its own, whose pipes must close."""
    root = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = subprocess.run(
        [sys.executable, "-m", "experiments.train", *to_argv(DETERMINISTIC, root)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        check=False,
    )
    return FinishedProcess(Run(root, server), process.returncode, process.stdout, process.stderr)
