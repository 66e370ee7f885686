"""SIGKILL between any two writes and inside of them, power cuts: the run resumes to the same end.

A traced run shows what is on disk at each of its writes, which is what SIGKILL leaves there, and
what would be there after a power cut. From each such state a session goes on. Other runs are killed
for good at moments that a seed draws, several times in a row.
"""

import os
import random
import re

import filmed_work
import pytest
import snapshots
import system_calls
from faulty_runs import read_outcome

from fedrec_tff.privacy import ledger as ledger_lib

_SEED = int(os.environ.get("FEDREC_TFF_FAULTS_SEED", "0"))
_NUM_KILLS = int(os.environ.get("FEDREC_TFF_FAULTS_KILLS", "50"))
_KILLS_IN_A_ROW = 4
# Of states at the same step of the same file in other rounds, and of those in the middle of large
# files, some stand for all.
_BODY = re.compile(r"program_state_|model\.npz")
_STRIDE, _BODY_STRIDE = 3, 40


def _select(left_alone, which):
    return snapshots.select(left_alone.snapshots, which, _STRIDE, _BODY, _BODY_STRIDE)


def _resume_from(server, left_alone, state):
    """A session from a state on leads to the end of the run that was left alone."""
    left_alone.restore(state)
    session = server.train(left_alone.root)
    session.check_is_clean()
    assert session.status == 0, session.stderr
    outcome = read_outcome(server, left_alone.root)
    outcome.check_is(left_alone.outcome)
    if state.get("config.json"):
        _check_nothing_spent_is_lost(state[ledger_lib.FILE_NAME], outcome.ledger)


def _check_nothing_spent_is_lost(before, after):
    whole = before[: before.rfind(b"\n") + 1]
    assert after.startswith(whole)
    # What was torn counts as well.
    torn = before[len(whole) :].strip(b"\0")
    assert not torn or after.count(b"\n") > whole.count(b"\n")


def _resume_from_all(server, left_alone, states):
    filmed_work.check_each(states, lambda state: _resume_from(server, left_alone, state))


def test_some_kills_are_resumed(server, left_alone):
    moments = ("inside write privacy_ledger", "before rename checkpoints/program_state_4")
    states = left_alone.find(*moments)
    _resume_from_all(server, left_alone, list(zip(moments, states, strict=True)))


@pytest.mark.slow
def test_a_kill_at_any_write_is_resumed(server, left_alone):
    states = _select(left_alone, "state")
    assert len(states) > 60
    _resume_from_all(server, left_alone, states)


@pytest.mark.slow
def test_a_power_cut_at_any_write_is_resumed(server, left_alone):
    killed = {snapshots.freeze(snapshot.state) for snapshot in left_alone.snapshots}
    states = [
        (moment, state)
        for moment, state in _select(left_alone, "synced")
        if snapshots.freeze(state) not in killed
    ]
    assert len(states) > 10
    _resume_from_all(server, left_alone, states)


@pytest.mark.slow
def test_kills_at_random_moments_are_resumed(server, left_alone, tmp_path):
    rng = random.Random(_SEED)
    num_operations, num_kills, num_runs, places = len(left_alone.operations), 0, 0, []
    while num_kills < _NUM_KILLS:
        root, num_runs, ledger = tmp_path / f"run-{num_runs}", num_runs + 1, b""
        for _ in range(min(_KILLS_IN_A_ROW, _NUM_KILLS - num_kills)):
            session = server.train(root, **_draw_kill(rng, num_operations))
            session.check_is_clean()
            if session.status == 0:
                break
            assert session.status == -9, session.stderr
            num_kills += 1
            places.append(str(session.operations[-1]) if session.operations else "the start")
            path = root / ledger_lib.FILE_NAME
            if (root / "config.json").exists():
                _check_nothing_spent_is_lost(ledger, path.read_bytes())
                ledger = path.read_bytes()
        session = server.train(root)
        session.check_is_clean()
        assert session.status == 0, f"{places}: {session.stderr}"
        outcome = read_outcome(server, root)
        outcome.check_is(left_alone.outcome)
        _check_nothing_spent_is_lost(ledger, outcome.ledger)
    print(f"seed {_SEED}: {num_kills} kills of {num_runs} runs, the last writes before:")
    print("\n".join(places))


def _draw_kill(rng, num_operations):
    """By the clock, or right before or in the middle of a write."""
    if rng.random() < 0.5:
        return {"strikes": [(rng.uniform(0.0, 5.0), 9)]}
    at, tears = rng.randrange(num_operations), rng.random() < 0.5
    return {"fault": system_calls.Fault(at=at, kills=True, tears=tears)}
