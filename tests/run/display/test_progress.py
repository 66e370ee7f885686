import asyncio
import time

import pytest

from fedrec_tff.run.display import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to move."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_rate_and_remaining_time_leave_the_round_that_compiles_out(clock, capsys):
    with progress.ProgressReleaseManager(12, 3, 50, list_length=10) as shown:
        for number, seconds in ((3, 20.0), (4, 1.0), (5, 3.0)):
            clock[0] += seconds
            asyncio.run(shown.release({"validation/recall@10": 0.25}, number))
    # Rounds 4 and 5 took 4 s: 25 users a second, and 14 s for the seven that are left.
    assert capsys.readouterr().err.splitlines() == [
        "round 3/12  recall@10 0.25",
        "round 4/12  recall@10 0.25  50 users/s  8 s left",
        "round 5/12  recall@10 0.25  25 users/s  14 s left",
    ]
