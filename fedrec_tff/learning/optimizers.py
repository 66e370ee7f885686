"""Optimisers by name, for the client's steps and for the server's."""

import dataclasses

import tensorflow_federated as tff

from fedrec_tff import errors

SERVER_OPTIMIZERS = ("sgd", "adam", "adagrad", "yogi")
CLIENT_OPTIMIZERS = SERVER_OPTIMIZERS


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser and its hyperparameters.

    On the server `sgd` makes FedAvg (FedAvgM with momentum), and the others FedAdam, FedAdagrad
    and FedYogi (Reddi et al. 2021, arXiv 2003.00295).

    Attributes:
      name: One of `SERVER_OPTIMIZERS`.
      learning_rate: The step size.
      momentum: For `sgd` alone; 0 for none.
      epsilon: The adaptivity constant of the others (tau in Reddi et al.).
    """

    name: str
    learning_rate: float
    momentum: float = 0.0
    epsilon: float = 1e-3

    @property
    def is_stateless(self) -> bool:
        """Whether nothing is kept for each weight."""
        return self.name == "sgd" and not self.momentum


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
            # An accumulator that starts at zero, as in Reddi et al. 2021 with tau = epsilon.
            return tff.learning.optimizers.build_adagrad(
                rate, initial_preconditioner_value=epsilon**2, epsilon=epsilon
            )
        case "yogi":
            return tff.learning.optimizers.build_yogi(
                rate, epsilon=epsilon, initial_preconditioner_value=epsilon**2
            )
    raise errors.UserError(
        f"optimizer {config.name!r}: unknown; choose one of {', '.join(SERVER_OPTIMIZERS)}"
    )
