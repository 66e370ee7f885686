"""FedProx: local steps are held near the model that the client got.

Li et al. 2020, "Federated optimization in heterogeneous networks" (arXiv 1812.06127), equation 2: a
client minimises

    h_k(w; w_t) = F_k(w) + mu / 2 ||w - w_t||^2

by as much local work as it does. Rows that a client does not touch do not move, so over those that
it touches this is the same.
"""

# Tested in tests/learning/test_local_algorithms.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.learning.algorithms.algorithm import Algorithm, Variation
from fedrec_tff.learning.config import ClientWorkConfig


class FedProx(Variation):
    """See the module."""

    def __init__(self, inner: Algorithm, work: ClientWorkConfig) -> None:
        """Initialises the algorithm.

        Args:
          inner: Algorithm that is varied.
          work: Settings of client work, with mu.
        """
        super().__init__(inner)
        self._mu = work.proximal_weight

    def correct_gradient(self, gradient: Any, weights: Any, model: Any) -> Any:
        """Grad h_k = grad F_k + mu (w - w_t)."""
        return tf.nest.map_structure(
            lambda g, w, start: g + self._mu * (w - start),
            self.inner.correct_gradient(gradient, weights, model),
            weights,
            model,
        )
