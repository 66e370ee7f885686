"""The two-tower retrieval model, as pure functions of its weights.

The query tower (`tower_encoding`) reads a user's recent items. The candidate tower is an embedding
and a bias for each item. Both share one item table, so a user who took `n` items reads and changes
at most `n` rows of it, plus those of the sampled negatives.

Everything here is a function of tensors, so that the same code runs over the whole item table or
over the few rows that one client needs, with item indices that point into whichever it is given.
"""

import itertools
from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.models import config as model_config
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.layers import directions


class ItemRows(NamedTuple):
    """Rows of the item table: all of them, or those that one client touches.

    Attributes:
      embedding: float32 [rows, table_width], which is embedding_dim unless `item_embedding` says
        otherwise.
      bias: float32 [rows].
    """

    embedding: tf.Tensor
    bias: tf.Tensor


class TwoTowerWeights(NamedTuple):
    """The trainable weights.

    Attributes:
      items: The item table, shared by both towers.
      tower: float32 tensors of the towers, then the tables of features, as `TwoTowerConfig.tower`
        lists them.
    """

    items: ItemRows
    tower: tuple[tf.Tensor, ...]


def create_initial_weights(config: TwoTowerConfig, num_items: int, seed: int) -> TwoTowerWeights:
    """Creates the initial weights; the same for the same seed, in any process.

    Residual MLP blocks start as the identity: their output kernel is zero.

    Args:
      config: The model's shape, which has the scale of each tensor.
      num_items: Rows of the item table.
      seed: Seed for what is random.

    Returns:
      float32 weights.
    """
    indices = itertools.count()

    def normal(shape: tuple[int, ...], stddev: float) -> tf.Tensor:
        index = next(indices)
        return stddev * tf.random.stateless_normal(shape, seed=[seed, index], alg="philox")

    embedding = normal((num_items, config.table_width), config.embedding_stddev)
    tower = [
        normal(tensor.shape, tensor.initial_stddev)
        if tensor.initial_stddev
        else tf.fill(tensor.shape, tensor.initial_value)
        for tensor in config.tower
    ]
    return TwoTowerWeights(ItemRows(embedding, tf.zeros([num_items])), tuple(tower))


def pair_logits(
    query: tf.Tensor, items: ItemRows, temperature: float, similarity: str = model_config.DOT
) -> tf.Tensor:
    """Scores query `i` against item `i`: float32 [batch]."""
    query, embedding = scale_for(similarity, query), scale_for(similarity, items.embedding)
    return tf.reduce_sum(query * embedding, axis=1) / temperature + items.bias


def all_logits(
    query: tf.Tensor, items: ItemRows, temperature: float, similarity: str = model_config.DOT
) -> tf.Tensor:
    """Scores each query against each of `items`: float32 [batch, rows]."""
    query, embedding = scale_for(similarity, query), scale_for(similarity, items.embedding)
    return tf.linalg.matmul(query, embedding, transpose_b=True) / temperature + items.bias


def scale_for(similarity: str, vectors: tf.Tensor) -> tf.Tensor:
    """Scales vectors so that their dot products are the similarity.

    Args:
      similarity: Name of the similarity, one of `SIMILARITIES`.
      vectors: float32 [..., dim].

    Returns:
      The same vectors for `dot`; for `cosine` vectors of length one. A vector of nearly zero has no
      direction and becomes zero, with no gradient: that of its length would drown all others.
    """
    if similarity == model_config.DOT:
        return vectors
    return directions.scale_to_one(vectors)


def gather_items(items: ItemRows, indices: tf.Tensor) -> ItemRows:
    """Reads the given rows of an item table."""
    return ItemRows(tf.gather(items.embedding, indices), tf.gather(items.bias, indices))
