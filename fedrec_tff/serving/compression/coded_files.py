"""Files of a compact model for programs without this project, which hold its codes."""

# Tested in tests/serving/compression/test_coded_table.py.

import pathlib

import tensorflow as tf

from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.serving import lite_model, saved_model
from fedrec_tff.serving.compression import coded_table, graph_arrays
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.compression.compact_recommender import CompactRecommender

_CODED = "coded"


class CodedScorer(lite_model.LiteScorer):
    """Scores by codes, in a file of TensorFlow Lite."""

    def __init__(self, model: CompactModel) -> None:
        """Wraps a model.

        Args:
          model: The model.
        """
        self._model = model
        self.num_items, self.history_length = model.embedding.num_rows, model.config.history_length

    def encode(self, history: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `LiteScorer`."""
        # Indices are never below zero, which no compiler knows.
        return self._open(tf.minimum(history[0, 0], 0)).encode(history, mask)

    def score(self, query: tf.Tensor) -> tf.Tensor:
        """See `LiteScorer`."""
        return self._open(tf.cast(tf.minimum(tf.abs(query[0, 0]), 0.0), tf.int32)).score(query)

    def _open(self, zero: tf.Tensor) -> coded_table.CodedTable:
        return coded_table.CodedTable(self._model, graph_arrays.Constants(zero))


def save(
    model: CompactModel, items: item_catalogue.ItemCatalogue, folder: pathlib.Path, default_k: int
) -> pathlib.Path:
    """Writes a model as a SavedModel; see `saved_model.save`.

    Args:
      model: The model.
      items: Raw ids and titles of its items.
      folder: Folder that is to hold the versions of the model.
      default_k: Number of items where a caller names none.

    Returns:
      The SavedModel's folder.
    """
    table = coded_table.CodedTable(model, graph_arrays.Variables())
    return saved_model.save_table(table, items, folder, default_k)


def write_lite(
    model: CompactModel, exact: CompactRecommender, folder: pathlib.Path, k: int
) -> list[lite_model.LiteFile]:
    """Writes a model's files of TensorFlow Lite, and tries each on made-up histories.

    Args:
      model: The model.
      exact: Recommender of the same model, which the files are compared with.
      folder: Folder that is to hold the files; made here.
      k: Length of a recommender's lists.

    Returns:
      What was written.

    Raises:
      UserError: If the model has operations that TensorFlow Lite lacks.
    """
    precisions = {_CODED: lite_model.Precision.FLOAT32}
    return lite_model.write_scorer(CodedScorer(model), exact, folder, k, precisions)
