"""Sums of which the server learns nothing but the result.

TFF's secure aggregators leave integers to be summed in three ways: below a bit width, below a
maximum, or modulo a number. All three are here the same thing, a `SecureSumSlot`. The contexts
sum slots in the clear unless they are given a `SecureSum`, which sees each client's integers and
may mask or encrypt them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fedrec_tff.execution.exceptions import ExecutionError


@dataclasses.dataclass(frozen=True)
class SecureSumSlot:
    """One integer tensor that is summed over clients.

    Attributes:
      shape: Shape of the tensor.
      max_input: The largest value a client may send, the smallest being 0; None in a modular sum.
      modulus: Modulus that a modular sum is reduced by; None otherwise.
    """

    shape: tuple[int, ...]
    max_input: int | None = None
    modulus: int | None = None


class Sealer(Protocol):
    """What some clients do in a sum by themselves. It is pickled to where they are."""

    def seal(self, values: Sequence[np.ndarray], positions: np.ndarray) -> list[Any]:
        """Makes clients' messages to the server.

        Args:
          values: The clients' integers, within the slots' bounds: for each slot, int64
            [num_clients, *shape].
          positions: int64 [num_clients], the clients' positions in the cohort.

        Returns:
          The messages, which are pickled on their way back.
        """


class SecureSumRound(Protocol):
    """One sum over one cohort.

    Clients are either added, or handed out and received from elsewhere: on a cluster, from workers.
    """

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Adds some clients; their integers are within the slots' bounds.

        Args:
          values: The clients' integers: for each slot, int64 [num_clients, *shape].
          positions: int64 [num_clients], the clients' positions in the cohort.
        """

    def hand_out(self, positions: np.ndarray) -> Sealer:
        """Lets some clients, each of them once, do their part elsewhere.

        Args:
          positions: int64 [num_clients], the clients' positions in the cohort.

        Returns:
          What they do there. Where it is done twice, as by a worker that is lost and by another,
          the messages say the same, and one of them is received.
        """

    def receive(self, messages: Sequence[Any]) -> None:
        """Adds clients that were handed out.

        Args:
          messages: What `Sealer.seal` returned.
        """

    def finish(self) -> list[np.ndarray]:
        """Ends the round.

        Returns:
          For each slot, the sum over all clients: int64 [*shape].
        """


class SecureSum(Protocol):
    """A way to sum; `add` is called from one thread at a time.

    A round is started anew, and what was begun is never finished, if the client work turns out not
    to compile: at most once or twice for a computation.
    """

    def start(self, slots: Sequence[SecureSumSlot], num_clients: int) -> SecureSumRound:
        """Begins a round.

        Args:
          slots: Descriptions of the tensors to sum.
          num_clients: Size of the cohort.

        Returns:
          The round.
        """


class UnsealedIntegers:
    """Hides nothing: the messages are the integers."""

    def seal(self, values: Sequence[np.ndarray], positions: np.ndarray) -> list[Any]:
        """The integers, and whose they are; see `Sealer`."""
        return [(list(values), positions)]


class SumInTheClear:
    """Protects nothing: the default of a simulation, where the server sees every client anyway."""

    def start(self, slots: Sequence[SecureSumSlot], num_clients: int) -> "RoundInTheClear":
        """Begins a round."""
        del num_clients
        return RoundInTheClear(slots)


class RoundInTheClear:
    """One exact sum."""

    def __init__(self, slots: Sequence[SecureSumSlot]) -> None:
        """Initialises the sums at zero."""
        self._slots = slots
        self._sums = [np.zeros(slot.shape, np.int64) for slot in slots]

    def add(self, values: Sequence[np.ndarray], positions: np.ndarray) -> None:
        """Adds some clients; see `SecureSumRound`."""
        del positions
        for index, (slot, tensor) in enumerate(zip(self._slots, values, strict=True)):
            if slot.modulus is None:
                self._sums[index] = add_exactly(self._sums[index], tensor)
                continue
            for row in tensor:
                reduced = np.mod(row, slot.modulus)
                self._sums[index] = np.mod(self._sums[index] + reduced, slot.modulus)

    def hand_out(self, positions: np.ndarray) -> UnsealedIntegers:
        """Lets clients send their integers; see `SecureSumRound`."""
        del positions
        return UnsealedIntegers()

    def receive(self, messages: Sequence[Any]) -> None:
        """Adds clients; see `SecureSumRound`."""
        for values, positions in messages:
            self.add(values, positions)

    def finish(self) -> list[np.ndarray]:
        """The sums; see `SecureSumRound`."""
        return self._sums


def add_exactly(total: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Adds integers that are not negative to a sum of such.

    Args:
      total: int64 [*shape], the sum so far.
      values: int64 [n, *shape], the integers to add.

    Returns:
      int64 [*shape].

    Raises:
      ExecutionError: If the sum does not fit.
    """
    with np.errstate(over="ignore"):
        for value in values:
            total = np.add(total, value)
            # Two numbers below 2**63 that overflow make a negative one.
            if np.any(total < 0):
                raise does_not_fit(np.int64)
    return total


def does_not_fit(dtype: type) -> ExecutionError:
    """The error for a sum that is too large for its type."""
    return ExecutionError(
        f"a secure sum does not fit {np.dtype(dtype).name}: sum a wider type, or fewer clients"
    )


def check_bounds(
    slots: Sequence[SecureSumSlot], values: Sequence[np.ndarray], positions: np.ndarray
) -> None:
    """Checks what clients send to a secure sum.

    Args:
      slots: Descriptions of the tensors to sum.
      values: The clients' integers: for each slot, int64 [num_clients, *shape].
      positions: int64 [num_clients], the clients' positions in the cohort.

    Raises:
      ExecutionError: If a client's integer is out of bounds; the message has its position.
    """
    for slot, tensor in zip(slots, values, strict=True):
        if slot.max_input is None or not tensor.size:
            continue
        invalid = (tensor < 0) | (tensor > slot.max_input)
        rows = np.flatnonzero(invalid.reshape(len(tensor), -1).any(axis=1))
        if rows.size:
            raise out_of_bounds(int(positions[rows].min()))


def out_of_bounds(position: int) -> ExecutionError:
    """The error for a client whose input to a secure sum is negative or above its maximum."""
    return ExecutionError(
        f"client {position} of the cohort: an input to a secure sum is negative or above the sum's "
        "maximum"
    )
