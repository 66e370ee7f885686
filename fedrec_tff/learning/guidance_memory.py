"""How the server keeps what it tells clients: the round, and the algorithm's statistics."""

# Tested in tests/learning/test_guided_process.py.

from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.learning import client_memory, client_work, guidance
from fedrec_tff.learning.algorithms import registry
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import two_tower


class _WeighedContribution(NamedTuple):
    """What a client adds to the round's mean contribution; nothing, if it is not finite."""

    weight: tf.Tensor
    value: Any


def create_memory(work: ClientWorkConfig, weighs: bool = False) -> client_memory.ClientMemory:
    """The memory of what clients must be told.

    Args:
      work: Settings of client work.
      weighs: Whether a client counts in the mean of contributions by its `ClientResult.weight`, as
        in the mean of updates; all the same otherwise.

    Returns:
      The memory, whose state is a `Guidance`.
    """
    return _GuidanceMemory(work, weighs)


def count_statistics(work: ClientWorkConfig, weights: two_tower.TwoTowerWeights) -> int:
    """How many numbers clients download besides the model.

    Args:
      work: Settings of client work.
      weights: The model's, for their shapes.

    Returns:
      The size of the statistics that the algorithm shares.
    """
    statistics = registry.create_algorithm(work).create_statistics(weights)
    return sum(int(tf.size(t)) for t in tf.nest.flatten(statistics))


class _GuidanceMemory(client_memory.ClientMemory):
    """See `create_memory`."""

    def __init__(self, work: ClientWorkConfig, weighs: bool) -> None:
        self._has_schedule = work.optimizer.schedule is not None
        self._algorithm = registry.create_algorithm(work)
        self._weighs = weighs

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> guidance.Guidance:
        """Round zero, and the algorithm's first statistics."""
        statistics = self._algorithm.create_statistics(weights)
        return guidance.Guidance(tf.constant(0) if self._has_schedule else (), statistics)

    def report(self, client: Any, result: client_work.ClientResult) -> Any:
        """What the client contributes, times what it counts."""
        del client
        tensors = tf.nest.flatten(result.contribution)
        if not tensors:
            return ()
        is_counted = tf.math.is_finite(tf.linalg.global_norm(tensors))
        is_counted &= tf.math.is_finite(result.weight)
        weight = tf.where(is_counted, result.weight if self._weighs else 1.0, 0.0)
        value = tf.nest.map_structure(
            lambda t: tf.where(is_counted, t * weight, 0.0), result.contribution
        )
        return _WeighedContribution(weight, value)

    def update(
        self,
        state: guidance.Guidance,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> guidance.Guidance:
        """The next round, and the statistics after it; as before, where nobody counted."""
        del new_weights
        return guidance.Guidance(
            state.round_index + 1 if self._has_schedule else (),
            self._update_statistics(state.statistics, reports, weights),
        )

    def _update_statistics(
        self, statistics: Any, reports: Any, weights: two_tower.TwoTowerWeights
    ) -> Any:
        if not tf.nest.flatten(statistics):
            return statistics
        has_any = reports.weight > 0.0
        total = tf.where(has_any, reports.weight, 1.0)
        mean = tf.nest.map_structure(lambda t: t / total, reports.value)
        updated = self._algorithm.update_statistics(statistics, weights, mean)
        return tf.nest.map_structure(
            lambda new, old: tf.where(has_any, new, old), updated, statistics
        )
