"""Ctrl-C twice, whenever: the session ends at once, leaves no process, and resumes to the same."""

import contextlib
import random
import signal
import subprocess

import binaries
import pytest
from faulty_runs import FLAGS, read_outcome, to_argv

_SEED, _NUM_TWICE = 1, 8
_INTERRUPTED = 130


def _check_ended(session):
    session.check_is_clean()
    assert session.status == _INTERRUPTED, session.stderr


def _resume(server, root, expected):
    session = server.train(root)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    read_outcome(server, root).check_is(expected)


@pytest.mark.slow
def test_ctrl_c_twice_at_random_moments(server, left_alone, tmp_path):
    rng = random.Random(_SEED)
    for number in range(_NUM_TWICE):
        root = tmp_path / f"run-{number}"
        first = rng.uniform(0.0, 4.0)
        strikes = [(first + pause, int(signal.SIGINT)) for pause in (0.0, rng.uniform(0.0, 0.5))]
        session = server.train(root, strikes=strikes)
        if session.status != 0:
            _check_ended(session)
        # A stop is a kill to what is on disk: of some a session goes on.
        if number % 4 == 0:
            _resume(server, root, left_alone.outcome)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.4, 1.0, 3.0, 7.0])
def test_ctrl_c_twice_in_a_process_of_its_own(tmp_path, seconds):
    """While Python starts, too."""
    process = binaries.start("train", *to_argv(FLAGS, tmp_path / "run"))
    try:
        for _ in range(2):
            # The first is enough while nothing is under way.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds / 2)
            process.send_signal(signal.SIGINT)
        status, _, errors = binaries.finish(process)
    finally:
        process.kill()
        process.wait()
    # While its modules are imported the signal itself ends it, which shells call 130, too.
    assert status in (_INTERRUPTED, -signal.SIGINT), errors
    assert "Traceback" not in errors
