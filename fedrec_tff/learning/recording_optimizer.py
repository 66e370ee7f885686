"""A server optimiser that keeps what it was given: how an audit sees the aggregates of a run."""

# Tested in tests/studies/audit/test_canary_audit.py.

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

AGGREGATE = "aggregate"
_INNER = "inner"


class RecordingOptimizer(tff.learning.optimizers.Optimizer):
    """Another optimiser, with the latest gradients beside its state.

    An attacker who sees the model after every round, and knows the optimiser, can compute them.
    """

    def __init__(self, inner: tff.learning.optimizers.Optimizer) -> None:
        """Wraps an optimiser.

        Args:
          inner: Optimiser that takes the steps.
        """
        self._inner = inner

    def initialize(self, specs: Any) -> Any:
        """The inner state, and zeros."""
        zeros = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs)
        return collections.OrderedDict(
            [(_INNER, self._inner.initialize(specs)), (AGGREGATE, zeros)]
        )

    def next(self, state: Any, weights: Any, gradients: Any) -> tuple[Any, Any]:
        """The inner optimiser's step."""
        inner, new_weights = self._inner.next(state[_INNER], weights, gradients)
        new_state = collections.OrderedDict([(_INNER, inner), (AGGREGATE, gradients)])
        return new_state, new_weights
