"""Buffered asynchronous aggregation: FedBuff (Nguyen et al. 2022, arXiv 2106.06639, algorithm 1).

So many devices work at a time. Whoever reports leaves an update in the buffer, and another device
begins with the model of that moment. When the buffer is full the server takes a step, which is a
round here, with updates from models of different ages.
"""

# Tested in tests/learning/simulation/test_buffered_rounds.py.

import dataclasses
import heapq
from collections.abc import Iterator

import numpy as np

from fedrec_tff.datasets.keyed_draws import KeyedDraws
from fedrec_tff.learning.simulation.fleet.fleet import Fleet
from fedrec_tff.learning.simulation.fleet.timed_round import TimedRound
from fedrec_tff.privacy import sampling

_NUM_ROUNDS_KEPT = 16


@dataclasses.dataclass(frozen=True)
class BufferRule:
    """The buffer and who fills it.

    Attributes:
      size: Number of updates in a step of the server.
      concurrency: Number of devices at work at a time.
      max_age: Age in rounds of the oldest model whose update is taken.
    """

    size: int
    concurrency: int
    max_age: int


class BufferedRounds:
    """Steps of the server, each when its buffer is full.

    Devices are asked in a random order of all users, then in another one, as in epochs; whoever is
    busy or cannot be reached is passed over. Nobody is twice in a buffer. All that happens at one
    moment is over before new work begins: reports first, in the order of users' rows.
    """

    def __init__(self, draws: KeyedDraws, fleet: Fleet, rule: BufferRule) -> None:
        """Starts the clock at midnight, with all devices idle.

        Args:
          draws: Keyed draws of the population, for the order in which devices are asked.
          fleet: The devices, more than buffer and concurrency together.
          rule: The buffer.
        """
        self._draws, self._fleet, self._rule = draws, fleet, rule
        self._begin()

    def find(self, round_number: int) -> TimedRound:
        """As `TimedRounds.find`."""
        if round_number < 1:
            raise ValueError(f"rounds are counted from 1, found {round_number}")
        if round_number not in self._latest and round_number <= self._last:
            self._begin()
        while self._last < round_number:
            self._last += 1
            self._latest[self._last] = next(self._steps)
            self._latest.pop(self._last - _NUM_ROUNDS_KEPT, None)
        return self._latest[round_number]

    def _begin(self) -> None:
        self._last = 0
        self._latest: dict[int, TimedRound] = {}
        self._steps = _simulate(
            _Candidates(self._draws, self._fleet), self._fleet.round_seconds, self._rule
        )


class _Candidates:
    """Who is asked next, without end: user after user in a random order, then in another one."""

    def __init__(self, draws: KeyedDraws, fleet: Fleet) -> None:
        self._draws, self._fleet = draws, fleet
        self._everybody = np.arange(fleet.num_users)
        self._epoch = -1
        self._shuffle()

    def take(self, is_busy: np.ndarray, now: float) -> tuple[int | None, float, int]:
        """Asks until somebody is there, at most everybody once.

        Returns:
          The row, or None; the share of its work that it does before it is gone; and how many
          could not be reached.
        """
        num_away = 0
        for _ in range(len(self._everybody)):
            if self._next == len(self._order):
                self._shuffle()
            row = int(self._order[self._next])
            self._next += 1
            if is_busy[row]:
                continue
            if self._there[row] < self._fleet.presence(self._everybody[row : row + 1], now)[0]:
                return row, float(self._shares[row]), num_away
            num_away += 1
        return None, 0.0, num_away

    def _shuffle(self) -> None:
        self._epoch, self._next = self._epoch + 1, 0
        self._order = self._draws.order(sampling.EPOCH, self._epoch)
        self._there = self._fleet.draw_there(self._epoch)
        self._shares = self._fleet.draw_working_shares(self._epoch)


def _simulate(
    candidates: _Candidates, round_seconds: np.ndarray, rule: BufferRule
) -> Iterator[TimedRound]:
    """Goes from event to event, and yields at each step of the server."""
    is_busy = np.zeros(len(round_seconds), bool)
    # When, who, which model it trains, and whether it reports.
    working: list[tuple[float, int, int, bool]] = []
    buffer: list[tuple[int, int]] = []
    now, version = 0.0, 0
    num_away = num_dropped = num_late = 0
    while True:
        while len(working) < rule.concurrency:
            row, share, away = candidates.take(is_busy, now)
            num_away += away
            if row is None:
                break
            is_busy[row] = True
            end = now + share * float(round_seconds[row])
            heapq.heappush(working, (end, row, version, share == 1.0))
        if not working:
            # Nobody is there at this hour: a minute later the server asks again.
            now += 60.0
            continue
        now = working[0][0]
        while working and working[0][0] == now:
            _, row, trained_version, has_reported = heapq.heappop(working)
            age = version - trained_version
            if not has_reported or age > rule.max_age:
                is_busy[row] = False
                num_dropped += not has_reported
                num_late += has_reported
                continue
            buffer.append((row, age))
            if len(buffer) == rule.size:
                rows, ages = np.array(sorted(buffer), np.int64).T
                yield TimedRound(rows, ages.astype(np.int32), now, num_away, num_dropped, num_late)
                is_busy[rows] = False
                buffer, version = [], version + 1
                num_away = num_dropped = num_late = 0
