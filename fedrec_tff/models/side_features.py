"""What the towers know of items and users besides interactions.

A feature's value is a row of a table of embeddings, which is part of the towers' weights. An item's
embedding and bias are its own plus, for each column of features, the mean over the item's values;
so an item that nobody has taken yet has an embedding, too. A user's values are added to the query.

An item's own embedding may be its row of the table times a matrix, or nothing: then features alone
make it (`TwoTowerConfig.item_embedding`).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig


def split_tower(
    config: TwoTowerConfig, tower: Sequence[tf.Tensor]
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]:
    """Splits the weights of the towers.

    Args:
      config: The model's shape.
      tower: Tensors of the towers, as `TwoTowerConfig.tower` lists them.

    Returns:
      The query tower's; the matrix that items' rows are multiplied with, float32 [table_width,
      dim]; the table of items' features, float32 [item_feature_buckets, dim + 1], the
      last column for the bias; that of users' features, float32 [user_feature_buckets, dim]. None
      for what the model lacks.
    """
    rest = list(tower)
    user_table = rest.pop() if config.user_feature_buckets else None
    item_table = rest.pop() if config.item_feature_buckets else None
    matrix = rest.pop() if config.multiplies_rows else None
    return tuple(rest), matrix, item_table, user_table


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
    _, matrix, table, _ = split_tower(config, weights.tower)
    embedding, bias = weights.items
    if matrix is not None:
        embedding = tf.matmul(embedding, matrix)
    if table is None or index is None:
        return two_tower.ItemRows(embedding, bias)
    added = sum(_mean_rows(table, column) for column in tf.split(index, list(widths), axis=1))
    own = embedding if config.table_width else 0.0
    return two_tower.ItemRows(own + added[:, :-1], bias + added[:, -1])


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
    *_, table = split_tower(config, tower)
    valid = tf.cast(index >= 0, tf.float32)[..., tf.newaxis]
    return tf.reduce_sum(tf.gather(table, tf.maximum(index, 0)) * valid, axis=-2)


def bake(
    config: TwoTowerConfig, weights: two_tower.TwoTowerWeights, values: FeatureValues | None
) -> two_tower.TwoTowerWeights:
    """Puts all that makes an item's embedding into the item table, once, for scoring.

    Args:
      config: The model's shape.
      weights: The weights, with the whole item table.
      values: Features of all items; None where there are none.

    Returns:
      Weights of the shape `TwoTowerConfig.baked`, whose items need no features any more.
    """
    has_values = bool(config.item_feature_buckets) and values is not None
    if not has_values and not config.multiplies_rows:
        return weights
    index, widths = (tf.constant(values.index), values.widths) if has_values else (None, ())
    items = add_item_features(config, weights, index, widths)
    query, _, item_table, user_table = split_tower(config, weights.tower)
    tables = [] if item_table is None else [tf.zeros_like(item_table)]
    tables += [] if user_table is None else [user_table]
    return two_tower.TwoTowerWeights(items, (*query, *tables))


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
        tf.zeros([count, config.table_width]),
        tf.fill([count], np.float32(np.median(weights.items.bias))),
    )
    new = two_tower.TwoTowerWeights(rows, weights.tower)
    return add_item_features(config, new, tf.constant(values.index), values.widths)


def _mean_rows(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The mean of the rows that are not padding: float32 [rows, width]; zero if all are."""
    valid = tf.cast(index >= 0, tf.float32)
    total = tf.reduce_sum(tf.gather(table, tf.maximum(index, 0)) * valid[:, :, tf.newaxis], axis=1)
    return total / tf.maximum(tf.reduce_sum(valid, axis=1, keepdims=True), 1.0)
