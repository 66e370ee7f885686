"""How many steps an update is worth: normalised averaging of unequal local work.

FedNova (Wang et al. 2020, "Tackling the objective inconsistency problem in heterogeneous federated
optimization", arXiv 2007.07481, section 4): in plain averaging a client that takes more steps
moves the model further, so that what is minimised is no longer the mean of the clients' losses.
Each update is divided by the sum of the factors with which the steps' gradients are in it. The
paper then multiplies the mean by tau_eff, the mean of these sums over the cohort: an exact
statistic of it. Here that is left to the server's learning rate, a public number.
"""

# Tested in tests/learning/test_local_algorithms.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.config import ClientWorkConfig


def normalize(
    update: Any, work: ClientWorkConfig, num_steps: tf.Tensor, learning_rate: tf.Tensor
) -> Any:
    """Divides an update by its effective number of steps.

    Args:
      update: float32 tensors.
      work: How the client trained; by SGD.
      num_steps: int32 scalar, how often it stepped.
      learning_rate: float32 scalar, its learning rate in this round.

    Returns:
      The same structure; an update of no steps stays as it is.
    """
    effective = count_effective_steps(work, num_steps, learning_rate)
    divisor = tf.where(num_steps > 0, effective, 1.0)
    return tf.nest.map_structure(lambda t: t / divisor, update)


def count_effective_steps(
    work: ClientWorkConfig, num_steps: tf.Tensor, learning_rate: tf.Tensor
) -> tf.Tensor:
    """How far a weight moves whose gradient is one in each step, in units of the learning rate.

    With plain SGD the number of steps; momentum makes it larger, a proximal term smaller (Wang et
    al. 2020, section 4). In MimeLite momentum stays fixed within a round, and adds nothing.

    Args:
      work: How the client trains; by SGD.
      num_steps: int32 scalar.
      learning_rate: float32 scalar, the client's in this round.

    Returns:
      float32 scalar.
    """
    is_fixed = work.algorithm == learning_config.MIMELITE
    momentum = 0.0 if is_fixed else work.optimizer.momentum
    pull = work.proximal_weight * learning_rate

    def step(index: tf.Tensor, velocity: tf.Tensor, moved: tf.Tensor) -> tuple[tf.Tensor, ...]:
        velocity = momentum * velocity + 1.0 - pull * moved
        return index + 1, velocity, moved + velocity

    start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
    return tf.while_loop(lambda index, *_: index < num_steps, step, start)[2]
