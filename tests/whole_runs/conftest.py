"""Whole training runs, made once for all tests that look at them."""

import dataclasses

import binaries
import pytest
from training_runs import DETERMINISTIC, TIMEOUT_SECONDS, Run, SessionServer, to_argv


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
    process = binaries.start("train", *to_argv(DETERMINISTIC, root), umask=0)
    yield root, process
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def uninterrupted(uninterrupted_process, server):
    """The run, finished, with its pipes closed."""
    root, process = uninterrupted_process
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return FinishedProcess(Run(root, server), process.returncode, stdout, stderr)
