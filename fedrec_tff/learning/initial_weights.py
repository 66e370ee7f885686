"""The weights that a run starts from."""

# Tested in tests/learning/test_process.py.

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig


def build_initial_weights(
    model: TwoTowerConfig,
    num_items: int,
    seed: int,
    item_bias: np.ndarray | None = None,
    item_embedding: np.ndarray | None = None,
) -> tff.Computation:
    """Builds the computation that makes them.

    Args:
      model: The model's shape.
      num_items: Rows of the item table.
      seed: Seed for the random numbers.
      item_bias: float32 [num_items], what item biases start from; None for zeros.
      item_embedding: float32 [num_items, embedding_dim], what item embeddings start from; None for
        random numbers.

    Returns:
      A computation without arguments, whose result is `tff.learning.models.ModelWeights`.
    """

    @tff.tensorflow.computation
    def initial_weights_fn():
        weights = two_tower.create_initial_weights(model, num_items, seed)
        embedding, bias = weights.items
        if item_embedding is not None:
            embedding = tf.constant(item_embedding, tf.float32, embedding.shape)
        if item_bias is not None:
            bias = tf.constant(item_bias, tf.float32, bias.shape)
        items = two_tower.ItemRows(embedding, bias)
        return tff.learning.models.ModelWeights(weights._replace(items=items), non_trainable=())

    return initial_weights_fn
