"""The same two-tower model as a `tfrs.Model`, for centralised training and for serving."""

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import side_features, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig


class TwoTowerRetrievalModel(tfrs.Model):
    """Holds two-tower weights as variables; every computation is `two_tower`'s.

    Features are a mapping with `history` (int32 [batch, history_length], oldest first, padded),
    `history_mask` (float32 of the same shape) and `item_index` (int32 [batch], what came next).
    """

    def __init__(
        self,
        config: TwoTowerConfig,
        weights: two_tower.TwoTowerWeights,
        item_features: FeatureValues | None = None,
    ) -> None:
        """Wraps weights.

        Args:
          config: The model's shape.
          weights: Initial values, such as `two_tower.create_initial_weights` or the global model
            of a federated run.
          item_features: Known features of the items; None for nothing.
        """
        super().__init__()
        self._config = config
        self._item_features = item_features
        self._item_embedding = tf.Variable(weights.items.embedding, name="item_embedding")
        self._item_bias = tf.Variable(weights.items.bias, name="item_bias")
        self._tower = [tf.Variable(w, name=f"tower_{i}") for i, w in enumerate(weights.tower)]
        self._task = tfrs.tasks.Retrieval(
            loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
            temperature=config.temperature,
            remove_accidental_hits=True,
        )

    @property
    def current_weights(self) -> two_tower.TwoTowerWeights:
        """The variables' values."""
        items = two_tower.ItemRows(tf.identity(self._item_embedding), tf.identity(self._item_bias))
        return two_tower.TwoTowerWeights(items, tuple(tf.identity(w) for w in self._tower))

    def encode_query(self, history: tf.Tensor, history_mask: tf.Tensor) -> tf.Tensor:
        """Encodes histories: float32 [batch, embedding_dim]."""
        return tower_encoding.encode_histories(
            self._config, self._known_items().embedding, tuple(self._tower), history, history_mask
        )

    def call(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Scores the whole catalogue: float32 [batch, num_items]."""
        query = self.encode_query(features["history"], features["history_mask"])
        return two_tower.all_logits(
            query,
            self.encode_candidates(self._known_items()),
            self._config.temperature,
            self._config.similarity,
        )

    def encode_candidates(self, items: two_tower.ItemRows) -> two_tower.ItemRows:
        """What queries are scored against: rows of the item table, as the candidate tower has them.

        Args:
          items: Any rows of the table, with what features add.
        """
        return tower_encoding.encode_candidates(self._config, tuple(self._tower), items)

    def compute_loss(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """In-batch softmax by `tfrs.tasks.Retrieval`: a float32 scalar, the batch's mean.

        The item's bias rides along as one more dimension, multiplied by the temperature that the
        task will divide by.
        """
        del training
        query = self.encode_query(features["history"], features["history_mask"])
        rows = two_tower.gather_items(self._known_items(), features["item_index"])
        items = self.encode_candidates(rows)
        query, embedding = (
            two_tower.scale_for(self._config.similarity, vectors)
            for vectors in (query, items.embedding)
        )
        bias = self._config.temperature * items.bias[:, tf.newaxis]
        return self._task(
            query_embeddings=tf.concat([query, tf.ones_like(query[:, :1])], axis=1),
            candidate_embeddings=tf.concat([embedding, bias], axis=1),
            candidate_ids=features["item_index"],
        )

    def _known_items(self) -> two_tower.ItemRows:
        """The item table with what features add."""
        items = two_tower.ItemRows(self._item_embedding, self._item_bias)
        weights = two_tower.TwoTowerWeights(items, tuple(self._tower))
        return side_features.bake(self._config, weights, self._item_features).items
