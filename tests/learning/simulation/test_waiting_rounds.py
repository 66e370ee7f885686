import dataclasses

import numpy as np
import pytest

from fedrec_tff.datasets import keyed_draws
from fedrec_tff.learning.simulation.fleet import fleet as fleet_lib
from fedrec_tff.learning.simulation.fleet import profiles, waiting_rounds
from fedrec_tff.privacy import sampling

_NUM_USERS = 60
_DRAWS = keyed_draws.KeyedDraws([f"u{index}" for index in range(_NUM_USERS)], 3)
_RULES = [
    waiting_rounds.WaitingRule(),
    waiting_rounds.WaitingRule(num_needed=8),
    waiting_rounds.WaitingRule(deadline_seconds=1500.0),
    waiting_rounds.WaitingRule(num_needed=8, deadline_seconds=1500.0),
    waiting_rounds.WaitingRule(deadline_seconds=1500.0, lasts_to_deadline=True),
]


def create(rule):
    # Rounds of a quarter of an hour or so, so that the hours of the day count.
    profile = dataclasses.replace(
        profiles.PROFILES[profiles.PHONES], seconds_per_example=9.0, dropout=0.2
    )
    work = fleet_lib.RoundWork(np.linspace(20, 200, _NUM_USERS), np.zeros(_NUM_USERS), 0.0)
    fleet = fleet_lib.Fleet(_DRAWS, profile, work)
    sampler = sampling.PoissonSampler(_DRAWS, 0.4)
    return sampler, fleet, waiting_rounds.WaitingRounds(sampler, fleet, rule)


def simulate(sampler, fleet, rule, rounds):
    """The server's diary, second by second as things happen to it."""
    now, diary = 0.0, []
    for number in range(1, rounds + 1):
        arrivals, num_away, num_dropped = [], 0, 0
        for row in sampler.sample(number):
            one = np.array([row])
            if not fleet.find_there(one, now, number)[0]:
                num_away += 1
            elif not fleet.find_staying(one, number)[0]:
                num_dropped += 1
            else:
                arrivals.append((fleet.round_seconds[row], row))
        taken, num_late, end = [], 0, 0.0
        for seconds, row in sorted(arrivals):
            has_enough = rule.num_needed is not None and len(taken) == rule.num_needed
            is_over = rule.deadline_seconds is not None and seconds > rule.deadline_seconds
            if has_enough or is_over:
                num_late += 1
                end = end if has_enough else rule.deadline_seconds
            else:
                taken.append(row)
                end = seconds
        now += rule.deadline_seconds if rule.lasts_to_deadline else end
        diary.append((sorted(taken), now, num_away, num_dropped, num_late))
    return diary


@pytest.mark.parametrize("rule", _RULES)
def test_rounds_are_those_of_a_server_that_waits_for_one_report_after_the_other(rule):
    sampler, fleet, rounds = create(rule)
    diary = simulate(sampler, fleet, rule, 30)
    for number, (taken, end, *counts) in enumerate(diary, 1):
        found = rounds.find(number)
        np.testing.assert_array_equal(found.rows, taken)
        assert not found.ages.any()
        assert len(found.ages) == len(taken)
        assert found.end_seconds == pytest.approx(end, rel=1e-12)
        assert [found.num_away, found.num_dropped, found.num_late] == counts
    # All that can happen did.
    total = np.sum([counts for _, _, *counts in diary], axis=0)
    assert (total[:2] > 0).all()
    assert (total[2] > 0) == (rule != _RULES[0])


def test_a_round_is_the_same_whenever_it_is_asked_for():
    _, _, forwards = create(_RULES[3])
    expected = [forwards.find(number) for number in range(1, 31)]
    _, _, resumed = create(_RULES[3])
    for number in (25, 30, 2, 29):
        np.testing.assert_array_equal(resumed.find(number).rows, expected[number - 1].rows)
        assert resumed.find(number).end_seconds == expected[number - 1].end_seconds


def test_who_is_done_at_the_deadline_is_in_time():
    profile = dataclasses.replace(profiles.PROFILES[profiles.ALIKE], seconds_per_example=1.0)
    work = fleet_lib.RoundWork(np.full(_NUM_USERS, 64.0), np.zeros(_NUM_USERS), 0.0)
    fleet = fleet_lib.Fleet(_DRAWS, profile, work)
    sampler = sampling.PoissonSampler(_DRAWS, 1.0)
    for deadline, count in ((64.0, _NUM_USERS), (63.0, 0)):
        rule = waiting_rounds.WaitingRule(deadline_seconds=deadline)
        found = waiting_rounds.WaitingRounds(sampler, fleet, rule).find(1)
        assert (len(found.rows), found.end_seconds) == (count, deadline)
