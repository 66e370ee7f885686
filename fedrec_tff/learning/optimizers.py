"""Optimisers by name, for the client's steps and for the server's."""

import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.learning.config import OPTIMIZERS, OptimizerConfig


def create_optimizer(config: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Creates the optimiser.

    Args:
      config: What to create.

    Returns:
      A TFF optimiser.

    Raises:
      UserError: If the name is unknown.
    """
    rate, epsilon = config.learning_rate, config.epsilon
    match config.name:
        case "sgd":
            return tff.learning.optimizers.build_sgdm(rate, config.momentum or None)
        case "adam":
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
        f"optimizer {config.name!r}: unknown; choose one of {', '.join(OPTIMIZERS)}"
    )
