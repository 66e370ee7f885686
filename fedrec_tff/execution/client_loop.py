"""Client work compiled by XLA: one program runs a block of clients and carries the accumulator."""

# Tested in tests/execution/test_compiled_growth.py and tests/execution/test_execution_errors.py.

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import values
from fedrec_tff.execution.forms import ClientForm
from fedrec_tff.execution.shares import NOWHERE, OVERFLOW
from fedrec_tff.execution.stacking import LeafStack, StoredRows


@dataclasses.dataclass(frozen=True, eq=False)
class BlockInput:
    """The clients of one call.

    Attributes:
      clients: Leaves of the clients; more rows than clients if the block is not full.
      random_input: uint64 [rows, 2, 2], keys of random operations, for `work` and for `accumulate`.
      positions: int64 [rows], the clients' positions in the cohort.
      num_clients: int32 scalar, number of rows that are clients.
    """

    clients: list[tf.Tensor]
    random_input: tf.Tensor
    positions: tf.Tensor
    num_clients: tf.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class ShardState:
    """What a share adds up, on its device, over its blocks.

    Attributes:
      accumulator: Variables of the accumulator, one for each leaf of the form's accumulator.
      secure_sums: int64 variables of the secure sums, one for each slot.
      invalid_position: int64, the first client whose input to a secure sum was out of bounds; see
        `shares.ShareTotals`.
    """

    accumulator: list[tf.Variable]
    secure_sums: list[tf.Variable]
    invalid_position: tf.Variable

    def close(self) -> None:
        """Ends the use of the variables.

        TensorFlow never frees the attributes of an eager tensor, here of a variable's handle:
        a kilobyte each, every round.
        """
        for variable in (*self.accumulator, *self.secure_sums, self.invalid_position):
            variable.handle.__dict__.clear()


class ClientLoop:
    """The compiled part of a form.

    A call runs up to `clients_per_block` clients, however many there are: the loop's trip count is
    a runtime value, so a cohort of another size does not compile again. Each combination of the
    clients' shapes does, once.
    """

    def __init__(
        self,
        form: ClientForm,
        clients_per_block: int,
        clients_per_step: int = 1,
        sums_in_the_clear: bool = True,
    ) -> None:
        """Initialises the loop; compiles nothing yet.

        Args:
          form: Form of the computation to run.
          clients_per_block: Number of rows of a block.
          clients_per_step: Number of clients that are worked on at once, vectorised.
          sums_in_the_clear: Whether to add up secure sums here; if not, `run` returns each
            client's integers instead.
        """
        self._form = form
        self._clients_per_block = clients_per_block
        self._clients_per_step = clients_per_step
        self._sums_in_the_clear = sums_in_the_clear
        self._num_updates = len(values.leaf_types(form.work.type_signature.result[0]))
        self._block = tf.function(self._trace_block, jit_compile=True, autograph=False)
        self._programs: dict[Any, Any] = {}
        # Compiled too: TensorFlow would keep the zeros as a constant, of the size of the model.
        self._zero = tf.function(self._trace_zero, jit_compile=True, autograph=False)
        self._zero_program: Any = None

    @property
    def clients_per_step(self) -> int:
        """How many clients are worked on at once."""
        return self._clients_per_step

    def create_state(self) -> ShardState:
        """Begins a share: creates its variables, on the current device."""
        # Calls of the other kind are counted by TensorFlow, which warns of many short-lived loops.
        if self._zero_program is None:
            self._zero_program = self._zero.get_concrete_function()
        accumulator, secure_sums = self._zero_program()
        return ShardState(
            [tf.Variable(zero, trainable=False) for zero in accumulator],
            [tf.Variable(zero, trainable=False) for zero in secure_sums],
            tf.Variable(NOWHERE, dtype=tf.int64, trainable=False),
        )

    def run(
        self,
        state: ShardState,
        clients: LeafStack,
        random_input: np.ndarray,
        prepared: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Adds a block of clients to a shard.

        Args:
          state: State of the shard.
          clients: Leaves of the clients, of which there are at most `clients_per_block`.
          random_input: uint64 [num_clients, 2, 2], keys of random operations.
          prepared: Tensors that the server sends to every client.

        Returns:
          For each slot, int64 [rows, *shape], if sums are not in the clear; nothing otherwise.
        """
        arguments = (
            (state.accumulator, state.secure_sums, state.invalid_position),
            [self._pad(leaf) for leaf in clients.leaves],
            self._pad(random_input),
            self._pad(clients.positions),
            tf.constant(clients.num_clients, tf.int32),
            list(prepared),
        )
        # The concrete function is kept: finding it again costs more than many a block.
        key = (clients.shapes, tuple(tuple(tensor.shape) for tensor in prepared))
        if key not in self._programs:
            # Of variables themselves the graph would keep hold.
            variables, *tensors = arguments
            specs = tf.nest.map_structure(tf.type_spec_from_value, variables)
            self._programs[key] = self._block.get_concrete_function(specs, *tensors)
        return self._programs[key](*arguments)

    def _pad(self, array: np.ndarray | StoredRows) -> tf.Tensor:
        """A full block; rows without a client are never read."""
        array = np.asarray(array)
        if len(array) == self._clients_per_block:
            return tf.convert_to_tensor(array)
        padded = np.zeros([self._clients_per_block, *array.shape[1:]], array.dtype)
        padded[: len(array)] = array
        return tf.convert_to_tensor(padded)

    def _trace_zero(self) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        slots = self._form.slots if self._sums_in_the_clear else ()
        return self._form.zero([]), [tf.zeros(slot.shape, tf.int64) for slot in slots]

    def _trace_block(
        self,
        state: tuple[list[Any], list[Any], Any],
        clients: list[tf.Tensor],
        random_input: tf.Tensor,
        positions: tf.Tensor,
        num_clients: tf.Tensor,
        prepared: list[tf.Tensor],
    ) -> list[tf.Tensor]:
        variables = tf.nest.flatten(state)
        initial = [variable.read_value() for variable in variables]
        num_state = len(initial)
        if not self._sums_in_the_clear:
            initial += [
                tf.zeros([self._clients_per_block, *slot.shape], tf.int64)
                for slot in self._form.slots
            ]

        def add_row(row, output, carried):
            keys = tf.gather(random_input, row)[1]
            added = self._add(carried, output, keys, tf.gather(positions, row), row)
            return (row + 1, *_with_shapes_of(added, initial))

        def step_of_one(row, *carried):
            output = self._work([*clients, random_input], row, prepared)
            return add_row(row, output, list(carried))

        def step_of_many(first, *carried):
            rows = tf.minimum(first + tf.range(self._clients_per_step), num_clients - 1)
            outputs = tf.vectorized_map(
                lambda row: self._work([*clients, random_input], row, prepared),
                rows,
                # A loop for what has no vectorised form gives wrong sums under XLA where shapes
                # depend on data.
                fallback_to_while_loop=False,
            )

            def add(row, *carried):
                output = [tf.gather(tensor, row - first) for tensor in outputs]
                return add_row(row, output, list(carried))

            end = tf.minimum(first + self._clients_per_step, num_clients)
            return tf.while_loop(lambda row, *_: row < end, add, (first, *carried))

        step = step_of_one if self._clients_per_step == 1 else step_of_many
        _, *final = tf.while_loop(
            lambda first, *_: first < num_clients, step, (tf.constant(0), *initial)
        )
        for variable, value in zip(variables, final[:num_state], strict=True):
            variable.assign(value)
        return final[num_state:]

    def _work(
        self, arrays: Sequence[tf.Tensor], row: tf.Tensor, prepared: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """The outputs of one client.

        Rows are gathered, not sliced: XLA would want a slice's bounds as constants, and compile
        again for each size of a cohort.
        """
        *leaves, keys = [tf.gather(array, row) for array in arrays]
        return self._form.work([*leaves, *prepared], keys[0])

    def _add(
        self,
        carried: list[tf.Tensor],
        output: list[tf.Tensor],
        random_input: tf.Tensor,
        position: tf.Tensor,
        row: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Adds one client's output to everything that is carried."""
        slots = self._form.slots
        num_accumulator = len(self._form.accumulator_types)
        update, integers = output[: self._num_updates], output[self._num_updates :]
        accumulator = self._form.accumulate([*carried[:num_accumulator], *update], random_input)
        integers = [tf.cast(tensor, tf.int64) for tensor in integers]
        if not self._sums_in_the_clear:
            invalid, buffers = carried[num_accumulator], carried[num_accumulator + 1 :]
            buffers = [
                tf.tensor_scatter_nd_update(buffer, [[row]], tensor[tf.newaxis])
                for buffer, tensor in zip(buffers, integers, strict=True)
            ]
            return [*accumulator, invalid, *buffers]
        *sums, invalid = carried[num_accumulator:]
        for index, (slot, tensor) in enumerate(zip(slots, integers, strict=True)):
            if slot.modulus is not None:
                sums[index] = tf.math.floormod(
                    sums[index] + tf.math.floormod(tensor, slot.modulus), slot.modulus
                )
                continue
            is_valid = tf.reduce_all((tensor >= 0) & (tensor <= slot.max_input))
            invalid = tf.minimum(invalid, tf.where(is_valid, NOWHERE, position))
            sums[index] += tensor
            # Two numbers below 2**63 that overflow make a negative one.
            fits = tf.reduce_all(sums[index] >= 0)
            invalid = tf.minimum(invalid, tf.where(fits | ~is_valid, NOWHERE, OVERFLOW))
        return [*accumulator, *sums, invalid]


def _with_shapes_of(tensors: list[tf.Tensor], others: list[tf.Tensor]) -> list[tf.Tensor]:
    """A loop's variables keep their static shapes; a graph over unknown ones has lost them."""
    return [tf.ensure_shape(t, other.shape) for t, other in zip(tensors, others, strict=True)]
