"""What the towers know of items and users besides interactions.

A feature's value is a row of a table of embeddings, which is part of the towers' weights. An item's
embedding and bias are its own plus, for each column of features, the mean over the item's values;
so an item that nobody has taken yet has an embedding, too. A user's values are added to the query.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig


def split_tower(
    config: TwoTowerConfig, tower: Sequence[tf.Tensor]
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor | None, tf.Tensor | None]:
    """Splits the weights of the towers.

    Args:
      config: The model's shape.
      tower: Tensors of the towers, as `TwoTowerConfig.tower` lists them.

    Returns:
      The query tower's; the table of items' features, float32 [item_feature_buckets, dim + 1], the
      last column for the bias; that of users' features, float32 [user_feature_buckets, dim]. None
      for a table that the model lacks.
    """
    rest = list(tower)
    user_table = rest.pop() if config.user_feature_buckets else None
    item_table = rest.pop() if config.item_feature_buckets else None
    return tuple(rest), item_table, user_table


def add_item_features(
    config: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    index: tf.Tensor | None,
    widths: Sequence[int] = (),
) -> two_tower.ItemRows:
    """Rows of the item table with what the items' features add.

    Args:
      config: The model's shape.
      weights: The weights; the item table may hold some rows only.
      index: int32 [rows, slots], the values of these rows' items, padded with -1; None where
        nothing is to be added.
      widths: Number of slots that each column has.

    Returns:
      The rows, as the losses and scores read them.
    """
    _, table, _ = split_tower(config, weights.tower)
    if table is None or index is None:
        return weights.items
    added = sum(_mean_rows(table, column) for column in tf.split(index, list(widths), axis=1))
    embedding, bias = weights.items
    return two_tower.ItemRows(embedding + added[:, :-1], bias + added[:, -1])


def embed_users(
    config: TwoTowerConfig, tower: Sequence[tf.Tensor], index: tf.Tensor
) -> tf.Tensor | float:
    """What users' features add to their queries.

    Args:
      config: The model's shape.
      tower: The towers' weights.
      index: int32 [..., slots], the values of each user, padded with -1.

    Returns:
      float32 [..., dim], the sum over the values.
    """
    _, _, table = split_tower(config, tower)
    valid = tf.cast(index >= 0, tf.float32)[..., tf.newaxis]
    return tf.reduce_sum(tf.gather(table, tf.maximum(index, 0)) * valid, axis=-2)


def bake(
    config: TwoTowerConfig, weights: two_tower.TwoTowerWeights, values: FeatureValues | None
) -> two_tower.TwoTowerWeights:
    """Puts what features add into the item table, once, for scoring.

    Args:
      config: The model's shape.
      weights: The weights, with the whole item table.
      values: Features of all items; None where there are none.

    Returns:
      Weights of the same structure, whose items need no features any more.
    """
    if not config.item_feature_buckets or values is None:
        return weights
    items = add_item_features(config, weights, tf.constant(values.index), values.widths)
    last = -2 if config.user_feature_buckets else -1
    tower = list(weights.tower)
    tower[last] = tf.zeros_like(tower[last])
    return two_tower.TwoTowerWeights(items, tuple(tower))


def embed_new_items(
    config: TwoTowerConfig, weights: two_tower.TwoTowerWeights, values: FeatureValues
) -> two_tower.ItemRows:
    """Embeds items that came after training, by their features alone.

    Args:
      config: The model's shape.
      weights: The weights.
      values: Features of the new items, hashed as those of the catalogue were, with the same
        columns.

    Returns:
      A row for each; their own bias is that of the item in the middle of the catalogue.
    """
    count = len(values.index)
    rows = two_tower.ItemRows(
        tf.zeros([count, config.embedding_dim]),
        tf.fill([count], np.float32(np.median(weights.items.bias))),
    )
    new = two_tower.TwoTowerWeights(rows, weights.tower)
    return add_item_features(config, new, tf.constant(values.index), values.widths)


def _mean_rows(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The mean of the rows that are not padding: float32 [rows, width]; zero if all are."""
    valid = tf.cast(index >= 0, tf.float32)
    total = tf.reduce_sum(tf.gather(table, tf.maximum(index, 0)) * valid[:, :, tf.newaxis], axis=1)
    return total / tf.maximum(tf.reduce_sum(valid, axis=1, keepdims=True), 1.0)
