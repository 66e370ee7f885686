"""The server's step on a table, some thousand rows at a time: those that were sent, or all.

What lies between old and new rows is then never in memory for a whole table, nor for all that a
cohort sent, and stays in a core's cache. Optimizers here work number by number, so that the steps
are the same. In the graph, tables are carried by a loop that writes its rows into them, in the form
that a context can write in place.

An optimizer that leaves a weight alone where its gradient is zero, as plain SGD and Adagrad do,
takes the same step on the rows that a cohort sent as on the whole table. Adam would move rows that
nobody sent, too, by what it remembers: not to do so is what is known as lazy Adam
(`LazyAdamOptimizer` of TensorFlow 1, `SparseAdam` of PyTorch). A row's moments decay in the rounds
in which it is sent, and the step that corrects their bias counts all rounds. To catch up exactly
with what Adam would have done meanwhile takes a loop over the missed rounds for each row that a
client reads, since its second moment decays under a root that has an epsilon beside it.
"""

# Tested in tests/learning/test_row_finalizer.py.

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import optimizers

# Rows that are moved at once.
_ROWS_AT_ONCE = 2**15


def build_row_finalizer(
    optimizer: tff.learning.optimizers.Optimizer,
    weights_type: tff.Type,
    update_type: tff.Type,
    moves_all_rows: bool = True,
) -> tff.learning.templates.FinalizerProcess:
    """Applies an aggregate as if it were a gradient, chunk of rows after chunk.

    A round whose aggregate is not finite, or that has no rows, changes nothing.

    Args:
      optimizer: Optimiser that takes the step, number by number.
      weights_type: Type of the model's `tff.learning.models.ModelWeights`.
      update_type: Type of the aggregate: that of the trainable weights, or a `RowSparse` of their
        structure, whose `ids` are ascending and distinct.
      moves_all_rows: Whether rows that a `RowSparse` leaves out are moved, too, by a gradient of
        zero.

    Returns:
      A finalizer with the state and the measurements of TFF's own
      `build_apply_optimizer_finalizer`.
    """
    specs = tff.types.type_to_tf_tensor_specs(weights_type.trainable)
    if row_sparse.is_row_sparse_type(update_type):
        row_specs = tff.types.type_to_tf_tensor_specs(update_type.value)
        is_table = tf.nest.map_structure(row_sparse.is_rows, row_specs)
        create_rows = _create_padded_rows if moves_all_rows else _create_sent_rows
    else:
        is_table = _find_tables(specs)
        create_rows = _create_all_rows
    leaves = zip(tf.nest.flatten(specs), tf.nest.flatten(is_table), strict=True)
    num_rows = next(leaf.shape[0] for leaf, has_rows in leaves if has_rows)
    is_state_table = _find_row_states(optimizer, specs, is_table)

    @tff.tensorflow.computation
    def create_state():
        return optimizers.create_state(optimizer, specs)

    state_type = create_state.type_signature.result

    @tff.tensorflow.computation(state_type, weights_type, update_type)
    @tf.autograph.experimental.do_not_convert
    def take_step(state, weights, update):
        rows = create_rows(update, num_rows)
        is_good = (rows.count > 0) & _is_finite(rows.gradient)
        count = tf.where(is_good, rows.count, 0)
        old = state, weights.trainable
        has_rows = tf.nest.flatten((is_state_table, is_table))

        def move(begin: tf.Tensor, *current: tf.Tensor) -> tuple[tf.Tensor, ...]:
            end = tf.minimum(begin + _ROWS_AT_ONCE, count)
            # What has no rows takes the same step with each chunk, from where it was.
            read = [
                rows.read(table, begin, end) if has else leaf
                for table, leaf, has in zip(current, tf.nest.flatten(old), has_rows, strict=True)
            ]
            gradient = tf.nest.map_structure(
                lambda leaf, has: rows.slice(leaf, begin, end) if has else leaf,
                rows.gradient,
                is_table,
            )
            moved = optimizer.next(*tf.nest.pack_sequence_as(old, read), gradient)
            ids = rows.ids(begin, end)[:, tf.newaxis]
            written = [
                tf.tensor_scatter_nd_update(table, ids, value) if has else value
                for table, value, has in zip(current, tf.nest.flatten(moved), has_rows, strict=True)
            ]
            return (end, *written)

        _, *moved = tf.while_loop(
            lambda begin, *_: begin < count, move, (tf.constant(0), *tf.nest.flatten(old))
        )
        new_state, trainable = tf.nest.pack_sequence_as(old, moved)
        return (
            new_state,
            tff.learning.models.ModelWeights(trainable, weights.non_trainable),
            collections.OrderedDict(update_non_finite=tf.cast(~is_good, tf.int32)),
        )

    @tff.federated_computation
    def initialize_fn():
        return tff.federated_eval(create_state, tff.SERVER)

    @tff.federated_computation(
        initialize_fn.type_signature.result,
        tff.FederatedType(weights_type, tff.SERVER),
        tff.FederatedType(update_type, tff.SERVER),
    )
    def next_fn(state, weights, update):
        new_state, new_weights, measurements = tff.federated_map(
            take_step, (state, weights, update)
        )
        return tff.templates.MeasuredProcessOutput(new_state, new_weights, measurements)

    return tff.learning.templates.FinalizerProcess(initialize_fn, next_fn)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows that are moved, one behind the other.

    Attributes:
      count: int32 scalar, how many there are.
      gradient: What they are moved by, in the structure of the weights.
      slice: Function from a tensor of the gradient, a first row and a last one, exclusive, to what
        these are moved by.
      ids: Function from a first and a last row to their places in the tables.
      read: Function from a table, a first and a last row to these.
    """

    count: tf.Tensor
    gradient: Any
    slice: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    ids: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    read: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _slice(tensor: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    return tensor[begin:end]


def _create_sent_rows(update: row_sparse.RowSparse, num_rows: int) -> _Rows:
    del num_rows
    ids, gradient = update
    return _Rows(
        tf.size(ids),
        gradient,
        _slice,
        ids=lambda begin, end: ids[begin:end],
        read=lambda table, begin, end: tf.gather(table, ids[begin:end]),
    )


def _create_all_rows(update: Any, num_rows: int) -> _Rows:
    return _Rows(tf.constant(num_rows), update, _slice, ids=tf.range, read=_slice)


def _create_padded_rows(update: row_sparse.RowSparse, num_rows: int) -> _Rows:
    """All rows; those that were not sent have a gradient of zero."""

    def pad(rows: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
        first, last = tf.unstack(tf.searchsorted(update.ids, tf.stack([begin, end])))
        places = (update.ids[first:last] - begin)[:, tf.newaxis]
        shape = tf.concat([[end - begin], rows.shape[1:]], 0)
        return tf.scatter_nd(places, rows[first:last], shape)

    all_rows = _create_all_rows(update.value, num_rows)
    return dataclasses.replace(all_rows, slice=pad)


def _find_tables(specs: Any) -> Any:
    """Which tensors have as many rows as the largest one."""
    leaves = tf.nest.flatten(specs)
    num_rows = max(leaves, key=lambda spec: spec.shape.num_elements()).shape[:1]
    return tf.nest.map_structure(lambda spec: spec.shape[:1] == num_rows, specs)


def _find_row_states(
    optimizer: tff.learning.optimizers.Optimizer, specs: Any, is_table: Any
) -> Any:
    """Which tensors of the optimizer's state have a row for each row of the tables."""

    def create_state(num_more_rows: int) -> Any:
        def stretch(spec: tf.TensorSpec, is_rows: bool) -> tf.TensorSpec:
            if not is_rows:
                return spec
            return tf.TensorSpec([spec.shape[0] + num_more_rows, *spec.shape[1:]], spec.dtype)

        return optimizers.create_state(optimizer, tf.nest.map_structure(stretch, specs, is_table))

    # Of these only shapes are looked at.
    with tf.Graph().as_default():
        return tf.nest.map_structure(
            lambda one, other: one.shape != other.shape, create_state(0), create_state(1)
        )


def _is_finite(tensors: Any) -> tf.Tensor:
    leaves = [tf.reduce_all(tf.math.is_finite(leaf)) for leaf in tf.nest.flatten(tensors)]
    return tf.reduce_all(tf.stack(leaves))
