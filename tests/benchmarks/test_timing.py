"""Which rounds are timed, by a clock that the test moves."""

import pytest

from fedrec_tff.benchmarks import timing


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def time_rounds(clock, durations, budget, input_seconds=0.0):
    """Times rounds of given durations; the last one is repeated."""
    asked = []

    def create_input(number):
        clock.now += input_seconds
        asked.append(number)
        return durations[min(number, len(durations)) - 1]

    def run(duration):
        clock.now += duration
        return {"given": duration}

    found = timing.time_rounds(create_input, run, budget)
    assert asked == list(range(1, len(asked) + 1))
    return found


def test_warm_up_is_not_timed(clock):
    found = time_rounds(clock, [64.0, 32.0, 1.0, 2.0, 4.0], timing.Budget(1.0))
    assert found.first_seconds == 64.0
    assert found.first_details == {"given": 64.0}
    assert found.seconds == (1.0, 2.0, 4.0)
    assert [details["given"] for details in found.details] == [1.0, 2.0, 4.0]


def test_the_budget_begins_after_the_warm_up_and_includes_making_inputs(clock):
    found = time_rounds(clock, [64.0, 32.0, 1.0], timing.Budget(10.0))
    assert found.seconds == (1.0,) * 10
    found = time_rounds(clock, [64.0, 32.0, 1.0], timing.Budget(10.0), input_seconds=1.0)
    assert found.seconds == (1.0,) * 5


def test_making_inputs_is_not_timed(clock):
    assert time_rounds(clock, [1.0], timing.Budget(10.0), 1024.0).seconds == (1.0,) * 3


def test_there_is_a_least_and_a_largest_number_of_rounds(clock):
    assert len(time_rounds(clock, [100.0], timing.Budget(1.0, min_rounds=4)).seconds) == 4
    assert len(time_rounds(clock, [0.0], timing.Budget(1.0, max_rounds=7)).seconds) == 7


def test_quartiles():
    assert timing.quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == timing.Quartiles(2.0, 3.0, 4.0)
    assert timing.quartiles([2.0]) == timing.Quartiles(2.0, 2.0, 2.0)
    assert timing.quartiles([1.0, 2.0]) == timing.Quartiles(1.25, 1.5, 1.75)
