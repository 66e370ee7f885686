"""Federated averaging.

McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data"
(arXiv 1602.05629), algorithm 1:

    ClientUpdate(k, w):
      for each local epoch from 1 to E
        for batch b of B examples
          w <- w - eta grad l(w; b)
      return w, which counts n_k

With another client optimizer than SGD, that optimizer's step; its state begins anew in each round.
"""

# Tested in tests/learning/test_client_work.py and tests/learning/test_local_algorithms.py.

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning import optimizers
from fedrec_tff.learning.algorithms import steps
from fedrec_tff.learning.algorithms.algorithm import Algorithm, FullGradientFn
from fedrec_tff.learning.config import ClientWorkConfig

# From a client's number of examples, float32, to what it counts.
_WEIGHTINGS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    learning_config.BY_EXAMPLES: lambda count: count,
    learning_config.BY_SQRT_EXAMPLES: tf.sqrt,
    learning_config.BY_LOG_EXAMPLES: tf.math.log1p,
    learning_config.EVERYBODY_THE_SAME: lambda count: tf.ones([]),
}


class FedAvg(Algorithm):
    """See the module."""

    def __init__(self, work: ClientWorkConfig) -> None:
        """Initialises the algorithm.

        Args:
          work: E, B, the optimizer with eta, and what a client counts.
        """
        self._work = work
        self._optimizer = optimizers.create_optimizer(work.optimizer)

    def plan_steps(self, examples: steps.ClientExamples) -> steps.StepPlan:
        """E epochs of batches of B."""
        work = self._work
        return steps.divide(examples, work.batch_size, work.local_epochs, work.max_local_steps)

    def start(self, weights: Any, statistics: Any) -> Any:
        """The optimizer's initial state."""
        del statistics
        return optimizers.create_state(self._optimizer, weights)

    def set_learning_rate(self, state: Any, learning_rate: tf.Tensor) -> Any:
        """See `Algorithm`."""
        return optimizers.set_learning_rate(self._optimizer, state, learning_rate)

    def correct_gradient(self, gradient: Any, weights: Any, model: Any) -> Any:
        """The gradient of the loss, as it is."""
        del weights, model
        return gradient

    def step(self, state: Any, weights: Any, gradient: Any) -> tuple[Any, Any]:
        """The optimizer's step."""
        return self._optimizer.next(state, weights, gradient)

    @property
    def momentum(self) -> float:
        """That of the client's SGD."""
        return self._work.optimizer.momentum

    def finish(self, update: Any, num_steps: tf.Tensor, learning_rate: tf.Tensor) -> Any:
        """The update, as it is."""
        del num_steps, learning_rate
        return update

    def weigh(self, num_examples: tf.Tensor) -> tf.Tensor:
        """By the rule of `ClientWorkConfig.weighting`."""
        return _WEIGHTINGS[self._work.weighting](tf.cast(num_examples, tf.float32))

    def contribute(self, full_gradient_fn: FullGradientFn) -> Any:
        """Nothing."""
        del full_gradient_fn
        return ()

    def create_statistics(self, weights: Any) -> Any:
        """None."""
        del weights
        return ()

    def update_statistics(self, statistics: Any, weights: Any, mean: Any) -> Any:
        """None."""
        del weights, mean
        return statistics
