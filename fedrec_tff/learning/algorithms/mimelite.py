"""MimeLite: local steps follow the population's statistics, not the client's own.

Karimireddy et al. 2021, "Breaking the centralized barrier for cross-device federated learning"
(arXiv 2008.03606), algorithm 1. With s the statistics of the optimizer U (momentum; Adam's
moments), which the server keeps:

    client i:  for each local step: y_i <- U(grad f_i(y_i; batch), s), and s stays as it is
               sends y_i and c_i = grad f_i(x), over all its examples at the model x that it got
    server:    x <- mean of y_i
               s <- V(mean of c_i, s)

The clients' gradients at x are averaged as updates are.
"""

# Tested in tests/learning/test_guided_process.py.

from typing import Any

from fedrec_tff.learning import optimizers
from fedrec_tff.learning.algorithms.algorithm import Algorithm, FullGradientFn, Variation
from fedrec_tff.learning.config import ClientWorkConfig


class MimeLite(Variation):
    """See the module."""

    # It stays fixed within a round, and adds nothing from step to step.
    momentum = 0.0

    def __init__(self, inner: Algorithm, work: ClientWorkConfig) -> None:
        """Initialises the algorithm.

        Args:
          inner: Algorithm that is varied.
          work: Settings of client work, with U.
        """
        super().__init__(inner)
        self._optimizer = optimizers.create_optimizer(work.optimizer)

    def start(self, weights: Any, statistics: Any) -> Any:
        """S."""
        del weights
        return statistics

    def step(self, state: Any, weights: Any, gradient: Any) -> tuple[Any, Any]:
        """U, with s as it was."""
        _, stepped = self.inner.step(state, weights, gradient)
        return state, stepped

    def contribute(self, full_gradient_fn: FullGradientFn) -> Any:
        """c_i."""
        return full_gradient_fn()

    def create_statistics(self, weights: Any) -> Any:
        """The optimizer's initial state."""
        return optimizers.create_state(self._optimizer, weights)

    def update_statistics(self, statistics: Any, weights: Any, mean: Any) -> Any:
        """V: what the optimizer's own step makes of them."""
        stepped, _ = self._optimizer.next(statistics, weights, mean)
        return stepped
