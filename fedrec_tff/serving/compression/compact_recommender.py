"""Recommendations of a compact model, whose item table is never decoded as a whole.

Only the rows of a history's items are, for the query tower; a query is multiplied with the codes.
A model whose candidates have a tower or a similarity of their own is decoded once, for what is
multiplied with queries is then another table.
"""

# Tested in tests/serving/compression/test_compact_file.py.

import functools
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.run.finished import item_catalogue, recommending
from fedrec_tff.serving import baked_model, export_folder
from fedrec_tff.serving.compression import compact_file
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.recommender import Recommender


class CompactRecommender(Recommender):
    """Recommends by a compact model, ranking all items."""

    def __init__(self, model: CompactModel, items: item_catalogue.ItemCatalogue) -> None:
        """Wraps a model.

        Args:
          model: The model.
          items: Raw ids and titles of the items.
        """
        self.items, self.history_length = items, model.config.history_length
        self._model = model
        self._bias = model.bias.decode()
        self._candidates = _find_candidates(model, items)
        self._top_k = recommending.rank_all(self.score, len(self._bias))

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`."""
        return self._top_k(histories, k)

    def score(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`; multiplies with the codes."""
        return self._candidates.multiply(self.encode(histories)) + self._bias

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`."""
        padded, lengths = histories.to_padded(self.history_length)
        read, place = np.unique(padded, return_inverse=True)
        rows = self._model.embedding.decode_rows(read)
        place = place.reshape(padded.shape).astype(np.int32)
        return self._encode(*map(tf.constant, (rows, place, lengths))).numpy()

    @functools.cached_property
    def item_vectors(self) -> np.ndarray:
        """See `Recommender`; decodes the whole table."""
        return self._candidates.decode()

    @property
    def item_bias(self) -> np.ndarray:
        """See `Recommender`."""
        return self._bias

    @functools.cached_property
    def _encode(self):
        config = self._model.config
        tower = tuple(tf.constant(part.decode()) for part in self._model.tower)
        signature = [
            tf.TensorSpec([None, config.embedding_dim], tf.float32),
            tf.TensorSpec([None, self.history_length], tf.int32),
            tf.TensorSpec([None], tf.int32),
        ]

        @tf.function(input_signature=signature, autograph=False)
        def encode(rows: tf.Tensor, history: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
            mask = tf.sequence_mask(length, self.history_length, tf.float32)
            return baked_model.encode(config, rows, tower, history, mask)

        return encode


def open_export(
    folder: export_folder.ExportFolder, named: Collection[str] = ()
) -> CompactRecommender:
    """Opens an export that holds a compact model.

    Args:
      folder: The export's paths.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      What recommends by it.

    Raises:
      UserError: If its files cannot be read.
    """
    manifest = export_folder.read_manifest(folder)
    items = item_catalogue.read(folder.items, manifest.has_integer_ids)
    model = compact_file.load(folder.compact, named)
    num_items = model.embedding.dimensions[0]
    if not num_items == manifest.num_items == len(items.ids):
        raise errors.UserError(
            f"{folder.items} has {len(items.ids)} items, {folder.manifest} {manifest.num_items} "
            f"and {folder.compact} {num_items}: compress the run again"
        )
    return CompactRecommender(model, items)


def _find_candidates(model: CompactModel, items: item_catalogue.ItemCatalogue) -> Coded:
    """What queries are multiplied with."""
    if not baked_model.has_candidates_of_their_own(model.config):
        return model.embedding
    return Plain(model.decode(items).create_vectors())
