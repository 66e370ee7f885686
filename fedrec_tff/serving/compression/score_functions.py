"""A compact model as scores, and as arrays that can be trained."""

# Tested in tests/serving/compression/test_distillation.py.

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.run.finished.item_catalogue import ItemCatalogue
from fedrec_tff.serving.compression import compact_recommender, following
from fedrec_tff.serving.compression.coded import Plain
from fedrec_tff.serving.compression.compact_model import CompactModel


def create(model: CompactModel) -> ScoreFn:
    """Creates the scorer of a model.

    Args:
      model: The model.

    Returns:
      From histories to scores, float32 [rows, num_items].
    """
    # Scores need neither ids nor titles.
    nameless = ItemCatalogue(np.zeros(0, object))
    return compact_recommender.CompactRecommender(model, nameless).score


def to_shaped(
    model: CompactModel, to_tensor: Callable[[Plain], tf.Tensor] | None = None
) -> following.Shaped:
    """A model as training has it.

    Args:
      model: The model.
      to_tensor: Function from a plain part to the tensor that stands for it; None for constants.

    Returns:
      The model.
    """
    if to_tensor is None:
        arrays = following.Arrays(
            tf.constant(model.embedding.decode()),
            tf.constant(model.bias.decode()),
            tuple(tf.constant(part.decode()) for part in model.tower),
        )
        return following.Shaped(model.config, lambda: arrays)

    def create_arrays() -> following.Arrays:
        return following.Arrays(
            model.embedding.to_tensor(to_tensor),
            model.bias.to_tensor(to_tensor),
            tuple(part.to_tensor(to_tensor) for part in model.tower),
        )

    return following.Shaped(model.config, create_arrays)
