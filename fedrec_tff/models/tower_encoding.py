"""Query and candidate towers of a model, as functions of its weights.

Which tower it is, the model's shape says: a built-in one (`towers`), or one of somebody's own. Both
are loaded by `plugin`.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedrec_tff.models import dropout as dropout_lib
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.query_tower import QueryTower


def encode_histories(
    config: TwoTowerConfig,
    embedding: tf.Tensor,
    tower: Sequence[tf.Tensor],
    history: tf.Tensor,
    mask: tf.Tensor,
) -> tf.Tensor:
    """Encodes what users took lately into query vectors.

    Args:
      config: The model's shape.
      embedding: float32 [rows, dim], the item embeddings that `history` points into.
      tower: The towers' weights.
      history: int32 [batch, history_length], oldest first, padded with any valid index.
      mask: float32 [batch, history_length], 1 for an item and 0 for padding, at either end. The
        built-in causal towers want the padding at the end.

    Returns:
      float32 [batch, dim]. An empty history has a query, too.
    """
    found, weights = find_tower(config), _query_weights(config, tower)
    if not found.aligns_histories:
        return found.encode_histories(weights, tf.gather(embedding, history), mask)
    history, mask = _align(history, mask)
    items = tf.gather(embedding, history) * mask[:, :, tf.newaxis]
    return found.encode_histories(weights, items, mask)


def encode_sequence(
    config: TwoTowerConfig,
    embedding: tf.Tensor,
    tower: Sequence[tf.Tensor],
    sequence: tf.Tensor,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Encodes what came before each position of one sequence, by a causal tower, for training.

    Args:
      config: The model's shape.
      embedding: float32 [rows, dim], the item embeddings that `sequence` points into.
      tower: The towers' weights.
      sequence: int32 [length], at most `history_length + 1` items, oldest first.
      seed: int32 [2], of the dropout; None for none.

    Returns:
      float32 [length, dim]. Row `t` depends on the first `t` items alone.
    """
    return encode_sequences(config, embedding, tower, sequence[tf.newaxis], seed)[0]


def encode_sequences(
    config: TwoTowerConfig,
    embedding: tf.Tensor,
    tower: Sequence[tf.Tensor],
    sequences: tf.Tensor,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Does what `encode_sequence` does for several sequences at once.

    Args:
      config: The model's shape.
      embedding: float32 [rows, dim], the item embeddings that `sequences` point into.
      tower: The towers' weights.
      sequences: int32 [batch, length], each as in `encode_sequence`, padded at the end.
      seed: int32 [2], of the dropout of all of them; None for none.

    Returns:
      float32 [batch, length, dim].
    """
    items = tf.gather(embedding, sequences[:, :-1])
    dropout = dropout_lib.Dropout(config.dropout, seed)
    return find_tower(config).encode_sequence(_query_weights(config, tower), items, dropout)


def encode_others(
    config: TwoTowerConfig,
    embedding: tf.Tensor,
    tower: Sequence[tf.Tensor],
    items: tf.Tensor,
    mask: tf.Tensor,
) -> tf.Tensor:
    """Encodes for each item of a set all the others, by a tower that reads whole sets.

    Args:
      config: The model's shape.
      embedding: float32 [rows, dim], the item embeddings that `items` points into.
      tower: The towers' weights.
      items: int32 [length].
      mask: float32 [length], 1 for an item and 0 for padding.

    Returns:
      float32 [length, dim].
    """
    found, weights = find_tower(config), _query_weights(config, tower)
    return found.encode_others(weights, tf.gather(embedding, items), items, mask)


def encode_candidates(
    config: TwoTowerConfig, tower: Sequence[tf.Tensor], items: two_tower.ItemRows
) -> two_tower.ItemRows:
    """What queries are scored against: the items, as the model's candidate tower sees them.

    Args:
      config: The model's shape.
      tower: The towers' weights.
      items: Rows of the item table: any of them, or all.

    Returns:
      The same rows; the built-in models change nothing.
    """
    found = find_tower(config)
    if not found.has_candidate_tower:
        return items
    weights = _query_weights(config, tower)
    embedding = tf.convert_to_tensor(items.embedding)
    return items._replace(embedding=found.encode_candidates(weights, embedding))


def find_tower(config: TwoTowerConfig) -> QueryTower:
    """The tower of a model.

    Args:
      config: The model's shape.

    Returns:
      The tower.

    Raises:
      UserError: If it is somebody's own, and cannot be made.
    """
    return config.loaded_tower


def _query_weights(config: TwoTowerConfig, tower: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Of the towers' weights the tower's own, the first of them."""
    return [tf.convert_to_tensor(tensor) for tensor in tower[: len(config.query_tensors)]]


def _align(history: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves histories to the beginning of their rows, and the padding to the end."""
    width = tf.shape(mask)[1]
    place = tf.argmax(mask, axis=1, output_type=tf.int32)[:, tf.newaxis] + tf.range(width)
    history = tf.gather(history, tf.minimum(place, width - 1), batch_dims=1)
    count = tf.cast(tf.reduce_sum(mask, axis=1), tf.int32)
    return history, tf.sequence_mask(count, width, mask.dtype)
