import asyncio

import tensorflow_federated as tff

from fedrec_tff.run.tracking.guarded_manager import GuardedReleaseManager


class _Unreliable(tff.program.ReleaseManager):
    """Takes rounds where it is told to, and notes each try."""

    def __init__(self, is_up):
        self.is_up, self.tries, self.taken, self.closed = is_up, [], [], 0

    async def release(self, value, key):
        self.tries.append(key)
        if not self.is_up(len(self.tries)):
            raise ConnectionError("no route to host")
        self.taken.append((key, dict(value)))
        value.clear()

    def close(self):
        self.closed += 1
        raise SystemExit(1)


def _follow(manager, rounds):
    guarded = GuardedReleaseManager(manager, "mine")
    given = [{"a": float(number)} for number in range(1, rounds + 1)]
    for number, metrics in enumerate(given, start=1):
        asyncio.run(guarded.release(metrics, number))
    asyncio.run(guarded.finish())
    guarded.close()
    # What a manager does with its copy is nobody's business.
    assert [metrics["a"] for metrics in given] == list(range(1, rounds + 1))
    return manager


def test_nothing_is_lost_where_a_tracker_comes_back(capsys):
    manager = _follow(_Unreliable(lambda number: number > 3), 10)
    assert manager.taken == [(number, {"a": float(number)}) for number in range(1, 11)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: --report_to=mine has failed, and training goes on without it:")
    assert "ConnectionError: no route to host" in line


def test_a_tracker_that_is_down_is_asked_ever_more_seldom(capsys):
    manager = _follow(_Unreliable(lambda number: False), 100)
    # With 1, 2, 4, ..., 64 rounds waiting, and at the end.
    assert manager.tries == [1] * 8
    failed, left = capsys.readouterr().err.splitlines()
    assert "has failed" in failed
    assert "has not taken 100 rounds, from round 1 on; the run's folder and TensorBoard" in left


def test_a_tracker_that_works_is_quiet_until_it_fails_to_close(capsys):
    manager = _follow(_Unreliable(lambda number: True), 3)
    assert manager.closed == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "SystemExit" in line
