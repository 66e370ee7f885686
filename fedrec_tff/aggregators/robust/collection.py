"""All updates of a round, kept until its end, for aggregators that must see them together.

The accumulator is a buffer of fixed size: XLA writes each client into it in place. Dense clients
take a matrix each. The rows of row-sparse clients lie one client's after the other's, so that the
server works on as many rows as were sent, however large the table. Each shard has a buffer of its
own.
"""

# Tested in tests/aggregators/test_robust_selection.py.

import collections
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.robust import buffers
from fedrec_tff.aggregators.robust import layout as layout_lib

_MAX_BYTES = 4 * 2**30
# Each shard has one, and the merged one may take the place of none of these: two at the least.
_NUM_BUFFERS = 2
_BYTES_PER_NUMBER = 4


# From the updates of a round and the number of rows of the table, to the aggregate:
# (float32 [num_rows, width], float32 [rest_size]). Called with no clients too; then what it
# returns does not matter.
CombineFn = Callable[[buffers.Updates, int], tuple[tf.Tensor, tf.Tensor]]


class CollectionFactory(tff.aggregators.UnweightedAggregationFactory):
    """Aggregates by a function of all updates of a round.

    Clients whose update is not finite, or has a norm whose square is not, are left out and do not
    count. Without any other the result is not a number, as a mean's is. More clients than the
    buffer has room for fail the round.
    """

    def __init__(
        self,
        context: registry.AggregatorContext,
        combine_fn: CombineFn,
        rows_per_client: int | None = None,
    ) -> None:
        """Initialises the factory.

        Args:
          context: Context that builders are given; `max_clients` must be known.
          combine_fn: The function, of TensorFlow operations.
          rows_per_client: Room for table rows of a row-sparse client, on average over
            `max_clients`; None for as many as the table has.

        Raises:
          UserError: If `max_clients` is not known, or `rows_per_client` not positive.
        """
        if context.max_clients is None:
            raise errors.UserError(
                "--aggregator: this one keeps all updates of a round and must know how many there "
                "can be: choose a sampling whose cohorts have a bound"
            )
        if rows_per_client is not None and rows_per_client < 1:
            raise errors.UserError(
                f"--aggregator_param rows_per_client={rows_per_client}: must be at least 1"
            )
        self._max_clients = context.max_clients
        self._num_items = context.num_items
        self.combine_fn = combine_fn
        self._rows_per_client = rows_per_client

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update: see `layout.Layout`.

        Returns:
          A stateless process; its result is dense. Its measurement `num_excluded` says how many
          clients were left out.

        Raises:
          TypeError: If the type is any other.
          UserError: If the buffers would take too much memory.
        """
        layout = layout_lib.Layout(value_type, self._num_items)

        def combine(updates: buffers.Updates) -> Any:
            table, rest = self.combine_fn(updates, self._num_items)
            is_empty = tf.equal(updates.num_clients, 0)
            table, rest = [tf.where(is_empty, float("nan"), t) for t in (table, rest)]
            return layout.join(table, rest)

        collect = self.build_collection(value_type, layout, combine)

        @tff.federated_computation
        def init_fn():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            result, measurements = collect(value)
            return tff.templates.MeasuredProcessOutput(state, result, measurements)

        return tff.templates.AggregationProcess(init_fn, next_fn)

    def build_collection(
        self,
        value_type: tff.Type,
        layout: layout_lib.Layout,
        combine_fn: Callable[[buffers.Updates], Any],
    ) -> tff.Computation:
        """Builds what collects the updates of a round, and combines them at its end.

        Args:
          value_type: Type of an update.
          layout: Layout of an update.
          combine_fn: Function of all updates, of TensorFlow operations.

        Returns:
          A computation from the clients' updates to `(combined, measurements)` at the server.
        """
        buffer = self._create_buffer(layout)

        @tff.tensorflow.computation
        def zero_fn():
            return buffer.create_zero()

        accumulator_type = zero_fn.type_signature.result

        @tff.tensorflow.computation(accumulator_type, value_type)
        def accumulate_fn(accumulator, value):
            return buffer.add(accumulator, layout.split(value))

        @tff.tensorflow.computation(accumulator_type, accumulator_type)
        def merge_fn(first, second):
            return buffer.merge(first, second)

        @tff.tensorflow.computation(accumulator_type)
        def report_fn(accumulator):
            with tf.control_dependencies(buffer.create_checks(accumulator)):
                accumulator = tf.nest.map_structure(tf.identity, accumulator)
            measurements = collections.OrderedDict(num_excluded=accumulator["num_excluded"])
            return combine_fn(buffer.read(accumulator)), measurements

        @tff.federated_computation(tff.FederatedType(value_type, tff.CLIENTS))
        def collect(value):
            return tff.federated_aggregate(value, zero_fn(), accumulate_fn, merge_fn, report_fn)

        return collect

    def _create_buffer(self, layout: layout_lib.Layout) -> buffers.Buffer:
        """What a round's updates are collected in, with room for `max_clients`."""
        if layout.is_row_sparse:
            rows_per_client = min(layout.num_rows, self._rows_per_client or layout.num_rows)
            max_rows = self._max_clients * rows_per_client
            buffer = buffers.RowBuffer(layout, self._max_clients, max_rows)
            hint = ", or set --aggregator_param rows_per_client"
        else:
            buffer = buffers.DenseBuffer(layout, self._max_clients)
            hint = ""
        num_bytes = buffer.num_numbers * _BYTES_PER_NUMBER * _NUM_BUFFERS
        if num_bytes > _MAX_BYTES:
            raise errors.UserError(
                f"--aggregator: to keep the updates of {self._max_clients} clients takes "
                f"{num_bytes / 2**30:.1f} GiB, more than {_MAX_BYTES // 2**30}: choose fewer "
                f"--clients_per_round, or a smaller model{hint}"
            )
        return buffer
