"""A round's program over a block of clients: their work in one batch, and one sum of it."""

# Tested in tests/accelerator/test_pjrt_context.py.

import dataclasses
import functools
import threading
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from fedrec_tff.accelerator.worker import secure_slots, sums
from fedrec_tff.accelerator.worker.errors import UnsupportedProgramError
from fedrec_tff.accelerator.worker.programs import Program

Arrays = list[jax.Array]


@dataclasses.dataclass(frozen=True)
class BlockOptions:
    """How a block runs.

    Attributes:
      num_updates: Number of leaves of an update; what else work returns are integers of slots.
      slots: Secure sums.
      sums_in_the_clear: Whether to add up secure sums here; if not, integers are returned.
      is_batched: Whether clients are worked on at once; if not, one after the other.
    """

    num_updates: int
    slots: tuple[secure_slots.Slot, ...]
    sums_in_the_clear: bool
    is_batched: bool


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Totals:
    """What the clients of a share add up to so far.

    Attributes:
      accumulator: Leaves of the accumulator.
      secure_sums: int64, one for each slot that is summed here.
      invalid: int64 scalar; see `secure_slots.NOWHERE`.
    """

    accumulator: Arrays
    secure_sums: Arrays
    invalid: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Clients of one call.

    Attributes:
      leaves: Leaves of the clients, each [rows, ...].
      keys: uint64 [rows, 2, 2], keys of random operations, for `work` and for `accumulate`.
      positions: int64 [rows], the clients' positions in the cohort.
      num_clients: int32 scalar; rows from there on are no clients.
    """

    leaves: Arrays
    keys: jax.Array
    positions: jax.Array
    num_clients: jax.Array


class BlockProgram:
    """The clients' part of a form, for clients of the same shapes.

    Attributes:
      reason: Why updates are added up one after the other; None if they are not.
    """

    def __init__(self, work: Program, accumulate: Program, options: BlockOptions) -> None:
        """Initialises the program; nothing is compiled yet.

        Args:
          work: What one client does: of its leaves, what the server sent and a key.
          accumulate: What adds one update: of the accumulator's leaves, the update's and a key.
          options: How a block runs.
        """
        self._work = work
        self._accumulate = accumulate
        self._options = options
        self.reason: str | None = None
        self._function = jax.jit(self._add_block, donate_argnums=(0,))
        self._lock = threading.Lock()
        self._executables: dict[jax.Device, Any] = {}

    def run(self, totals: Totals, block: Block, prepared: Arrays) -> tuple[Totals, Arrays]:
        """Adds a block to the totals, which are used up.

        Args:
          totals: Totals of the share so far.
          block: The clients.
          prepared: What the server sends to every client.

        Returns:
          The next totals; and, where sums are not in the clear, int64 [rows, *shape] of each slot.

        Raises:
          UnsupportedProgramError: If the work of a client cannot be run here.
        """
        (device,) = totals.invalid.devices()
        with self._lock:
            if device not in self._executables:
                self._executables[device] = self._compile(totals, block, prepared)
        return self._executables[device](totals, block, prepared)

    def lower(self, totals: Totals, block: Block, prepared: Arrays) -> jax.stages.Lowered:
        """The program as JAX lowers it, for those who read it, or compile it for something else."""
        return self._function.lower(totals, block, prepared)

    def _compile(self, totals: Totals, block: Block, prepared: Arrays) -> jax.stages.Compiled:
        try:
            return self.lower(totals, block, prepared).compile()
        # What JAX has no rule for ends in errors of many kinds.
        except (NotImplementedError, TypeError, ValueError) as error:
            raise UnsupportedProgramError(
                f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            ) from error

    def _add_block(self, totals: Totals, block: Block, prepared: Arrays) -> tuple[Totals, Arrays]:
        is_client = jnp.arange(len(block.positions)) < block.num_clients
        if not self._options.is_batched:
            return self._add_one_by_one(totals, block, is_client, prepared)
        outputs = jax.vmap(self._run_client, in_axes=(0, 0, None))(
            block.leaves, block.keys[:, 0], prepared
        )
        updates, integers = self._split(outputs)
        accumulator = self._add_updates(totals.accumulator, updates, block.keys[:, 1], is_client)
        added = dataclasses.replace(totals, accumulator=accumulator)
        return self._add_integers(added, integers, block, is_client)

    def _split(self, outputs: Arrays) -> tuple[Arrays, Arrays]:
        """What work returns: an update, and integers for the secure sums."""
        size = self._options.num_updates
        return outputs[:size], [x.astype(jnp.int64) for x in outputs[size:]]

    def _run_client(self, leaves: Arrays, key: jax.Array, prepared: Arrays) -> Arrays:
        return self._work(*leaves, key, *prepared)

    def _add_updates(
        self, accumulator: Arrays, updates: Arrays, keys: jax.Array, is_client: jax.Array
    ) -> Arrays:
        try:
            block_sum = sums.BlockSum(
                self._accumulate,
                accumulator,
                [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in updates],
                jax.ShapeDtypeStruct(keys.shape[1:], keys.dtype),
            )
        except sums.NotASumError as error:
            self.reason = str(error)
            return self._accumulate_one_by_one(accumulator, updates, keys, is_client)
        return block_sum.add(accumulator, updates, keys, is_client)

    def _accumulate_one_by_one(
        self, accumulator: Arrays, updates: Arrays, keys: jax.Array, is_client: jax.Array
    ) -> Arrays:
        def step(carried: Arrays, row: Any) -> tuple[Arrays, None]:
            update, key, is_row = row
            added = self._accumulate(*carried, *update, key)
            return _keep(is_row, added, carried), None

        return lax.scan(step, list(accumulator), (updates, keys, is_client))[0]

    def _add_integers(
        self, totals: Totals, integers: Arrays, block: Block, is_client: jax.Array
    ) -> tuple[Totals, Arrays]:
        if not self._options.sums_in_the_clear:
            return totals, integers
        invalid, added = totals.invalid, []
        for slot, total, mine in zip(
            self._options.slots, totals.secure_sums, integers, strict=True
        ):
            total, invalid = secure_slots.add(
                slot, total, invalid, mine, block.positions, is_client
            )
            added.append(total)
        return dataclasses.replace(totals, secure_sums=added, invalid=invalid), []

    def _add_one_by_one(
        self, totals: Totals, block: Block, is_client: jax.Array, prepared: Arrays
    ) -> tuple[Totals, Arrays]:
        """The same, one client after the other, as the compiled context does it."""

        def step(carried: Totals, row: Any) -> tuple[Totals, Arrays]:
            leaves, keys, position, is_row = row
            outputs = self._run_client(leaves, keys[0], prepared)
            updates, integers = self._split(outputs)
            accumulator = self._accumulate(*carried.accumulator, *updates, keys[1])
            one = Block([], keys[None], position[None], jnp.int32(1))
            added, left = self._add_integers(
                dataclasses.replace(carried, accumulator=accumulator),
                [x[None] for x in integers],
                one,
                is_row[None],
            )
            keep = functools.partial(jnp.where, is_row)
            return jax.tree.map(keep, added, carried), [x[0] for x in left]

        rows = (block.leaves, block.keys, block.positions, is_client)
        return lax.scan(step, totals, rows)


def _keep(is_row: jax.Array, added: Arrays, carried: Arrays) -> Arrays:
    return [jnp.where(is_row, new, old) for new, old in zip(added, carried, strict=True)]
