"""A round of a secure sum that has nothing to sum, whatever the protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff.execution import exceptions, secure_sum


class EmptyRound:
    """A round without clients, or with nothing to sum: zeros."""

    def __init__(self, slots: Sequence[secure_sum.SecureSumSlot]) -> None:
        """Initialises the round.

        Args:
          slots: The sums that nobody adds to.
        """
        self._slots = slots

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Adds nothing; see `secure_sum.SecureSumRound`.

        Raises:
          ExecutionError: If there is a client after all.
        """
        if self._slots and len(positions):
            raise exceptions.ExecutionError("a client in a secure sum that was begun for none")

    def hand_out(self, positions: np.ndarray) -> secure_sum.UnsealedIntegers:
        """Lets clients send what they have, which is nothing; see `secure_sum.SecureSumRound`.

        Raises:
          ExecutionError: If there is a client after all.
        """
        self.add([], positions)
        return secure_sum.UnsealedIntegers()

    def receive(self, messages: Sequence[Any]) -> None:
        """Adds nothing; see `secure_sum.SecureSumRound`."""

    def finish(self) -> list[np.ndarray]:
        """Zeros."""
        return [np.zeros(slot.shape, np.int64) for slot in self._slots]
