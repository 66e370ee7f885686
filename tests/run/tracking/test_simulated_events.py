import asyncio

import pytest

from fedrec_tff.run.tracking import simulated_events
from tests.run.tracking import events

_ROWS = [
    (1, {"devices/hours": 0.25, "train/loss": 3.0}),
    (2, {"devices/hours": 0.5, "validation/ndcg@10": 0.1}),
    (3, {"devices/hours": 2.0, "train/loss": 2.0}),
    (4, {"devices/hours": 2.5, "validation/ndcg@10": 0.2}),
]
_TAG = "7 by_simulated_seconds/validation/ndcg@10"


def _release(folder, earlier, rows):
    with simulated_events.SimulatedEventsReleaseManager(folder, earlier) as manager:
        for number, metrics in rows:
            asyncio.run(manager.release(metrics, number))


def test_quality_stands_at_its_second_and_a_resumed_run_has_it_once(tmp_path):
    _release(tmp_path / "whole", [], _ROWS)
    _release(tmp_path / "resumed", [], _ROWS[:3])
    # The checkpoint was that of round 2.
    _release(tmp_path / "resumed", _ROWS[:2], _ROWS[2:])
    for name in ("whole", "resumed"):
        points = events.read_scalars(tmp_path / name / "clock")
        assert points == {_TAG: [(1800, pytest.approx(0.1)), (9000, pytest.approx(0.2))]}
        found = events.accumulate(tmp_path / name / "clock").Tensors(_TAG)
        # What TensorBoard calls relative: two simulated hours.
        assert found[1].wall_time - found[0].wall_time == 7200.0


def test_a_run_without_a_clock_has_no_such_folder(tmp_path):
    rows = [(1, {"validation/ndcg@10": 0.1})]
    _release(tmp_path, [], rows)
    assert not list(tmp_path.iterdir())
