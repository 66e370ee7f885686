"""A model's numbers as a graph of TensorFlow holds them: what is served is made of this.

The plain form is here. Smaller forms of a model hold codes in place of numbers, and decode what is
asked for: see `compression.coded_table`.
"""

# Tested in tests/serving/test_saved_model.py.

import abc
from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_recommenders as tfrs

from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving import baked_model
from fedrec_tff.serving.baked_model import BakedModel

if TYPE_CHECKING:
    from fedrec_tff.serving.personal_part import PersonalPart

# So many items are scored at once, so that a million take no more memory than a hundred thousand.
ITEMS_PER_BLOCK = 100_000


class ServedTable(tf.Module, abc.ABC):
    """An item table with its search, and the weights of a query tower.

    Attributes:
      config: The model's shape.
      num_items: Size of the catalogue.
      personal: What fits the personal part of the model to a history; None without one.
    """

    config: TwoTowerConfig
    num_items: int
    personal: "PersonalPart | None" = None

    @abc.abstractmethod
    def get_tower(self) -> tuple[tf.Tensor, ...]:
        """The weights of the query tower."""

    @abc.abstractmethod
    def embed(self, index: tf.Tensor) -> tf.Tensor:
        """Items as the query tower reads them: from int32 [n] to float32 [n, dim]."""

    @abc.abstractmethod
    def describe(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Items as queries are scored against them.

        Args:
          index: int32 [n].

        Returns:
          What queries are multiplied with, float32 [n, dim]; what is added, float32 [n].
        """

    @abc.abstractmethod
    def search(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the best of all items.

        Args:
          query: float32 [batch, dim].
          count: int32 scalar.

        Returns:
          Scores, float32, and indices, int32, both [batch, min(count, num_items)], best first; of
          equal ones the smaller index first.
        """

    def encode(self, history: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Encodes histories; see `baked_model.encode`. Only rows that they name are read."""
        rows = self.embed(tf.reshape(history, [-1]))
        place = tf.reshape(tf.range(tf.size(history)), tf.shape(history))
        return baked_model.encode(self.config, rows, self.get_tower(), place, mask)

    def encode_whole(self, histories: tf.RaggedTensor) -> tf.Tensor:
        """Encodes histories, with what is fitted to them where the model has a personal part.

        Args:
          histories: int32 [batch, (length)], all that is known, oldest first.

        Returns:
          float32 [batch, dim].
        """
        if self.personal is not None:
            encoded = self.personal.encode(
                self.config, self._gather_items, self.get_tower(), histories
            )
            return baked_model.to_query(self.config, encoded)
        length = self.config.history_length
        newest = histories[:, -length:]
        mask = tf.sequence_mask(newest.row_lengths(), length, tf.float32)
        return self.encode(newest.to_tensor(shape=[None, length]), mask)

    def _gather_items(self, index: tf.Tensor) -> two_tower.ItemRows:
        return two_tower.ItemRows(self.embed(index), self.describe(index)[1])


class PlainTable(ServedTable):
    """Numbers as they are; the search is TFRS's `BruteForce`."""

    def __init__(self, model: BakedModel, items_per_block: int = ITEMS_PER_BLOCK) -> None:
        """Makes variables of a model.

        Args:
          model: The model.
          items_per_block: Number of items that are scored at once, at most.
        """
        super().__init__()
        self.config, self.personal = model.config, model.personal
        self.num_items, self._dim = model.embedding.shape
        self._tower = [tf.Variable(part, trainable=False) for part in model.tower]
        vectors, bias = model.create_vectors(), model.bias[:, tf.newaxis]
        self._starts = range(0, self.num_items, items_per_block)
        self._blocks = [
            tfrs.layers.factorized_top_k.BruteForce(name=f"items_{start}").index(
                # A block at a time, so that there is no second table beside the blocks.
                tf.concat([part[start : start + items_per_block] for part in (vectors, bias)], 1),
                tf.range(start, min(start + items_per_block, self.num_items)),
            )
            for start in self._starts
        ]
        # Only where a history's items are not read as candidates are: the table is most of a model.
        self._embedding = (
            tf.Variable(model.embedding, trainable=False)
            if model.has_candidates_of_their_own
            else None
        )

    def get_tower(self) -> tuple[tf.Tensor, ...]:
        """See `ServedTable`."""
        return tuple(self._tower)

    def embed(self, index: tf.Tensor) -> tf.Tensor:
        """See `ServedTable`."""
        if self._embedding is None:
            return self.describe(index)[0]
        return tf.gather(self._embedding, index)

    def describe(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ServedTable`."""
        rows = self._gather_rows(index)
        return rows[:, : self._dim], rows[:, self._dim]

    def search(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ServedTable`."""
        query = tf.concat([query, tf.ones_like(query[:, :1])], axis=1)
        found = [block(query, k=tf.minimum(count, _num_rows(block))) for block in self._blocks]
        scores, index = (tf.concat(parts, axis=1) for parts in zip(*found, strict=True))
        # On equal scores the smaller index is first: blocks are in order, and the search is stable.
        scores, place = tf.math.top_k(scores, tf.minimum(count, self.num_items))
        return scores, tf.gather(index, place, batch_dims=1)

    def _gather_rows(self, index: tf.Tensor) -> tf.Tensor:
        """Vectors and biases: float32 [n, dim + 1]."""
        if len(self._blocks) == 1:
            return tf.gather(_rows(self._blocks[0]), index)
        size = _num_rows(self._blocks[0])
        found = tf.zeros([tf.size(index), self._dim + 1])
        for start, block in zip(self._starts, self._blocks, strict=True):
            place = index - start
            is_here = tf.logical_and(place >= 0, place < size)
            rows = tf.gather(_rows(block), tf.where(is_here, place, 0))
            found = tf.where(is_here[:, tf.newaxis], rows, found)
        return found


def _rows(block: tfrs.layers.factorized_top_k.BruteForce) -> tf.Variable:
    # TFRS has no public name for it.
    return block._candidates


def _num_rows(block: tfrs.layers.factorized_top_k.BruteForce) -> int:
    return _rows(block).shape[0]
