"""Row-sparse updates: sums and means whose cost follows the rows sent, not the table.

A client that used 200 of a million items sends 200 rows and their ids. Summing scatters them into
a dense accumulator; the L2 norm that clipping sees is that of the dense update, because each id
has one row (padding rows are zero).
"""

# Tested in tests/aggregators/test_row_sparse.py and tests/aggregators/test_row_lists.py.

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

import dp_accounting
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.privacy import table_rows


class RowSparse(NamedTuple):
    """A structure of which some tensors are rows of a larger table.

    Attributes:
      ids: int32 [rows], the table row that each row belongs to. The number of rows is unknown to
        the type (`None`). Private aggregators want them ascending, and take the first row of each
        id; the others are padding.
      value: Any structure. A tensor of it whose first dimension is unknown (`None`) holds one row
        for each id; every other tensor is dense.
    """

    ids: Any
    value: Any


def is_rows(spec: tf.TensorSpec) -> bool:
    """Whether a tensor of `RowSparse.value` holds one row for each id."""
    return spec.shape.rank > 0 and spec.shape[0] is None


def create_dense_spec(spec: tf.TensorSpec, num_rows: int) -> tf.TensorSpec:
    """The spec of the dense tensor that a row tensor is summed into; others stay as they are."""
    if is_rows(spec):
        return tf.TensorSpec([num_rows, *spec.shape[1:]], spec.dtype)
    return spec


def keep_distinct(value: Any, num_rows: int) -> Any:
    """Makes the norm of the rows of a `RowSparse` that of the dense update.

    Rows whose id is not above the one before, or not in the table, become zero, and so do all rows
    of a client whose ids are not ascending: two rows of one id add up to more than either.

    Args:
      value: A `RowSparse`, or any other structure of tensors, which stays as it is.
      num_rows: Rows of the dense table.

    Returns:
      The same structure; ids are in the table.
    """
    if not isinstance(value, RowSparse):
        return value
    keep = _find_distinct(value.ids, num_rows)

    def mask(tensor: tf.Tensor) -> tf.Tensor:
        if not is_rows(tensor):
            return tensor
        shape = tf.concat([tf.shape(keep), [1] * (tensor.shape.rank - 1)], axis=0)
        return tf.where(tf.reshape(keep, shape), tensor, tf.zeros_like(tensor))

    ids = tf.clip_by_value(value.ids, 0, num_rows - 1)
    return RowSparse(ids, tf.nest.map_structure(mask, value.value))


class RowSparseSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Sums `RowSparse` values into the dense form of their `value`."""

    def __init__(self, num_rows: int) -> None:
        """Initialises the factory.

        Args:
          num_rows: Rows of the dense table.
        """
        self._num_rows = num_rows

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of a `RowSparse`.

        Returns:
          A stateless process whose result has the structure of `RowSparse.value`, dense.

        Raises:
          TypeError: If `value_type` is no `RowSparse`.
        """
        check_row_sparse(value_type)
        value_specs = tff.types.type_to_tf_tensor_specs(value_type.value)

        @tff.tensorflow.computation
        def zero_fn():
            return tf.nest.map_structure(
                lambda spec: _zeros(create_dense_spec(spec, self._num_rows)), value_specs
            )

        accumulator_type = zero_fn.type_signature.result

        @tff.tensorflow.computation(accumulator_type, value_type)
        def accumulate_fn(accumulator, value):
            ids = value.ids[:, tf.newaxis]

            def add(spec: tf.TensorSpec, total: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
                if is_rows(spec):
                    return tf.tensor_scatter_nd_add(total, ids, part)
                return total + part

            return tf.nest.map_structure(add, value_specs, accumulator, value.value)

        return build_sum(value_type, zero_fn, accumulate_fn)


def _add(first: Any, second: Any) -> Any:
    return tf.nest.map_structure(tf.add, first, second)


def _keep(accumulator: Any) -> Any:
    return accumulator


def build_sum(
    value_type: tff.Type,
    zero_fn: tff.Computation,
    accumulate_fn: tff.Computation,
    merge: Callable[[Any, Any], Any] = _add,
    report: Callable[[Any], Any] = _keep,
) -> tff.templates.AggregationProcess:
    """Builds a stateless process that adds values up in an accumulator of another type.

    Args:
      value_type: Type of a client's value.
      zero_fn: Computation that makes the accumulator, floats or integers in any structure.
      accumulate_fn: Computation that adds a value to the accumulator.
      merge: TensorFlow function of two accumulators; by default their sum.
      report: TensorFlow function of the accumulator of all clients; by default that itself.

    Returns:
      A process whose result is what `report` makes of the accumulator of all clients.
    """
    accumulator_type = zero_fn.type_signature.result

    @tff.tensorflow.computation(accumulator_type, accumulator_type)
    def merge_fn(first, second):
        return merge(first, second)

    @tff.tensorflow.computation(accumulator_type)
    def report_fn(accumulator):
        return report(accumulator)

    @tff.federated_computation
    def init_fn():
        return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
    )
    def next_fn(state, value):
        total = tff.federated_aggregate(value, zero_fn(), accumulate_fn, merge_fn, report_fn)
        measurements = tff.federated_value((), tff.SERVER)
        return tff.templates.MeasuredProcessOutput(state, total, measurements)

    return tff.templates.AggregationProcess(init_fn, next_fn)


class RowSparseWeightedMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """The weighted mean of `RowSparse` values, in the form that their sum has.

    Not a number where all weights are zero, as in TFF's own means: the finalizer then leaves model
    and server optimizer as they are.
    """

    def __init__(
        self,
        num_rows: int,
        sum_factory: tff.aggregators.UnweightedAggregationFactory | None = None,
    ) -> None:
        """Initialises the factory.

        Args:
          num_rows: Rows of the dense table.
          sum_factory: What sums `RowSparse` values, if not a `RowSparseSumFactory`: its result may
            be a `RowSparse` again.
        """
        self._sum_factory = sum_factory or RowSparseSumFactory(num_rows)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of a `RowSparse`.
          weight_type: A float32 scalar.

        Returns:
          A stateless process.

        Raises:
          TypeError: If `value_type` is no `RowSparse`.
        """
        check_row_sparse(value_type)
        sum_process = self._sum_factory.create(value_type)

        @tff.tensorflow.computation(value_type, weight_type)
        def weigh_fn(value, weight):
            scaled = tf.nest.map_structure(lambda t: t * weight, value.value)
            return RowSparse(value.ids, scaled)

        @tff.tensorflow.computation(
            sum_process.next.type_signature.result.result.member, weight_type
        )
        def divide_fn(total, weight):
            if isinstance(total, RowSparse):
                return total._replace(value=_divide(total.value, weight))
            return _divide(total, weight)

        @tff.federated_computation(
            sum_process.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            total = sum_process.next(state, tff.federated_map(weigh_fn, (value, weight)))
            mean = tff.federated_map(divide_fn, (total.result, tff.federated_sum(weight)))
            return tff.templates.MeasuredProcessOutput(total.state, mean, total.measurements)

        return tff.templates.AggregationProcess(sum_process.initialize, next_fn)


class RowSparseMeanFactory(tff.aggregators.UnweightedAggregationFactory):
    """The plain mean of `RowSparse` values; not a number for an empty cohort."""

    def __init__(
        self,
        num_rows: int,
        sum_factory: tff.aggregators.UnweightedAggregationFactory | None = None,
    ) -> None:
        """Initialises the factory.

        Args:
          num_rows: Rows of the dense table.
          sum_factory: As in `RowSparseWeightedMeanFactory`.
        """
        self._weighted_factory = RowSparseWeightedMeanFactory(num_rows, sum_factory)

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of a `RowSparse`.

        Returns:
          A stateless process.

        Raises:
          TypeError: If `value_type` is no `RowSparse`.
        """
        weighted = self._weighted_factory.create(value_type, tff.TensorType(np.float32))

        @tff.federated_computation(
            weighted.initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            return weighted.next(state, value, tff.federated_value(1.0, tff.CLIENTS))

        return tff.templates.AggregationProcess(weighted.initialize, next_fn)


class RowSparseQuery(tfp.SumAggregationDPQuery):
    """Applies a sum query to `RowSparse` records: clips the rows, leaves the ids.

    The norm of the rows is the norm of the dense update, so clipping and sensitivity are those of
    the inner query. That holds only where an id has one row: two rows of half the clip each would
    add up to one of more than half. So what a client may send is not taken on trust: rows whose id
    is not above the one before, or not in the table, count as zero, and so do all rows of a client
    whose ids are not ascending. Made for `tff.aggregators.DifferentiallyPrivateFactory` with
    `RowSparseSumFactory` or `RowListSumFactory` as its record aggregation; noise is dense.
    """

    def __init__(
        self, inner: tfp.SumAggregationDPQuery, num_rows: int, sums_are_rows: bool = False
    ) -> None:
        """Wraps a query.

        Args:
          inner: Query that clips records and adds noise to their sum.
          num_rows: Rows of the dense table.
          sums_are_rows: Whether sums are a `RowSparse`; the inner query then gets the tables of the
            sum as `TableRows`, and the result is dense all the same.
        """
        self._inner = inner
        self._num_rows = num_rows
        self._sums_are_rows = sums_are_rows

    def initial_global_state(self) -> Any:
        """The inner query's."""
        return self._inner.initial_global_state()

    def derive_sample_params(self, global_state: Any) -> Any:
        """The inner query's."""
        return self._inner.derive_sample_params(global_state)

    def initial_sample_state(self, template: RowSparse) -> Any:
        """The inner query's, for the dense form of `template.value` (specs), or for no rows."""
        num_rows = 0 if self._sums_are_rows else self._num_rows
        state = self._inner.initial_sample_state(
            tf.nest.map_structure(lambda spec: create_dense_spec(spec, num_rows), template.value)
        )
        return RowSparse(tf.zeros([0], tf.int32), state) if self._sums_are_rows else state

    def preprocess_record(self, params: Any, record: RowSparse) -> RowSparse:
        """Clips the record's value, keeps its ids."""
        ids, value = keep_distinct(record, self._num_rows)
        return RowSparse(ids, self._inner.preprocess_record(params, value))

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """Adds the inner query's noise to all rows of the sum."""
        if self._sums_are_rows:
            ids, value = sample_state
            sample_state = tf.nest.map_structure(
                lambda leaf: (
                    table_rows.TableRows(ids, leaf, self._num_rows) if is_rows(leaf) else leaf
                ),
                value,
            )
        return self._inner.get_noised_result(sample_state, global_state)

    def derive_metrics(self, global_state: Any) -> collections.OrderedDict[str, tf.Tensor]:
        """The inner query's."""
        return self._inner.derive_metrics(global_state)


def _find_distinct(ids: tf.Tensor, num_rows: int) -> tf.Tensor:
    """Which rows are the first of an id above all before, in the table: bool [rows]."""
    is_new = tf.concat([tf.fill([tf.minimum(tf.size(ids), 1)], True), ids[1:] > ids[:-1]], axis=0)
    is_ascending = tf.reduce_all(ids[1:] >= ids[:-1])
    return is_new & is_ascending & (ids >= 0) & (ids < num_rows)


def _divide(value: Any, weight: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda t: t / weight, value)


def _zeros(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros(spec.shape, spec.dtype)


def check_row_sparse(value_type: tff.Type) -> None:
    """Refuses a type that is not that of a `RowSparse`.

    Args:
      value_type: Type to check.

    Raises:
      TypeError: If it is any other.
    """
    if not is_row_sparse_type(value_type):
        raise TypeError(f"expected the type of a RowSparse, found {value_type}")


def is_row_sparse_type(value_type: tff.Type) -> bool:
    """Whether a type is that of a `RowSparse`."""
    is_struct = isinstance(value_type, tff.types.StructWithPythonType)
    return is_struct and value_type.python_container is RowSparse
