"""What edges do with their clients' updates: means, and sums with noise.

Each is a factory whose weights are `EdgeWeight`s and whose result is `EdgeAggregates`.
"""

# Tested in tests/aggregators/test_hierarchical.py.

from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.aggregators.hierarchical import edges


class EdgeMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """The mean of each edge's clients, plain or weighted; zero for an edge without any."""

    def __init__(self, num_edges: int, num_items: int, is_weighted: bool) -> None:
        """Initialises the factory.

        Args:
          num_edges: Number of edges.
          num_items: Rows of the dense table, for row-sparse updates.
          is_weighted: Whether clients count by their weights; otherwise all the same.
        """
        self._sum_factory = edges.EdgeSumFactory(num_edges, num_items)
        self._is_weighted = is_weighted

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update, dense or a `RowSparse`.
          weight_type: Type of an `EdgeWeight`.

        Returns:
          A stateless process; an edge's weight is the sum of its clients' (or their number).
        """

        @tff.tensorflow.computation(value_type, weight_type)
        def weigh_fn(value, weight):
            factor = weight.weight if self._is_weighted else tf.ones([])
            return edges.EdgeUpdate(weight.edge, _weigh(value, factor))

        sums = self._sum_factory.create(weigh_fn.type_signature.result)

        @tff.tensorflow.computation(sums.next.type_signature.result.result.member)
        def divide_fn(totals):
            total, weight = totals
            return edges.EdgeAggregates(
                tf.nest.map_structure(lambda t: _divide(t, weight), total), weight
            )

        @tff.federated_computation(
            sums.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            output = sums.next(state, tff.federated_map(weigh_fn, (value, weight)))
            means = tff.federated_map(divide_fn, output.result)
            return tff.templates.MeasuredProcessOutput(output.state, means, output.measurements)

        return tff.templates.AggregationProcess(sums.initialize, next_fn)


class PrivateEdgeFactory(tff.aggregators.WeightedAggregationFactory):
    """A private mean at each edge, by one query for all: see `edges.EdgeQuery` for what it costs.

    Divided by the *expected* number of an edge's clients: the realised one is private. Weights are
    not read. An edge without clients releases noise like any other, and every edge counts the same:
    anything else would tell who was there.
    """

    def __init__(
        self,
        query: tfp.SumAggregationDPQuery,
        num_edges: int,
        num_items: int,
        clients_per_edge: float,
    ) -> None:
        """Initialises the factory.

        Args:
          query: Query that clips one update, and adds noise to a sum; for `RowSparse` updates a
            `RowSparseQuery`.
          num_edges: Number of edges.
          num_items: Rows of the dense table, for row-sparse updates.
          clients_per_edge: Number of an edge's clients that are expected in a round.
        """
        mean_query = tfp.NormalizedQuery(
            edges.EdgeQuery(query, num_edges), denominator=clients_per_edge
        )
        self._num_edges = num_edges
        self._factory = tff.aggregators.DifferentiallyPrivateFactory(
            mean_query, edges.EdgeSumFactory(num_edges, num_items)
        )

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update, dense or a `RowSparse`.
          weight_type: Type of an `EdgeWeight`.

        Returns:
          A process with state and measurements of a `tff.aggregators.DifferentiallyPrivateFactory`.
        """

        @tff.tensorflow.computation(value_type, weight_type)
        def address_fn(value, weight):
            return edges.EdgeUpdate(weight.edge, value)

        private = self._factory.create(address_fn.type_signature.result)

        @tff.tensorflow.computation(private.next.type_signature.result.result.member)
        def count_fn(means):
            return edges.EdgeAggregates(means, tf.ones([self._num_edges]))

        @tff.federated_computation(
            private.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            output = private.next(state, tff.federated_map(address_fn, (value, weight)))
            means = tff.federated_map(count_fn, output.result)
            return tff.templates.MeasuredProcessOutput(output.state, means, output.measurements)

        return tff.templates.AggregationProcess(private.initialize, next_fn)


def _weigh(update: Any, weight: tf.Tensor) -> Any:
    """An update times its weight, together with the weight."""
    if isinstance(update, row_sparse.RowSparse):
        return update._replace(value=_weigh(update.value, weight))
    return tf.nest.map_structure(lambda t: t * weight, update), weight


def _divide(total: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Slot by slot; zero where the weight is."""
    weight = tf.reshape(weight, [-1, *[1] * (total.shape.rank - 1)])
    return tf.math.divide_no_nan(total, weight)
