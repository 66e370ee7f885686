"""Sums of row-sparse updates that stay row-sparse: the rows that a cohort sent, once each.

Clients' rows are kept one behind the other in a list with room for those of any cohort, and summed
by row at the end. A round then costs what its clients sent, however large the table.
"""

# Tested in tests/aggregators/test_row_lists.py.

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse

# What the contexts' errors say.
_TOO_MANY_ROWS = "a_round_had_more_table_rows_than_there_is_room_for"


class RowListSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Sums `RowSparse` values into one `RowSparse`.

    Its `ids` are ascending and distinct: every row that a client sent, also where the sum is zero.
    """

    def __init__(
        self, num_rows: int, max_sent_rows: int, row_dtype: tf.DType | None = None
    ) -> None:
        """Initialises the factory.

        Args:
          num_rows: Rows of the dense table.
          max_sent_rows: Number of rows, padding left out, that the clients of a round may send
            together; more fail the round.
          row_dtype: The type that clients' rows are kept in until they are summed, which must hold
            each number of them; None for their own.
        """
        self._num_rows = num_rows
        self._row_dtype = row_dtype
        self._max_sent_rows = max_sent_rows

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of a `RowSparse`.

        Returns:
          A stateless process whose result is a `RowSparse` of the same type.

        Raises:
          TypeError: If `value_type` is no `RowSparse`.
        """
        row_sparse.check_row_sparse(value_type)
        specs = tff.types.type_to_tf_tensor_specs(value_type.value)
        places = self._max_sent_rows + 1

        @tff.tensorflow.computation
        def zero_fn():
            value = tf.nest.map_structure(lambda spec: self._create_empty_list(spec, places), specs)
            return collections.OrderedDict(
                num_sent=tf.constant(0), ids=tf.zeros([places], tf.int32), value=value
            )

        accumulator_type = zero_fn.type_signature.result

        @tff.tensorflow.computation(accumulator_type, value_type)
        def accumulate_fn(accumulator, value):
            return _append_client(accumulator, value, specs, self._num_rows, self._max_sent_rows)

        return row_sparse.build_sum(
            value_type,
            zero_fn,
            accumulate_fn,
            merge=lambda first, second: _merge(first, second, specs),
            report=lambda a: _sum_rows(a, specs, self._num_rows, self._max_sent_rows),
        )

    def _create_empty_list(self, spec: tf.TensorSpec, places: int) -> tf.Tensor:
        if not row_sparse.is_rows(spec):
            return tf.zeros(spec.shape, spec.dtype)
        return tf.zeros([places, *spec.shape[1:]], self._row_dtype or spec.dtype)


def _append_client(
    accumulator: Any, value: row_sparse.RowSparse, specs: Any, num_rows: int, max_sent_rows: int
) -> Any:
    """Writes a client's rows behind the others'; padding at their end is overwritten by the next.

    What finds no room is written to a spare place at the end.
    """
    value = row_sparse.keep_distinct(value, num_rows)
    ids, num_sent = value.ids, accumulator["num_sent"]
    position = tf.range(tf.size(ids))
    is_new = tf.concat([tf.fill([tf.minimum(tf.size(ids), 1)], True), ids[1:] > ids[:-1]], axis=0)
    length = tf.maximum(tf.reduce_max(tf.where(is_new, position + 1, 0)), 0)
    places = tf.minimum(num_sent + position, max_sent_rows)[:, tf.newaxis]

    def add(spec: tf.TensorSpec, total: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
        if row_sparse.is_rows(spec):
            return tf.tensor_scatter_nd_update(total, places, tf.cast(part, total.dtype))
        return total + part

    return collections.OrderedDict(
        num_sent=num_sent + length,
        ids=tf.tensor_scatter_nd_update(accumulator["ids"], places, ids),
        value=tf.nest.map_structure(add, specs, accumulator["value"], value.value),
    )


def _merge(first: Any, second: Any, specs: Any) -> Any:
    """The rows of one list, then those of the other."""

    def append(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        size = one.shape[0]
        begin = tf.minimum(first["num_sent"], size)
        count = tf.minimum(second["num_sent"], size - begin)
        joined = tf.concat([one[:begin], other[:count], one[begin + count :]], axis=0)
        return tf.ensure_shape(joined, one.shape)

    return collections.OrderedDict(
        num_sent=first["num_sent"] + second["num_sent"],
        ids=append(first["ids"], second["ids"]),
        value=tf.nest.map_structure(
            lambda spec, one, other: (
                append(one, other) if row_sparse.is_rows(spec) else one + other
            ),
            specs,
            first["value"],
            second["value"],
        ),
    )


def _sum_rows(
    accumulator: Any, specs: Any, num_rows: int, max_sent_rows: int
) -> row_sparse.RowSparse:
    """Adds up the rows of each id."""
    num_sent = accumulator["num_sent"]
    check = tf.debugging.assert_less_equal(num_sent, max_sent_rows, name=_TOO_MANY_ROWS)
    with tf.control_dependencies([check]):
        ids = accumulator["ids"][:num_sent]
    is_sent = tf.scatter_nd(ids[:, tf.newaxis], tf.ones_like(ids), [num_rows]) > 0
    distinct = tf.cast(tf.where(is_sent)[:, 0], tf.int32)
    place_of_row = tf.cumsum(tf.cast(is_sent, tf.int32)) - 1
    places, num_distinct = tf.gather(place_of_row, ids), tf.size(distinct)

    def total(spec: tf.TensorSpec, rows: tf.Tensor) -> tf.Tensor:
        if not row_sparse.is_rows(spec):
            return rows
        rows = tf.cast(rows[:num_sent], spec.dtype)
        return tf.math.unsorted_segment_sum(rows, places, num_distinct)

    value = tf.nest.map_structure(total, specs, accumulator["value"])
    return row_sparse.RowSparse(distinct, value)
