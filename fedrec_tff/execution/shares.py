"""A cohort in shares: sums that are the same to the bit, however many hands there are.

Which client is in which share follows from the cohort and from the number of shares. Each share is
summed by itself, client after client, and the sums are merged in pairs, as a binary tree of that
number of leaves says. So it makes no difference to the last bit which thread or machine works on a
share, which is done first, or which is done again.
"""

# Tested in tests/execution/test_shares.py.

import dataclasses
import threading
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from fedrec_tff.execution.secure_sum import (
    SecureSumSlot,
    add_exactly,
    does_not_fit,
    out_of_bounds,
)
from fedrec_tff.execution.stacking import LeafStack

# Values of `ShareTotals.invalid_position` that are no client's position.
NOWHERE = np.iinfo(np.int64).max
OVERFLOW = NOWHERE - 1

Accumulator = list[tf.Tensor]
MergeFn = Callable[[str, Accumulator, Accumulator], Accumulator]


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Clients of a share that are worked on in one call.

    Attributes:
      clients: Leaves of the clients.
      random_input: uint64 [num_clients, 2, 2], keys of random operations, for `work` and for
        `accumulate`.
    """

    clients: LeafStack
    random_input: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ShareTotals:
    """What the clients of a share, or of several, add up to.

    Attributes:
      accumulator: Leaves of the accumulator; None if there were no clients.
      secure_sums: Secure sums in the clear, int64, one for each slot of the form; zeros where each
        client's integers are summed elsewhere.
      invalid_position: Position of the first client whose input to a secure sum was out of bounds;
        `OVERFLOW` if a sum does not fit its type, `NOWHERE` if all is well.
    """

    accumulator: Accumulator | None
    secure_sums: list[np.ndarray]
    invalid_position: int = NOWHERE


def split(
    stacks: Sequence[LeafStack], num_shares: int, clients_per_block: int, random_input: np.ndarray
) -> list[list[Block]]:
    """Gives each share its blocks: the same split for the same cohort, whatever runs first.

    Every stack is split evenly; what is left over goes to the shares with the least data. Every
    other share begins at the other end, so that programs are compiled side by side.

    Args:
      stacks: Clients of the cohort.
      num_shares: Number of shares.
      clients_per_block: Number of clients of a block, at most.
      random_input: uint64 [num_clients, 2, 2], keys by the clients' positions in the cohort.

    Returns:
      The blocks of each share, in the order in which they are summed.
    """
    loads = np.zeros(num_shares)
    shares: list[list[Block]] = [[] for _ in range(num_shares)]
    for stack in sorted(stacks, key=_client_size, reverse=True):
        counts = np.full(num_shares, stack.num_clients // num_shares)
        counts[np.argsort(loads, kind="stable")[: stack.num_clients % num_shares]] += 1
        loads += counts * _client_size(stack)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        for share, begin, end in zip(shares, bounds[:-1], bounds[1:], strict=True):
            for start in range(begin, end, clients_per_block):
                clients = stack.slice(start, min(start + clients_per_block, end))
                share.append(Block(clients, random_input[clients.positions]))
    return [blocks[:: -1 if index % 2 else 1] for index, blocks in enumerate(shares)]


def _client_size(stack: LeafStack) -> int:
    return sum(int(np.prod(shape)) for shape in stack.shapes)


class MergeTree:
    """Merges accumulators in the order of a binary tree, as early as both of a pair are there.

    At most one accumulator for each level waits for its sibling if shares come in order. A share
    without clients has None, which merges with anything to that.
    """

    def __init__(self, num_leaves: int, merge_fn: MergeFn) -> None:
        """Initialises the tree.

        Args:
          num_leaves: Number of accumulators to merge.
          merge_fn: Function that merges two of them, the left one and the right one, given a name
            of the node; called from any thread.
        """
        self._num_leaves = num_leaves
        self._merge_fn = merge_fn
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, int], Accumulator | None] = {}
        self._root: Accumulator | None = None

    def add(self, leaf: int, accumulator: Accumulator | None) -> None:
        """Adds the accumulator of a leaf, each of which comes once; may merge."""
        level, index, width = 0, leaf, self._num_leaves
        while width > 1:
            if index ^ 1 < width:
                with self._lock:
                    if (level, index ^ 1) not in self._waiting:
                        self._waiting[level, index] = accumulator
                        return
                    sibling = self._waiting.pop((level, index ^ 1))
                pair = (sibling, accumulator) if index % 2 else (accumulator, sibling)
                accumulator = self._merge(f"merge {level}.{index // 2}", *pair)
            level, index, width = level + 1, index // 2, (width + 1) // 2
        self._root = accumulator

    def finish(self) -> Accumulator | None:
        """The sum of all leaves, after the last; None if none had clients."""
        return self._root

    def _merge(
        self, name: str, left: Accumulator | None, right: Accumulator | None
    ) -> Accumulator | None:
        if left is None or right is None:
            return right if left is None else left
        return self._merge_fn(name, left, right)


def add_secure_sums(
    slots: Sequence[SecureSumSlot], totals: Sequence[ShareTotals]
) -> list[np.ndarray]:
    """Adds the secure sums in the clear of several shares.

    Args:
      slots: Descriptions of the tensors that are summed.
      totals: Totals of the shares.

    Returns:
      For each slot, int64 of its shape.

    Raises:
      ExecutionError: If a client's input was out of bounds, or a sum does not fit.
    """
    invalid = min((total.invalid_position for total in totals), default=NOWHERE)
    if invalid < OVERFLOW:
        raise out_of_bounds(invalid)
    if invalid == OVERFLOW:
        raise does_not_fit(np.int64)
    sums = [np.zeros(slot.shape, np.int64) for slot in slots]
    for total in totals:
        for index, (slot, addend) in enumerate(zip(slots, total.secure_sums, strict=True)):
            if slot.modulus is None:
                sums[index] = add_exactly(sums[index], addend[np.newaxis])
            else:
                sums[index] = np.mod(sums[index] + addend, slot.modulus)
    return sums
