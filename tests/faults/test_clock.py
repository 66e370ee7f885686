"""A clock that was moved between sessions, or tells other times of files, changes nothing."""

import os

import pytest
from faulty_runs import read_outcome

_MOMENT = "before rename checkpoints/program_state_4"
_YEAR = 365.25 * 24 * 3600.0


@pytest.mark.slow
@pytest.mark.parametrize("shift", [-10 * _YEAR, -3600.0, 3600.0, 10 * _YEAR])
def test_a_clock_that_was_moved(server, left_alone, shift):
    left_alone.restore(*left_alone.find(_MOMENT))
    for path in left_alone.root.rglob("*"):
        os.utime(path, (1e9 - shift, 1e9 + shift))
    session = server.train(left_alone.root, clock_shift=shift)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    read_outcome(server, left_alone.root).check_is(left_alone.outcome)
