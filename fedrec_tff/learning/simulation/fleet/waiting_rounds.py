"""Synchronous rounds: the server asks a cohort, and waits for it, or for the first of it.

Over-selection and the deadline are those of Bonawitz et al. 2019 (arXiv 1902.01046, sections 2.2
and 9): more devices are asked than are needed, the round ends with the last that is needed, or when
its time is up, and whoever is late has worked for nothing.
"""

# Tested in tests/learning/simulation/test_waiting_rounds.py.

import dataclasses

import numpy as np

from fedrec_tff.learning.simulation.fleet.fleet import Fleet
from fedrec_tff.learning.simulation.fleet.timed_round import TimedRound
from fedrec_tff.privacy.sampling import CohortSampler

_NUM_ROUNDS_KEPT = 16


@dataclasses.dataclass(frozen=True)
class WaitingRule:
    """How long the server waits.

    Attributes:
      num_needed: Number of reports after which the round ends; None to wait for all.
      deadline_seconds: Seconds after which the round ends; None for no deadline.
      lasts_to_deadline: Whether the round lasts until then, whoever has reported: so that no time
        follows from anybody's data.
    """

    num_needed: int | None = None
    deadline_seconds: float | None = None
    lasts_to_deadline: bool = False


class WaitingRounds:
    """Rounds that begin when the one before has ended."""

    def __init__(self, sampler: CohortSampler, fleet: Fleet, rule: WaitingRule) -> None:
        """Starts the clock at midnight.

        Args:
          sampler: Sampler of those who are asked.
          fleet: The devices.
          rule: How long the server waits.
        """
        self._sampler, self._fleet, self._rule = sampler, fleet, rule
        self._begin()

    def find(self, round_number: int) -> TimedRound:
        """As `TimedRounds.find`."""
        if round_number < 1:
            raise ValueError(f"rounds are counted from 1, found {round_number}")
        if round_number not in self._latest and round_number <= self._last:
            self._begin()
        while self._last < round_number:
            self._last += 1
            self._latest[self._last] = self._wait(self._last)
            self._now = self._latest[self._last].end_seconds
            self._latest.pop(self._last - _NUM_ROUNDS_KEPT, None)
        return self._latest[round_number]

    def _begin(self) -> None:
        self._now, self._last = 0.0, 0
        self._latest: dict[int, TimedRound] = {}

    def _wait(self, round_number: int) -> TimedRound:
        asked = self._sampler.sample(round_number)
        there = asked[self._fleet.find_there(asked, self._now, round_number)]
        staying = there[self._fleet.find_staying(there, round_number)]
        seconds = self._fleet.round_seconds[staying]
        # Who takes as long as another is before it by its row.
        order = np.lexsort((staying, seconds))
        deadline = self._rule.deadline_seconds
        num_taken = len(order) if deadline is None else int((seconds <= deadline).sum())
        if self._rule.num_needed is not None:
            num_taken = min(num_taken, self._rule.num_needed)
        taken = order[:num_taken]
        return TimedRound(
            np.sort(staying[taken]),
            np.zeros(num_taken, np.int32),
            self._now + self._find_length(seconds[taken], len(staying)),
            num_away=len(asked) - len(there),
            num_dropped=len(there) - len(staying),
            num_late=len(staying) - num_taken,
        )

    def _find_length(self, taken: np.ndarray, num_coming: int) -> float:
        """Seconds until the last who is needed, or until nobody more is waited for."""
        rule = self._rule
        has_enough = len(taken) == min(num_coming, rule.num_needed or num_coming)
        if rule.lasts_to_deadline or not has_enough:
            return rule.deadline_seconds
        return float(taken.max(initial=0.0))
