import dataclasses

import numpy as np
import pytest

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.learning.simulation.fleet import buffered_rounds, profiles
from fedrec_tff.learning.simulation.fleet import fleet as fleet_lib
from fedrec_tff.privacy import sampling

_NUM_USERS = 48
_DRAWS = keyed_draws.KeyedDraws([f"u{index}" for index in range(_NUM_USERS)], 3)


def create_fleet(profile=profiles.PHONES, examples=None, **changes):
    changes = {"seconds_per_example": 9.0, **changes}
    profile = dataclasses.replace(profiles.PROFILES[profile], **changes)
    examples = np.linspace(20, 200, _NUM_USERS) if examples is None else examples
    return fleet_lib.Fleet(
        _DRAWS, profile, fleet_lib.RoundWork(examples, np.zeros(_NUM_USERS), 0.0)
    )


def simulate(fleet, rule, rounds):
    """The same without a queue: all jobs are looked at for whatever happens next."""
    steps, jobs, buffer = [], {}, []
    now, counts = 0.0, [0, 0, 0]
    epochs = range(400)
    asked = [(epoch, row) for epoch in epochs for row in _DRAWS.order(sampling.EPOCH, epoch)]
    there = [fleet.draw_there(epoch) for epoch in epochs]
    shares = [fleet.draw_working_shares(epoch) for epoch in epochs]
    while True:
        tried = 0
        while len(jobs) < rule.concurrency and tried < _NUM_USERS:
            epoch, row = asked.pop(0)
            tried += 1
            if row in jobs or any(row == waiting for waiting, _ in buffer):
                continue
            if there[epoch][row] >= fleet.presence(np.array([row]), now)[0]:
                counts[0] += 1
                continue
            share = shares[epoch][row]
            jobs[row] = (now + share * fleet.round_seconds[row], len(steps), share == 1.0)
            tried = 0
        if not jobs:
            now += 60.0
            continue
        now = min(end for end, _, _ in jobs.values())
        for row in sorted(row for row, job in jobs.items() if job[0] == now):
            _, version, stays = jobs.pop(row)
            age = len(steps) - version
            if not stays:
                counts[1] += 1
            elif age > rule.max_age:
                counts[2] += 1
            else:
                buffer.append((row, age))
            if len(buffer) == rule.size:
                steps.append((sorted(buffer), now, *counts))
                buffer, counts = [], [0, 0, 0]
                if len(steps) == rounds:
                    return steps


@pytest.mark.parametrize(
    ("size", "concurrency", "max_age", "profile"),
    [(5, 12, 2, "phones"), (1, 20, 3, "phones"), (10, 30, 10, "alike"), (12, 7, 1, "phones")],
)
def test_steps_are_those_of_a_simulation_without_a_queue(size, concurrency, max_age, profile):
    # Half the users are alike, so that some report at once.
    examples = np.repeat(np.linspace(20, 200, _NUM_USERS // 2), 2)
    fleet = create_fleet(profile, examples)
    rule = buffered_rounds.BufferRule(size, concurrency, max_age)
    rounds = buffered_rounds.BufferedRounds(_DRAWS, fleet, rule)
    oldest = 0
    for number, (buffer, end, *counts) in enumerate(simulate(fleet, rule, 40), 1):
        found = rounds.find(number)
        np.testing.assert_array_equal(np.c_[found.rows, found.ages], buffer)
        assert found.end_seconds == end
        assert [found.num_away, found.num_dropped, found.num_late] == counts
        assert len(set(found.rows)) == size
        oldest = max(oldest, *found.ages)
    assert 1 <= oldest <= max_age
    resumed = buffered_rounds.BufferedRounds(_DRAWS, fleet, rule)
    np.testing.assert_array_equal(resumed.find(40).rows, rounds.find(40).rows)
    np.testing.assert_array_equal(resumed.find(2).ages, rounds.find(2).ages)


def test_who_takes_twice_as_long_is_behind_by_hand():
    # All take a second, or three; two work at a time, and each report is a step.
    slow = int(_DRAWS.order(sampling.EPOCH, 0)[0])
    examples = np.where(np.arange(_NUM_USERS) == slow, 3.0, 1.0)
    fleet = create_fleet(profiles.ALIKE, examples, seconds_per_example=1.0)
    rounds = buffered_rounds.BufferedRounds(_DRAWS, fleet, buffered_rounds.BufferRule(1, 2, 9))
    found = [rounds.find(number) for number in range(1, 6)]
    assert [r.end_seconds for r in found] == [1.0, 2.0, 3.0, 3.0, 4.0]
    # At second 3 the slow one and another report, of models 0 and 2, in the order of their rows.
    at_three = {int(r.rows[0]): int(r.ages[0]) for r in found[2:4]}
    other = next(row for row in at_three if row != slow)
    assert at_three == ({slow: 2, other: 1} if slow < other else {slow: 3, other: 0})
    assert [int(r.ages[0]) for r in (found[0], found[1])] == [0, 0]


def test_devices_that_are_alike_are_asked_in_cohorts_and_nobody_is_behind():
    fleet = create_fleet(profiles.ALIKE, np.full(_NUM_USERS, 50.0))
    rounds = buffered_rounds.BufferedRounds(_DRAWS, fleet, buffered_rounds.BufferRule(8, 8, 3))
    epochs = sampling.ShuffledEpochsSampler(_DRAWS, 8)
    # 48 users are six cohorts, and then another order.
    for number in range(1, 13):
        np.testing.assert_array_equal(rounds.find(number).rows, epochs.sample(number))
        assert not rounds.find(number).ages.any()
        assert rounds.find(number).end_seconds == pytest.approx(450.0 * number)
