"""The two-tower retrieval model, as pure functions of its weights.

The query tower reads a user's recent items: the mean of their embeddings, then residual MLP blocks.
The candidate tower is an embedding and a bias for each item. Both share one item table, so a user
who took `n` items reads and changes at most `n` rows of it, plus those of the sampled negatives.

Everything here is a function of tensors, so that the same code runs over the whole item table or
over the few rows that one client needs, with item indices that point into whichever it is given.
"""

from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.models.config import TwoTowerConfig


class ItemRows(NamedTuple):
    """Rows of the item table: all of them, or those that one client touches.

    Attributes:
      embedding: float32 [rows, embedding_dim].
      bias: float32 [rows].
    """

    embedding: tf.Tensor
    bias: tf.Tensor


class TwoTowerWeights(NamedTuple):
    """The trainable weights.

    Attributes:
      items: The item table, shared by both towers.
      tower: Per residual block `(kernel_in, bias_in, kernel_out, bias_out)`, flattened into one
        tuple of float32 tensors.
    """

    items: ItemRows
    tower: tuple[tf.Tensor, ...]


NUM_TENSORS_PER_BLOCK = 4


def create_initial_weights(config: TwoTowerConfig, num_items: int, seed: int) -> TwoTowerWeights:
    """Creates the initial weights; the same for the same seed, in any process.

    Embeddings are normal with standard deviation `1 / sqrt(embedding_dim)`; every residual block
    starts as the identity (its output kernel is zero).

    Args:
      config: The model's shape.
      num_items: Rows of the item table.
      seed: Seeds the embeddings and the kernels.

    Returns:
      float32 weights.
    """
    dim = config.embedding_dim
    stddev = dim**-0.5

    def normal(index: int, shape: tuple[int, ...]) -> tf.Tensor:
        return stddev * tf.random.stateless_normal(shape, seed=[seed, index], alg="philox")

    tower = []
    for block in range(config.num_blocks):
        tower += [normal(block + 1, (dim, dim)), tf.zeros([dim])]
        tower += [tf.zeros([dim, dim]), tf.zeros([dim])]
    items = ItemRows(normal(0, (num_items, dim)), tf.zeros([num_items]))
    return TwoTowerWeights(items, tuple(tower))


def encode_query(
    embedding: tf.Tensor, tower: tuple[tf.Tensor, ...], history: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Encodes what users took lately into query vectors.

    Args:
      embedding: float32 [rows, dim], the item embeddings that `history` points into.
      tower: The residual blocks' weights, as in `TwoTowerWeights`.
      history: int32 [batch, history_length], padded with any valid index.
      mask: float32 [batch, history_length], 1 for an item and 0 for padding.

    Returns:
      float32 [batch, dim]. An empty history encodes as the tower's answer to a zero vector.
    """
    total = tf.reduce_sum(tf.gather(embedding, history) * mask[:, :, tf.newaxis], axis=1)
    count = tf.reduce_sum(mask, axis=1, keepdims=True)
    query = total / tf.maximum(count, 1.0)
    for block in range(0, len(tower), NUM_TENSORS_PER_BLOCK):
        kernel_in, bias_in, kernel_out, bias_out = tower[block : block + NUM_TENSORS_PER_BLOCK]
        hidden = tf.nn.relu(tf.linalg.matmul(query, kernel_in) + bias_in)
        query += tf.linalg.matmul(hidden, kernel_out) + bias_out
    return query


def pair_logits(query: tf.Tensor, items: ItemRows, temperature: float) -> tf.Tensor:
    """Scores query `i` against item `i`: float32 [batch]."""
    return tf.reduce_sum(query * items.embedding, axis=1) / temperature + items.bias


def all_logits(query: tf.Tensor, items: ItemRows, temperature: float) -> tf.Tensor:
    """Scores each query against each of `items`: float32 [batch, rows]."""
    return tf.linalg.matmul(query, items.embedding, transpose_b=True) / temperature + items.bias


def gather_items(items: ItemRows, indices: tf.Tensor) -> ItemRows:
    """Reads the given rows of an item table."""
    return ItemRows(tf.gather(items.embedding, indices), tf.gather(items.bias, indices))
