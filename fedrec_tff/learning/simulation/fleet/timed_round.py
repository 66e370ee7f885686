"""A round on the simulated clock: who is in it, with which model, and when it ends."""

# Tested in tests/learning/simulation/test_waiting_rounds.py.

import dataclasses
from typing import Protocol

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class TimedRound:
    """One step of the server.

    Attributes:
      rows: int64 [clients], sorted: whose updates the server takes.
      ages: int32 [clients]: how many rounds old the model is that each of them trained.
      end_seconds: Time on the simulated clock at which the round ends.
      num_away: Number of users who were asked, and could not be reached.
      num_dropped: Number of devices that were gone before they reported.
      num_late: Number of devices that reported when nobody waited any more.
    """

    rows: np.ndarray
    ages: np.ndarray
    end_seconds: float
    num_away: int = 0
    num_dropped: int = 0
    num_late: int = 0


class TimedRounds(Protocol):
    """The rounds of a run, which follow from each other; the same each time they are asked for."""

    def find(self, round_number: int) -> TimedRound:
        """Returns a round; the first call for a late one goes through those before it."""
        ...
