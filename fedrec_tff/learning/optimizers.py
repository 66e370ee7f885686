"""Optimisers by name, for the client's steps and for the server's."""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.learning.config import SERVER_OPTIMIZERS, OptimizerConfig


def create_optimizer(config: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Creates the optimiser.

    Args:
      config: Settings of the optimiser.

    Returns:
      A TFF optimiser.

    Raises:
      UserError: If the name is unknown.
    """
    rate, epsilon = config.learning_rate, config.epsilon
    match config.name:
        case "sgd":
            return tff.learning.optimizers.build_sgdm(rate, config.momentum or None)
        # What is lazy about it is the finalizer.
        case "adam" | "lazy_adam":
            return tff.learning.optimizers.build_adam(rate, epsilon=epsilon)
        case "adagrad":
            # TFF adds its epsilon under the root, where it would act as its own square root. An
            # accumulator that starts at tau squared does what tau does in Reddi et al. 2021.
            return tff.learning.optimizers.build_adagrad(
                rate, initial_preconditioner_value=epsilon**2, epsilon=0.0
            )
        case "yogi":
            return tff.learning.optimizers.build_yogi(
                rate, epsilon=epsilon, initial_preconditioner_value=epsilon**2
            )
    raise errors.UserError(
        f"optimizer {config.name!r}: unknown; choose one of {', '.join(SERVER_OPTIMIZERS)}"
    )


def create_state(optimizer: tff.learning.optimizers.Optimizer, weights: Any) -> Any:
    """An optimiser's initial state.

    Args:
      optimizer: Optimiser whose state is made.
      weights: A structure of tensors, for shapes and dtypes.

    Returns:
      A structure of tensors.
    """
    specs = tf.nest.map_structure(lambda w: tf.TensorSpec(w.shape, w.dtype), weights)
    return tf.nest.map_structure(tf.convert_to_tensor, optimizer.initialize(specs))


def set_learning_rate(
    optimizer: tff.learning.optimizers.Optimizer, state: Any, learning_rate: tf.Tensor
) -> Any:
    """Sets the learning rate in an optimiser's state.

    Args:
      optimizer: Optimiser that the state belongs to.
      state: State of the optimiser.
      learning_rate: float32 scalar, the learning rate to set.

    Returns:
      The state, of the same structure.
    """
    return optimizer.set_hparams(
        state, collections.OrderedDict({tff.learning.optimizers.LEARNING_RATE_KEY: learning_rate})
    )
