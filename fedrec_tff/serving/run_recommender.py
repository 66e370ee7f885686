"""Recommendations of a model in memory, and of a finished run's."""

import functools

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.run.finished import finished_run, recommending
from fedrec_tff.run.folder import model_file
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
        self._model = model
        self._vectors = model.create_vectors()
        # Outside of the graph, which has no room for two gigabytes.
        self._embedding = tf.constant(model.embedding)
        self._top_k = recommending.rank_all(self.score, len(model.bias))

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`."""
        return self._top_k(histories, k)

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`."""
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


class PersonalRecommender(Recommender):
    """Recommends by a run whose model is completed on each user's device, from a history."""

    def __init__(self, run: finished_run.FinishedRun) -> None:
        """Wraps a run.

        Args:
          run: The run.
        """
        self.items, self.history_length = run.items, run.config.two_tower.history_length
        self._arrays = model_file.read_arrays(run.directory.model)
        self._score_fn = run.score_fn
        self._top_k = recommending.rank_all(run.score_fn, len(self.items.ids))

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`."""
        return self._top_k(histories, k)

    def score(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`; with what devices add."""
        return self._score_fn(histories)

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`; refused, for devices scale and shift what they encode themselves."""
        raise errors.UserError(
            "a part of the model is fitted on each user's own device (--personal_tower), so there "
            "is no query that holds for a history: ask for recommendations"
        )

    @property
    def item_vectors(self) -> np.ndarray:
        """See `Recommender`; those of the global part."""
        return self._arrays.embedding

    @property
    def item_bias(self) -> np.ndarray:
        """See `Recommender`; those of the global part."""
        return self._arrays.bias


def open_run(run: finished_run.FinishedRun) -> Recommender:
    """Opens a finished run.

    Args:
      run: The run.

    Returns:
      What recommends by its model.

    Raises:
      UserError: If a history is not enough for it, or files cannot be read.
    """
    run.check_history_is_enough()
    if run.config.personal is not None:
        return PersonalRecommender(run)
    return BakedRecommender(baked_model.bake(run))
