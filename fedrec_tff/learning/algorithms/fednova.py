"""FedNova: normalised averaging of unequal local work.

Wang et al. 2020, "Tackling the objective inconsistency problem in heterogeneous federated
optimization" (arXiv 2007.07481), section 4. In plain averaging a client that takes more steps moves
the model further, so that what is minimised is no longer the mean of the clients' losses. With a_i
the factors with which the gradients of client i's steps are in its update,

    d_i = update_i / ||a_i||_1                       (equation 8)
    w <- w - tau_eff sum_i p_i d_i

The paper's tau_eff is the mean of ||a_i||_1 over the cohort: an exact statistic of it. Here that is
left to the server's learning rate, a public number.
"""

# Tested in tests/learning/test_local_algorithms.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.learning.algorithms.algorithm import Algorithm, Variation
from fedrec_tff.learning.config import ClientWorkConfig


class FedNova(Variation):
    """See the module; local steps are SGD's."""

    def __init__(self, inner: Algorithm, work: ClientWorkConfig) -> None:
        """Initialises the algorithm.

        Args:
          inner: Algorithm that is varied: takes the steps that are counted.
          work: Settings of client work; nothing of them is read.
        """
        del work
        super().__init__(inner)

    def finish(self, update: Any, num_steps: tf.Tensor, learning_rate: tf.Tensor) -> Any:
        """d_i; an update of no steps stays as it is."""
        effective = self.count_effective_steps(num_steps, learning_rate)
        divisor = tf.where(num_steps > 0, effective, 1.0)
        update = self.inner.finish(update, num_steps, learning_rate)
        return tf.nest.map_structure(lambda t: t / divisor, update)

    def count_effective_steps(self, num_steps: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """||a_i||_1: how far a weight moves whose gradient is one in each step.

        In units of the learning rate: with plain SGD the number of steps; momentum makes it larger,
        a proximal term smaller.

        Args:
          num_steps: int32 scalar, the client's steps in this round.
          learning_rate: float32 scalar, the client's in this round.

        Returns:
          float32 scalar.
        """

        def step(index: tf.Tensor, velocity: tf.Tensor, moved: tf.Tensor) -> tuple[tf.Tensor, ...]:
            gradient = self.inner.correct_gradient(1.0, -learning_rate * moved, 0.0)
            velocity = self.inner.momentum * velocity + gradient
            return index + 1, velocity, moved + velocity

        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0))
        return tf.while_loop(lambda index, *_: index < num_steps, step, start)[2]
