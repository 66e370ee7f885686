"""The models of the last rounds, for clients that train one of them."""

# Tested in tests/learning/simulation/test_failures.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.learning import client_memory
from fedrec_tff.models import two_tower


def choose(
    weights: two_tower.TwoTowerWeights, state: two_tower.TwoTowerWeights, age: tf.Tensor
) -> two_tower.TwoTowerWeights:
    """The model of some rounds ago.

    Args:
      weights: The newest model.
      state: State of the memory.
      age: int32 scalar, from 0, the newest, to as many as the memory keeps.

    Returns:
      The model; in the first rounds the initial one is the oldest there is.
    """

    def choose_one(new: tf.Tensor, past: tf.Tensor) -> tf.Tensor:
        # The newest is chosen below; an index must be in range all the same.
        index = tf.minimum(past.shape[0] - age, past.shape[0] - 1)
        return tf.where(age > 0, tf.gather(past, index), new)

    return tf.nest.map_structure(choose_one, weights, state)


class PastModels(client_memory.ClientMemory):
    """Keeps the models that were trained in the last rounds, the oldest first."""

    def __init__(self, num_models: int) -> None:
        """Makes a memory.

        Args:
          num_models: Number of models to keep besides the newest.
        """
        self._num_models = num_models

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> two_tower.TwoTowerWeights:
        """The initial model, as often as needed."""
        return tf.nest.map_structure(lambda w: tf.stack([w] * self._num_models), weights)

    def update(
        self,
        state: two_tower.TwoTowerWeights,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> two_tower.TwoTowerWeights:
        """Forgets the oldest, adds the model that was trained in this round."""
        del reports, new_weights
        return tf.nest.map_structure(
            lambda past, w: tf.concat([past[1:], w[tf.newaxis]], 0), state, weights
        )
