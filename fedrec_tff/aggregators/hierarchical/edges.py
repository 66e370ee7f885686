"""Edges between clients and server: sums by edge.

Which edge a user belongs to is told to its client (`ClientData.edge`): always the same one, public,
and a function of the user's own id alone. A user who joins or leaves moves nobody else to another
edge, or one user would move more than one slot.

Everything an edge holds is slot `e` of a stack: a dense update of shape `[...]` becomes
`[num_edges, ...]`, and a client adds its update to the slot of its edge.
"""

# Tested in tests/aggregators/test_hierarchical.py.

import collections
from typing import Any, NamedTuple

import dp_accounting
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import row_sparse


class EdgeWeight(NamedTuple):
    """What a client's update comes with, in the place of a plain weight.

    A weight passes unread through whatever steps stand before an aggregator, and so does the edge.

    Attributes:
      weight: float32 scalar, what the client counts at its edge, where that counts.
      edge: int32 scalar, in [0, num_edges).
    """

    weight: Any
    edge: Any


class EdgeUpdate(NamedTuple):
    """An update on its way to a slot.

    Attributes:
      edge: int32 scalar, the client's edge.
      value: A structure of float32 tensors, or a `row_sparse.RowSparse` of one.
    """

    edge: Any
    value: Any


class EdgeAggregates(NamedTuple):
    """What all edges have after a round.

    Attributes:
      value: The dense structure of an update, each tensor with a leading `[num_edges]`.
      weight: float32 [num_edges], what each edge counts; zero for one that has nothing to say.
    """

    value: Any
    weight: Any


EDGE_WEIGHT_TYPE = tff.to_type(
    EdgeWeight(weight=tff.TensorType(np.float32), edge=tff.TensorType(np.int32))
)


def create_stacked_spec(spec: tf.TensorSpec, num_edges: int, num_items: int) -> tf.TensorSpec:
    """The spec of the stack that a tensor of an update is summed into."""
    dense = row_sparse.create_dense_spec(spec, num_items)
    return tf.TensorSpec([num_edges, *dense.shape], dense.dtype)


class EdgeSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Sums `EdgeUpdate`s by edge: the dense form of their `value`, stacked."""

    def __init__(self, num_edges: int, num_items: int) -> None:
        """Initialises the factory.

        Args:
          num_edges: Number of edges.
          num_items: Rows of the dense table, for row-sparse values.
        """
        self._num_edges, self._num_items = num_edges, num_items

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an `EdgeUpdate`.

        Returns:
          A stateless process. The cost of a row-sparse client follows its rows.
        """
        specs = tff.types.type_to_tf_tensor_specs(value_type).value
        is_row_sparse = isinstance(specs, row_sparse.RowSparse)
        if is_row_sparse:
            specs = specs.value

        @tff.tensorflow.computation
        def zero_fn():
            return tf.nest.map_structure(
                lambda spec: _zeros(create_stacked_spec(spec, self._num_edges, self._num_items)),
                specs,
            )

        accumulator_type = zero_fn.type_signature.result

        @tff.tensorflow.computation(accumulator_type, value_type)
        def accumulate_fn(accumulator, update):
            value, slot = update.value, [[update.edge]]
            if is_row_sparse:
                ids, value = value.ids, value.value
                slots = tf.stack([tf.fill(tf.shape(ids), update.edge), ids], axis=1)

            def add(spec: tf.TensorSpec, total: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
                if is_row_sparse and row_sparse.is_rows(spec):
                    return tf.tensor_scatter_nd_add(total, slots, part)
                return tf.tensor_scatter_nd_add(total, slot, part[tf.newaxis])

            return tf.nest.map_structure(add, specs, accumulator, value)

        return row_sparse.build_sum(value_type, zero_fn, accumulate_fn)


class EdgeQuery(tfp.SumAggregationDPQuery):
    """Applies a sum query to `EdgeUpdate`s, and releases the sums of all edges.

    A record is clipped by the inner query and added to one slot, so that the stack of all sums, as
    one vector, moves by no more than the clip whoever joins or leaves: a record is zero in all
    slots but its own, whatever edge it names. The inner query adds its noise to every number of the
    stack. So what all edges release together in a round is one release of the inner query, at its
    sensitivity and noise: with Gaussian noise, one Gaussian mechanism of the same noise multiplier,
    and not one for each edge. (This is parallel composition over users who are in one edge each.)
    """

    def __init__(self, inner: tfp.SumAggregationDPQuery, num_edges: int) -> None:
        """Wraps a query.

        Args:
          inner: Query that clips records and adds noise to their (stacked) sum, number by number.
          num_edges: Number of edges.
        """
        self._inner, self._num_edges = inner, num_edges

    def initial_global_state(self) -> Any:
        """The inner query's."""
        return self._inner.initial_global_state()

    def derive_sample_params(self, global_state: Any) -> Any:
        """The inner query's."""
        return self._inner.derive_sample_params(global_state)

    def initial_sample_state(self, template: EdgeUpdate) -> Any:
        """The inner query's for `template.value` (specs), once for each edge."""
        return tf.nest.map_structure(
            lambda t: tf.zeros([self._num_edges, *t.shape], t.dtype),
            self._inner.initial_sample_state(template.value),
        )

    def preprocess_record(self, params: Any, record: EdgeUpdate) -> EdgeUpdate:
        """Clips the record; an edge that does not exist is not taken on trust."""
        edge = tf.clip_by_value(record.edge, 0, self._num_edges - 1)
        return EdgeUpdate(edge, self._inner.preprocess_record(params, record.value))

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds the inner query's noise to all slots."""
        return self._inner.get_noised_result(sample_state, global_state)

    def derive_metrics(self, global_state: Any) -> collections.OrderedDict[str, tf.Tensor]:
        """The inner query's."""
        return self._inner.derive_metrics(global_state)


def _zeros(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros(spec.shape, spec.dtype)
