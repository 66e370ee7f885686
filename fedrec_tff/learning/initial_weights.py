"""The weights that a run starts from."""

# Tested in tests/learning/test_process.py.

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig


@dataclasses.dataclass(frozen=True, eq=False)
class KnownWeights:
    """Weights of another model, of the same shape but for its items.

    Attributes:
      rows: int32 [num_known], rows of the item table that the other model knows.
      weights: Arrays of the other model; of its items those of `rows`, in that order.
    """

    rows: np.ndarray
    weights: two_tower.TwoTowerWeights


def build_initial_weights(
    model: TwoTowerConfig,
    num_items: int,
    seed: int,
    item_bias: np.ndarray | None = None,
    item_embedding: np.ndarray | None = None,
    known: KnownWeights | None = None,
) -> tff.Computation:
    """Builds the computation that makes them.

    Args:
      model: The model's shape.
      num_items: Rows of the item table.
      seed: Seed for the random numbers.
      item_bias: float32 [num_items], what item biases start from; None for zeros.
      item_embedding: float32 [num_items, embedding_dim], what item embeddings start from; None for
        random numbers.
      known: Weights of another model, which go before all these; None for none.

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
        weights = weights._replace(items=two_tower.ItemRows(embedding, bias))
        if known is not None:
            weights = _take_over(weights, known)
        return tff.learning.models.ModelWeights(weights, non_trainable=())

    return initial_weights_fn


def _take_over(
    weights: two_tower.TwoTowerWeights, known: KnownWeights
) -> two_tower.TwoTowerWeights:
    rows = tf.constant(known.rows, tf.int32)[:, tf.newaxis]
    items = [
        tf.tensor_scatter_nd_update(own, rows, tf.constant(other, tf.float32))
        for own, other in zip(weights.items, known.weights.items, strict=True)
    ]
    tower = [
        tf.constant(other, tf.float32, own.shape)
        for own, other in zip(weights.tower, known.weights.tower, strict=True)
    ]
    return two_tower.TwoTowerWeights(two_tower.ItemRows(*items), tuple(tower))
