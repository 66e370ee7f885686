"""Recommendations of a model in memory, and of a finished run's."""

import functools

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.models import two_tower
from fedrec_tff.run.finished import finished_run, recommending
from fedrec_tff.serving import baked_model
from fedrec_tff.serving.baked_model import BakedModel
from fedrec_tff.serving.recommender import Recommender


class BakedRecommender(Recommender):
    """Recommends by a model in memory, ranking all items."""

    def __init__(self, model: BakedModel) -> None:
        """Wraps a model.

        Args:
          model: The model.
        """
        self.items, self.history_length = model.items, model.config.history_length
        self._model, self.reads_all = model, model.reads_all
        self._vectors = model.create_vectors()
        # Outside of the graph, which has no room for two gigabytes.
        self._embedding = tf.constant(model.embedding)
        self._top_k = recommending.rank_all(self.score, len(model.bias))

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`."""
        return self._top_k(histories, k)

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`."""
        if self._model.personal is not None:
            first, end = histories.offsets[[0, -1]]
            return self._complete(histories.items[first:end], histories.lengths).numpy()
        padded, lengths = histories.to_padded(self.history_length)
        return self._encode(tf.constant(padded), tf.constant(lengths)).numpy()

    @property
    def item_vectors(self) -> np.ndarray:
        """See `Recommender`."""
        return self._vectors

    @property
    def item_bias(self) -> np.ndarray:
        """See `Recommender`."""
        return self._model.bias

    @functools.cached_property
    def _encode(self):
        model = self._model
        signature = [
            tf.TensorSpec([None, self.history_length], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]

        @tf.function(input_signature=signature, autograph=False)
        def encode(history: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
            mask = tf.sequence_mask(length, self.history_length, tf.float32)
            return baked_model.encode(model.config, self._embedding, model.tower, history, mask)

        return encode

    @functools.cached_property
    def _complete(self):
        """As `_encode`, with the personal part fitted to each history, from all its items."""
        model = self._model
        items = two_tower.ItemRows(self._embedding, tf.constant(model.bias))
        gather_fn = functools.partial(two_tower.gather_items, items)
        signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.int64)]

        @tf.function(input_signature=signature, autograph=False)
        def complete(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
            histories = tf.RaggedTensor.from_row_lengths(values, lengths)
            encoded = model.personal.encode(model.config, gather_fn, model.tower, histories)
            return baked_model.to_query(model.config, encoded)

        return complete


def open_run(run: finished_run.FinishedRun) -> Recommender:
    """Opens a finished run.

    Args:
      run: The run.

    Returns:
      What recommends by its model.

    Raises:
      UserError: If a history is not enough for it, or files cannot be read.
    """
    return BakedRecommender(baked_model.bake(run))
