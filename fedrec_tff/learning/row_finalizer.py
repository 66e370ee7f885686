"""The server's step on the rows that a cohort sent, and on no others.

An optimizer that leaves a weight alone where its gradient is zero, as plain SGD and Adagrad do,
takes the same step as on the whole table. Adam would move rows that nobody sent, too, by what it
remembers: not to do so is what is known as lazy Adam (`LazyAdamOptimizer` of TensorFlow 1,
`SparseAdam` of PyTorch). A row's moments decay in the rounds in which it is sent, and the step that
corrects their bias counts all rounds. To catch up exactly with what Adam would have done meanwhile
takes a loop over the missed rounds for each row that a client reads, since its second moment decays
under a root that has an epsilon beside it.
"""

# Tested in tests/learning/test_row_finalizer.py.

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import optimizers


def build_row_finalizer(
    optimizer: tff.learning.optimizers.Optimizer, weights_type: tff.Type, update_type: tff.Type
) -> tff.learning.templates.FinalizerProcess:
    """Applies a row-sparse aggregate as if it were a gradient.

    A round whose aggregate is not finite, or that has no rows, changes nothing.

    Args:
      optimizer: Optimiser that takes the step.
      weights_type: Type of the model's `tff.learning.models.ModelWeights`.
      update_type: Type of the aggregate: a `RowSparse` of the trainable weights' structure, whose
        `ids` are distinct.

    Returns:
      A finalizer with the state and the measurements of TFF's own
      `build_apply_optimizer_finalizer`.
    """
    specs = tff.types.type_to_tf_tensor_specs(weights_type.trainable)
    row_specs = tff.types.type_to_tf_tensor_specs(update_type.value)
    is_table = tf.nest.map_structure(row_sparse.is_rows, row_specs)
    has_rows = _find_row_states(optimizer, specs, is_table)

    @tff.tensorflow.computation
    def create_state():
        return optimizers.create_state(optimizer, specs)

    state_type = create_state.type_signature.result

    @tff.tensorflow.computation(state_type, weights_type, update_type)
    @tf.autograph.experimental.do_not_convert
    def take_step(state, weights, update):
        ids, gradient = update
        is_good = (tf.size(ids) > 0) & _is_finite(gradient)
        # Of a round that changes nothing no rows are read or written.
        ids, gradient = (
            _take_if(is_good, ids),
            tf.nest.map_structure(
                lambda leaf, is_rows: _take_if(is_good, leaf) if is_rows else leaf,
                gradient,
                is_table,
            ),
        )
        old = _gather(state, has_rows, ids), _gather(weights.trainable, is_table, ids)
        new_state, new_rows = optimizer.next(*old, gradient)
        trainable = _scatter(weights.trainable, new_rows, is_table, ids, is_good)
        return (
            _scatter(state, new_state, has_rows, ids, is_good),
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


def _take_if(condition: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """All rows, or none."""
    return rows[: tf.where(condition, tf.shape(rows)[0], 0)]


def _gather(tensors: Any, has_rows: Any, ids: tf.Tensor) -> Any:
    """The rows of those that have rows; the others whole."""
    return tf.nest.map_structure(
        lambda tensor, is_rows: tf.gather(tensor, ids) if is_rows else tensor, tensors, has_rows
    )


def _scatter(old: Any, new: Any, has_rows: Any, ids: tf.Tensor, is_good: tf.Tensor) -> Any:
    """The whole tensors with their new rows, in the form that a context can write in place."""

    def write(tensor: tf.Tensor, value: tf.Tensor, is_rows: bool) -> tf.Tensor:
        if is_rows:
            return tf.tensor_scatter_nd_update(tensor, ids[:, tf.newaxis], value)
        return tf.where(is_good, value, tensor)

    return tf.nest.map_structure(write, old, new, has_rows)
