"""Centered clipping: updates are clipped around where the server last was.

Karimireddy et al. 2021, "Learning from history for Byzantine robust optimization" (arXiv
2012.10333), algorithm 2 with one pass. Their guarantee takes clients that keep a momentum of their
own from round to round; clients of a federated recommender come and go, and have none. What stays:
no client moves the aggregate by more than `radius / n` from the one before.

The clipped differences are never made. With `f = min(1, radius / |x - v|)`,

    sum f (x - v) = sum f x - (sum f) v,    |x - v|^2 = |v|^2 - 2 <x, v> + |x|^2,

so that a row-sparse client needs the center's rows of its own items, and sends what it would have.
"""

# Tested in tests/aggregators/test_robust_norms.py.

import collections
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.aggregators.robust import norms


class _Center(NamedTuple):
    """The server's center, float32 in the dense structure of updates, and its squared norm."""

    value: Any
    square: Any


class _Sent(NamedTuple):
    """What one client sends: its scaled update, the scale, and (int32) what is counted."""

    value: Any
    factor: Any
    is_clipped: Any
    is_finite: Any


class CenteredClipFactory(tff.aggregators.UnweightedAggregationFactory):
    """A mean around a center, which is the result of the round before.

    Clients whose update is not finite are left out and do not count. Without any other the result
    is not a number, as a mean's is, and the center stays.
    """

    def __init__(self, radius: float, num_rows: int) -> None:
        """Initialises the factory.

        Args:
          radius: Largest distance of an update from the center.
          num_rows: Rows of the table, for row-sparse updates.
        """
        self._radius = radius
        self._num_rows = num_rows

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update, float32; or of a `row_sparse.RowSparse`.

        Returns:
          A process whose state is the center, dense, at first zero, and whose measurement
          `clipped_count` is how many clients were clipped.
        """
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        is_row_sparse = isinstance(specs, row_sparse.RowSparse)
        num_rows, radius = self._num_rows, self._radius
        dense_specs = tf.nest.map_structure(
            lambda spec: row_sparse.create_dense_spec(spec, num_rows),
            specs.value if is_row_sparse else specs,
        )

        @tff.tensorflow.computation
        def create_center():
            return tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), dense_specs)

        center_type = create_center.type_signature.result

        @tff.tensorflow.computation(center_type)
        def prepare(center):
            return _Center(center, _dot(center, center))

        @tff.tensorflow.computation(value_type, prepare.type_signature.result)
        def clip(value, center):
            value = row_sparse.keep_distinct(value, num_rows)
            tensors, near = value, center.value
            if is_row_sparse:
                tensors, near = value.value, _gather(value, center.value)
            square = _dot(tensors, tensors)
            is_finite = tf.math.is_finite(square)
            distance = tf.sqrt(tf.maximum(center.square - 2.0 * _dot(tensors, near) + square, 0.0))
            factor = radius / tf.maximum(distance, radius)
            factor = tf.where(is_finite, factor, 0.0)
            is_clipped = is_finite & (distance > radius)
            return _Sent(
                norms.scale(value, factor),
                factor,
                tf.cast(is_clipped, tf.int32),
                tf.cast(is_finite, tf.int32),
            )

        sent_type = clip.type_signature.result

        @tff.tensorflow.computation(center_type, center_type, sent_type.factor, sent_type.is_finite)
        def move(center, total, sum_factors, num_clients):
            count = tf.cast(num_clients, tf.float32)
            moved = tf.nest.map_structure(
                lambda c, t: c + (t - sum_factors * c) / count, center, total
            )
            is_finite = tf.math.is_finite(_dot(moved, moved))
            kept = tf.nest.map_structure(lambda m, c: tf.where(is_finite, m, c), moved, center)
            return kept, moved

        if is_row_sparse:
            total_process = row_sparse.RowSparseSumFactory(num_rows).create(value_type)
        else:
            total_process = tff.aggregators.SumFactory().create(value_type)

        @tff.federated_computation
        def init_fn():
            return tff.federated_eval(create_center, tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            center = tff.federated_broadcast(tff.federated_map(prepare, state))
            sent = tff.federated_map(clip, (value, center))
            total = total_process.next(total_process.initialize(), sent.value)
            sums = tff.federated_sum(sent.factor), tff.federated_sum(sent.is_finite)
            moved = tff.federated_map(move, (state, total.result, *sums))
            measurements = collections.OrderedDict(clipped_count=tff.federated_sum(sent.is_clipped))
            return tff.templates.MeasuredProcessOutput(
                moved[0], moved[1], tff.federated_zip(measurements)
            )

        return tff.templates.AggregationProcess(init_fn, next_fn)


def build_centered_clip(
    context: registry.AggregatorContext, *, radius: float | None = None
) -> CenteredClipFactory:
    """A mean of updates clipped around the last aggregate (Karimireddy et al. 2021, one pass).

    Args:
      context: Context that builders are given.
      radius: Largest distance of an update from the last aggregate; by default --clip_norm.

    Returns:
      The factory.

    Raises:
      UserError: If there is no radius, or it is not positive.
    """
    return CenteredClipFactory(norms.choose_norm(context, "radius", radius), context.num_items)


def _dot(first: Any, second: Any) -> tf.Tensor:
    products = tf.nest.map_structure(lambda a, b: tf.reduce_sum(a * b), first, second)
    return tf.add_n(tf.nest.flatten(products))


def _gather(value: row_sparse.RowSparse, dense: Any) -> Any:
    """The rows of a dense structure that a row-sparse one has."""
    return tf.nest.map_structure(
        lambda rows, table: tf.gather(table, value.ids) if row_sparse.is_rows(rows) else table,
        value.value,
        dense,
    )
