"""Times rounds: warm-up apart, then as many as a budget allows."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# The first compiles; the second may still fill caches.
NUM_WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to go on.

    Attributes:
      seconds: Seconds for timed rounds and for making their inputs.
      min_rounds: Number of rounds that are timed, whatever they take.
      max_rounds: Largest number of timed rounds.
    """

    seconds: float
    min_rounds: int = 3
    max_rounds: int = 1000


@dataclasses.dataclass(frozen=True)
class RoundTimings:
    """What was seen.

    Attributes:
      first_seconds: Seconds that the first round took, with whatever is compiled in it.
      seconds: Seconds that each timed round took.
      first_details: Details that the first round returned.
      details: Details that each timed round returned.
    """

    first_seconds: float
    seconds: tuple[float, ...]
    first_details: Mapping[str, float]
    details: tuple[Mapping[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Quartiles:
    """Of a sample.

    Attributes:
      lower: Number that a quarter of the sample is below.
      median: Number that half of the sample is below.
      upper: Number that three quarters of the sample are below.
    """

    lower: float
    median: float
    upper: float


class RoundTimer:
    """Collects the times of rounds, and says when it has enough."""

    def __init__(self, budget: Budget) -> None:
        """Initialises the timer.

        Args:
          budget: Time and number of rounds, as in `Budget`.
        """
        self._budget = budget
        self._seconds: list[float] = []
        self._details: list[Mapping[str, float]] = []
        self._deadline = math.inf

    @property
    def is_done(self) -> bool:
        """Whether the budget is used up."""
        num_timed = len(self._seconds) - NUM_WARM_UP
        if num_timed < self._budget.min_rounds:
            return False
        return num_timed >= self._budget.max_rounds or time.perf_counter() >= self._deadline

    def add(self, seconds: float, details: Mapping[str, float]) -> None:
        """Adds the next round."""
        self._seconds.append(seconds)
        self._details.append(details)
        if len(self._seconds) == NUM_WARM_UP:
            self._deadline = time.perf_counter() + self._budget.seconds

    def finish(self) -> RoundTimings:
        """The times."""
        return RoundTimings(
            self._seconds[0],
            tuple(self._seconds[NUM_WARM_UP:]),
            self._details[0],
            tuple(self._details[NUM_WARM_UP:]),
        )


def time_rounds(
    create_input: Callable[[int], Any],
    run: Callable[[Any], Mapping[str, float]],
    budget: Budget,
) -> RoundTimings:
    """Runs rounds and times them.

    Args:
      create_input: Function that makes the input of a round from its number, which starts at 1; not
        timed.
      run: Function that runs a round and returns once its results are in host memory; timed. What
        it returns are numbers that were at hand.
      budget: Time and number of rounds, as in `Budget`.

    Returns:
      The times.
    """
    timer, number = RoundTimer(budget), 0
    while not timer.is_done:
        number += 1
        value = create_input(number)
        start = time.perf_counter()
        details = run(value)
        timer.add(time.perf_counter() - start, details)
    return timer.finish()


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles, linear between the values next to them."""
    lower, median, upper = np.percentile(values, [25, 50, 75])
    return Quartiles(float(lower), float(median), float(upper))
