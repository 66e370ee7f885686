"""Scores of a two-tower model over the whole catalogue, for ranking metrics and recommendations."""

# Tested in tests/models/test_scoring.py, test_custom_towers.py and test_side_features.py.

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets import feature_values
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.models import side_features, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig


def build_score_fn(
    config: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    item_features: FeatureValues | None = None,
    user_features: FeatureValues | None = None,
) -> Callable[[Sequences], np.ndarray]:
    """Builds a scorer of histories.

    Args:
      config: The model's shape.
      weights: The model's weights, arrays or tensors.
      item_features: Known features of the items; None for nothing.
      user_features: Known features of the log's users; None for nothing.

    Returns:
      A function from histories (one row per user, oldest item first; of users without a
      `user_index` nothing is known) to float32 scores [rows, num_items].
    """
    # Tensors are inputs of the graph; arrays would be constants of it, and copied a dozen times.
    weights = tf.nest.map_structure(
        tf.convert_to_tensor, side_features.bake(config, weights, item_features)
    )
    candidates = tower_encoding.encode_candidates(config, weights.tower, weights.items)
    # Once, and not for each block of histories.
    embedding = two_tower.scale_for(config.similarity, candidates.embedding)
    candidates = candidates._replace(embedding=embedding)
    num_slots = 1 if user_features is None else user_features.index.shape[1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, config.history_length], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, num_slots], tf.int32),
        ],
        autograph=False,
    )
    def score(history: tf.Tensor, length: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        mask = tf.sequence_mask(length, config.history_length, tf.float32)
        query = tower_encoding.encode_histories(
            config, weights.items.embedding, tuple(weights.tower), history, mask
        )
        if user_features is not None:
            query += side_features.embed_users(config, tuple(weights.tower), known)
        query = two_tower.scale_for(config.similarity, query)
        return two_tower.all_logits(query, candidates, config.temperature)

    def score_fn(history: Sequences) -> np.ndarray:
        padded, lengths = history.to_padded(config.history_length)
        known = np.full([history.num_rows, num_slots], feature_values.PADDING, np.int32)
        if user_features is not None and history.user_index is not None:
            known = user_features.index[history.user_index]
        # Not `.numpy()`, which copies.
        return np.asarray(score(tf.constant(padded), tf.constant(lengths), tf.constant(known)))

    return score_fn
