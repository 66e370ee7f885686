"""Robust rules at the edges: each over the clients of one edge."""

# Tested in tests/aggregators/test_hierarchical.py.

import functools

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.aggregators.hierarchical import edges
from fedrec_tff.aggregators.robust import buffers, collection
from fedrec_tff.aggregators.robust import layout as layout_lib


class RobustEdgeFactory(tff.aggregators.WeightedAggregationFactory):
    """A robust aggregate of each edge's clients; zero for an edge without any.

    All updates of the round are kept in one buffer, with the edge of each beside it. Weights are
    not read: robust rules count heads.
    """

    def __init__(
        self, robust: collection.CollectionFactory, num_edges: int, num_items: int
    ) -> None:
        """Initialises the factory.

        Args:
          robust: Robust aggregator that each edge runs, over the cohort of all edges.
          num_edges: Number of edges.
          num_items: Rows of the dense table.
        """
        self._robust, self._num_edges, self._num_items = robust, num_edges, num_items

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update: see `robust.layout.Layout`.
          weight_type: Type of an `EdgeWeight`.

        Returns:
          A stateless process; an edge's weight is the number of its clients. Its measurement
          `num_excluded` says how many clients were left out, because of what is not finite.
        """

        @tff.tensorflow.computation(value_type, weight_type)
        def address_fn(value, weight):
            edge = tf.cast(weight.edge, tf.float32)
            if isinstance(value, row_sparse.RowSparse):
                return value._replace(value=(value.value, edge))
            return value, edge

        addressed_type = address_fn.type_signature.result
        layout = layout_lib.Layout(value_type, self._num_items)
        addressed_layout = layout_lib.Layout(addressed_type, self._num_items)
        collect = self._robust.build_collection(
            addressed_type, addressed_layout, functools.partial(self._combine, layout)
        )

        @tff.federated_computation
        def init_fn():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            result, measurements = collect(tff.federated_map(address_fn, (value, weight)))
            return tff.templates.MeasuredProcessOutput(state, result, measurements)

        return tff.templates.AggregationProcess(init_fn, next_fn)

    def _combine(
        self, layout: layout_lib.Layout, addressed: buffers.Updates
    ) -> edges.EdgeAggregates:
        edge_of_client = tf.cast(addressed.rest[:, -1], tf.int32)
        updates = addressed._replace(rest=addressed.rest[:, :-1])

        def combine(edge: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            members = _select(updates, tf.equal(edge_of_client, edge))
            table, rest = self._robust.combine_fn(members, self._num_items)
            is_empty = tf.equal(members.num_clients, 0)
            table, rest = [tf.where(is_empty, tf.zeros_like(t), t) for t in (table, rest)]
            table = tf.ensure_shape(table, [layout.num_rows, layout.width])
            rest = tf.ensure_shape(rest, [layout.rest_size])
            return table, rest, tf.cast(members.num_clients, tf.float32)

        tables, rests, counts = tf.map_fn(
            combine,
            tf.range(self._num_edges),
            fn_output_signature=(
                tf.TensorSpec([layout.num_rows, layout.width]),
                tf.TensorSpec([layout.rest_size]),
                tf.TensorSpec([]),
            ),
        )
        values = [
            layout.join(table, rest)
            for table, rest in zip(
                tf.unstack(tables, self._num_edges), tf.unstack(rests, self._num_edges), strict=True
            )
        ]
        stack = tf.nest.map_structure(lambda *parts: tf.stack(parts), *values)
        return edges.EdgeAggregates(stack, tf.ensure_shape(counts, [self._num_edges]))


def _select(updates: buffers.Updates, is_member: tf.Tensor) -> buffers.Updates:
    """The updates of some clients, numbered anew."""
    number = tf.cumsum(tf.cast(is_member, tf.int32)) - 1
    is_part = tf.gather(is_member, updates.row_clients)
    return buffers.Updates(
        tf.boolean_mask(updates.row_ids, is_part),
        tf.gather(number, tf.boolean_mask(updates.row_clients, is_part)),
        tf.boolean_mask(updates.rows, is_part),
        tf.boolean_mask(updates.rest, is_member),
    )
