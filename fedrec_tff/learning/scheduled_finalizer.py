"""The server's step, with a learning rate that may follow the round.

`tff.learning.optimizers.schedule_learning_rate` counts the steps that were taken. TFF's finalizer
takes none where the aggregate is not finite (an empty cohort's mean), and that schedule would fall
behind the round. So the round is counted here, beside the state of TFF's finalizer.
"""

# Tested in tests/learning/test_scheduled_finalizer.py and tests/learning/test_guided_process.py.

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import optimizers, row_finalizer


class ScheduledState(NamedTuple):
    """The state of a finalizer with a schedule.

    Attributes:
      round_index: int32 scalar, how many rounds were.
      optimizer: The state of the server's optimiser.
    """

    round_index: Any
    optimizer: Any


# Numbers of a model from which on it pays to compile the step, and to take it in chunks.
_MANY_NUMBERS = 2**23


class _AsItIs(tff.learning.optimizers.Optimizer):
    """An optimiser that AutoGraph leaves alone: converting it takes longer than all else here."""

    def __init__(self, optimizer: tff.learning.optimizers.Optimizer) -> None:
        self._optimizer = optimizer

    def initialize(self, specs: Any) -> Any:
        return self._optimizer.initialize(specs)

    @tf.autograph.experimental.do_not_convert
    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        return self._optimizer.next(state, weights, gradients)

    def get_hparams(self, state: Any) -> Any:
        return self._optimizer.get_hparams(state)

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        return self._optimizer.set_hparams(state, hparams)


class _Compiled(_AsItIs):
    """An optimiser whose step XLA makes few loops of, without copies between."""

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        step = tf.function(super().next, jit_compile=True, autograph=False)
        return step(state, weights, gradients)


_reject_non_finite_update = tf.autograph.experimental.do_not_convert(
    tff.learning.templates.reject_non_finite_update
)


def build_finalizer(
    optimizer: tff.learning.optimizers.Optimizer,
    weights_type: tff.Type,
    update_type: tff.Type,
    learning_rates: np.ndarray | None = None,
    moves_all_rows: bool = False,
    in_chunks: bool = True,
) -> tff.learning.templates.FinalizerProcess:
    """Applies the aggregate as if it were a gradient.

    Args:
      optimizer: Optimiser that takes the step.
      weights_type: Type of the model's `tff.learning.models.ModelWeights`.
      update_type: Type of the aggregate: that of the trainable weights, or a `RowSparse` of them.
      learning_rates: float32 [rounds], that of each round, the last one's ever after; None for the
        optimizer's own.
      moves_all_rows: Whether rows that a `RowSparse` leaves out are moved, too.
      in_chunks: Whether the step on a large dense aggregate is taken in chunks, which a context
        writes in place. Where it can't, each chunk would copy the tables.

    Returns:
      TFF's finalizer, or one that takes rows; with `learning_rates` its state is a
      `ScheduledState`.
    """
    is_large = _count_numbers(weights_type.trainable) >= _MANY_NUMBERS
    as_one = _Compiled if is_large else _AsItIs
    if row_sparse.is_row_sparse_type(update_type) and not moves_all_rows:
        finalizer = row_finalizer.build_row_finalizer(
            _AsItIs(optimizer), weights_type, update_type, moves_all_rows=False
        )
    elif row_sparse.is_row_sparse_type(update_type) or (is_large and in_chunks):
        finalizer = row_finalizer.build_row_finalizer(as_one(optimizer), weights_type, update_type)
    else:
        finalizer = tff.learning.templates.build_apply_optimizer_finalizer(
            as_one(optimizer), weights_type, _reject_non_finite_update
        )
    if learning_rates is None:
        return finalizer
    optimizer_type = finalizer.initialize.type_signature.result.member

    @tff.tensorflow.computation
    def create_first_index():
        return tf.constant(0)

    @tff.federated_computation
    def initialize_fn():
        index = tff.federated_eval(create_first_index, tff.SERVER)
        return tff.federated_zip(ScheduledState(index, finalizer.initialize()))

    @tff.tensorflow.computation(optimizer_type, np.int32)
    def set_learning_rate(state, round_index):
        rates = tf.constant(learning_rates)
        rate = tf.gather(rates, tf.minimum(round_index, len(learning_rates) - 1))
        return optimizers.set_learning_rate(optimizer, state, rate)

    @tff.tensorflow.computation(np.int32)
    def add_one(round_index):
        return round_index + 1

    @tff.federated_computation(
        initialize_fn.type_signature.result,
        tff.FederatedType(weights_type, tff.SERVER),
        tff.FederatedType(update_type, tff.SERVER),
    )
    def next_fn(state, weights, update):
        scheduled = tff.federated_map(set_learning_rate, (state.optimizer, state.round_index))
        output = finalizer.next(scheduled, weights, update)
        index = tff.federated_map(add_one, state.round_index)
        new_state = tff.federated_zip(ScheduledState(index, output.state))
        return tff.templates.MeasuredProcessOutput(new_state, output.result, output.measurements)

    return tff.learning.templates.FinalizerProcess(initialize_fn, next_fn)


def _count_numbers(value_type: tff.Type) -> int:
    specs = tf.nest.flatten(tff.types.type_to_tf_tensor_specs(value_type))
    return sum(spec.shape.num_elements() for spec in specs)
