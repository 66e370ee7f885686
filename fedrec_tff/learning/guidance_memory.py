"""How the server keeps what it tells clients: the round's number, and MimeLite's statistics.

MimeLite is algorithm 1 of Karimireddy et al. 2021, "Breaking the centralized barrier for
cross-device federated learning" (arXiv 2008.03606): clients step with the server's optimiser
statistics, which stay fixed within a round; the server then updates them by the mean of the
clients' gradients over all their examples at the model that was broadcast.
"""

# Tested in tests/learning/test_guided_process.py.

from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.learning import client_memory, client_work, guidance, optimizers
from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import two_tower


class _WeighedGradient(NamedTuple):
    """What a client adds to the round's mean gradient; nothing, if it is not finite."""

    weight: tf.Tensor
    gradient: Any


def create_memory(
    work: ClientWorkConfig, weighs: bool = False
) -> client_memory.ClientMemory | None:
    """The memory of what clients must be told.

    Args:
      work: How clients train.
      weighs: Whether a client counts in MimeLite's mean gradient by its `ClientResult.weight`, as
        in the mean of updates; all the same otherwise.

    Returns:
      The memory, whose state is a `Guidance`; None where clients need none.
    """
    return _GuidanceMemory(work, weighs) if guidance.is_needed(work) else None


def count_statistics(work: ClientWorkConfig, weights: two_tower.TwoTowerWeights) -> int:
    """How many numbers clients download besides the model.

    Args:
      work: How clients train.
      weights: The model's, for their shapes.

    Returns:
      The size of MimeLite's statistics; 0 for other algorithms.
    """
    if work.algorithm != learning_config.MIMELITE:
        return 0
    state = optimizers.create_state(optimizers.create_optimizer(work.optimizer), weights)
    return sum(int(tf.size(t)) for t in tf.nest.flatten(state))


class _GuidanceMemory(client_memory.ClientMemory):
    """See `create_memory`."""

    def __init__(self, work: ClientWorkConfig, weighs: bool) -> None:
        self._has_schedule = work.optimizer.schedule is not None
        self._has_statistics = work.algorithm == learning_config.MIMELITE
        self._optimizer = optimizers.create_optimizer(work.optimizer)
        self._weighs = weighs

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> guidance.Guidance:
        """Round zero, and the optimiser's initial state."""
        statistics: Any = ()
        if self._has_statistics:
            statistics = optimizers.create_state(self._optimizer, weights)
        return guidance.Guidance(tf.constant(0) if self._has_schedule else (), statistics)

    def report(self, client: Any, result: client_work.ClientResult) -> Any:
        """The client's gradient over all its examples, times what it counts."""
        del client
        if not self._has_statistics:
            return ()
        gradient = result.full_gradient
        is_counted = tf.math.is_finite(tf.linalg.global_norm(tf.nest.flatten(gradient)))
        is_counted &= tf.math.is_finite(result.weight)
        weight = tf.where(is_counted, result.weight if self._weighs else 1.0, 0.0)
        return _WeighedGradient(
            weight,
            tf.nest.map_structure(lambda g: tf.where(is_counted, g * weight, 0.0), gradient),
        )

    def update(
        self,
        state: guidance.Guidance,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> guidance.Guidance:
        """The next round, and the statistics after a step; as before, where nobody counted."""
        del new_weights
        statistics = state.statistics
        if self._has_statistics:
            has_any = reports.weight > 0.0
            total = tf.where(has_any, reports.weight, 1.0)
            mean = tf.nest.map_structure(lambda g: g / total, reports.gradient)
            stepped, _ = self._optimizer.next(statistics, weights, mean)
            statistics = tf.nest.map_structure(
                lambda new, old: tf.where(has_any, new, old), stepped, statistics
            )
        return guidance.Guidance(state.round_index + 1 if self._has_schedule else (), statistics)
