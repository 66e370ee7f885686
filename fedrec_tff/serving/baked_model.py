"""A model as it is shipped: an item table that features are in already, and a query tower.

Scores of a history are `encode(history) @ vectors.T + bias`, whatever the similarity and the
temperature were in training: the similarity is in the vectors, the temperature in the query.
"""

# Tested in tests/serving/test_saved_model.py and tests/serving/test_run_recommender.py.

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from fedrec_tff.models import config as model_config
from fedrec_tff.models import side_features, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.run.finished import finished_run, item_catalogue
from fedrec_tff.run.folder import model_file

if TYPE_CHECKING:
    from fedrec_tff.serving.personal_part import PersonalPart


@dataclasses.dataclass(frozen=True, eq=False)
class BakedModel:
    """A model that needs nothing but a history.

    Attributes:
      config: The model's shape, without features.
      embedding: float32 [num_items, dim], items as the query tower reads them.
      bias: float32 [num_items].
      tower: float32 arrays of the query tower, in its order.
      items: Raw ids and titles, in the order of the rows.
      personal: What fits the part of the model that is made from each history; None for none.
    """

    config: TwoTowerConfig
    embedding: np.ndarray
    bias: np.ndarray
    tower: tuple[np.ndarray, ...]
    items: item_catalogue.ItemCatalogue
    personal: "PersonalPart | None" = None

    def create_vectors(self) -> np.ndarray:
        """What queries are multiplied with: float32 [num_items, dim].

        Where nothing distinguishes items of a history from candidates, this is `embedding` itself.
        """
        if not self.has_candidates_of_their_own:
            return self.embedding
        rows = two_tower.ItemRows(self.embedding, self.bias)
        candidates = tower_encoding.encode_candidates(self.config, self.tower, rows).embedding
        return np.asarray(
            two_tower.scale_for(self.config.similarity, tf.convert_to_tensor(candidates))
        )

    @property
    def has_candidates_of_their_own(self) -> bool:
        """Whether the vectors of candidates are others than the embeddings of a history's items."""
        return has_candidates_of_their_own(self.config)

    @property
    def reads_all(self) -> bool:
        """Whether more of a history than its newest `history_length` items has a say."""
        return self.personal is not None and not self.config.takes_one_step


def has_candidates_of_their_own(config: TwoTowerConfig) -> bool:
    """As the property of `BakedModel`, for a model's shape."""
    return config.loaded_tower.has_candidate_tower or config.similarity != model_config.DOT


def encode(
    config: TwoTowerConfig,
    embedding: tf.Tensor,
    tower: tuple[tf.Tensor, ...],
    history: tf.Tensor,
    mask: tf.Tensor,
) -> tf.Tensor:
    """Encodes histories into what is multiplied with the vectors of a `BakedModel`.

    Args:
      config: The model's shape.
      embedding: float32 [rows, dim], what `history` points into.
      tower: Weights of the query tower.
      history: int32 [batch, history_length], oldest first, padded at the end with any valid index.
      mask: float32 [batch, history_length], 1 for an item and 0 for padding.

    Returns:
      float32 [batch, dim].
    """
    return to_query(
        config, tower_encoding.encode_histories(config, embedding, tower, history, mask)
    )


def to_query(config: TwoTowerConfig, encoded: tf.Tensor) -> tf.Tensor:
    """What the query tower makes of histories, as it is multiplied with vectors: [batch, dim]."""
    return two_tower.scale_for(config.similarity, encoded) / config.temperature


def bake(run: finished_run.FinishedRun) -> BakedModel:
    """Takes the model of a finished run out of what it was trained with.

    Args:
      run: The run; one whose model reads features of items, or whose personal part is fitted
        against items drawn by their exact popularity, needs its data, which are read again.

    Returns:
      The model.

    Raises:
      UserError: If it cannot be used without the run, or files cannot be read.
    """
    run.check_history_is_enough()
    config = run.config.two_tower
    weights = model_file.load(run.directory.model, config)
    if config.item_feature_buckets:
        weights = side_features.bake(config, weights, run.reopened.features.items)
    elif config.multiplies_rows:
        weights = side_features.bake(config, weights, None)
    embedding, bias = (np.asarray(part, np.float32) for part in weights.items)
    run.check_items(len(embedding))
    tower = tuple(np.asarray(part) for part in weights.tower[: len(config.query_tensors)])
    shape = dataclasses.replace(config.baked, item_feature_buckets=0, user_feature_buckets=0)
    personal = None
    if run.config.personal is not None:
        # Imports TensorFlow Federated.
        from fedrec_tff.serving import personal_part

        personal = personal_part.create(run)
    return BakedModel(shape, embedding, bias, tower, run.items, personal)
