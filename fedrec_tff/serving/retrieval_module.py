"""The model as a TensorFlow module: from raw ids to ids, titles and scores, in one graph.

The exact search is TFRS's `BruteForce`; the catalogue's part of it that is searched at once is
bounded, so that a million items cost no more memory than a hundred thousand.
"""

# Tested in tests/serving/test_saved_model.py.

from collections.abc import Callable

import tensorflow as tf
import tensorflow_recommenders as tfrs

from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.serving import baked_model
from fedrec_tff.serving.baked_model import BakedModel

HISTORY, K = "history", "k"
# So many items are scored at once.
ITEMS_PER_BLOCK = 100_000
_BATCH_OF_IDS = tf.TensorSpec([None, None], tf.string, HISTORY)
_BATCH_OF_INDICES = tf.TensorSpec([None, None], tf.int32, HISTORY)
_K = tf.TensorSpec([], tf.int32, K)


class RetrievalModule(tf.Module):
    """A model with its items, as what TensorFlow saves."""

    def __init__(
        self, model: BakedModel, default_k: int, items_per_block: int = ITEMS_PER_BLOCK
    ) -> None:
        """Makes variables of a model.

        Args:
          model: The model.
          default_k: Number of items where the caller names none.
          items_per_block: Number of items that are scored at once, at most.
        """
        super().__init__()
        self._config, self._default_k = model.config, default_k
        self._num_items, self._dim = model.embedding.shape
        self._tower = [tf.Variable(part, trainable=False) for part in model.tower]
        vectors = tf.concat([model.create_vectors(), model.bias[:, tf.newaxis]], axis=1)
        self._starts = range(0, self._num_items, items_per_block)
        self._blocks = [
            tfrs.layers.factorized_top_k.BruteForce(name=f"items_{start}").index(
                vectors[start : start + items_per_block],
                tf.range(start, min(start + items_per_block, self._num_items)),
            )
            for start in self._starts
        ]
        # Only where a history's items are not read as candidates are: the table is most of a model.
        self._embedding = (
            tf.Variable(model.embedding, trainable=False)
            if model.has_candidates_of_their_own
            else None
        )
        # One more row each, for no item.
        self._ids = tf.Variable([*model.items.ids, ""], trainable=False)
        titles = model.items.titles
        titles = [""] * self._num_items if titles is None else titles
        self._titles = tf.Variable([*titles, ""], trainable=False)
        self._index_of_id = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(model.items.ids)), tf.range(self._num_items)
            ),
            default_value=NO_ITEM,
        )

    @property
    def signatures(self) -> dict[str, Callable]:
        """What a caller may ask for, by name."""
        return {
            "serving_default": self.recommend_default,
            "recommend": self.recommend,
            "recommend_by_index": self.recommend_by_index,
            "encode": self.encode,
            "items": self.describe_items,
        }

    @tf.function(input_signature=[_BATCH_OF_IDS])
    def recommend_default(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `recommend`, with the k that was chosen at export."""
        return self._recommend(self._index_of_id.lookup(history), tf.constant(self._default_k))

    @tf.function(input_signature=[_BATCH_OF_IDS, _K])
    def recommend(self, history: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Recommends by raw ids.

        Args:
          history: string [batch, length], raw ids, oldest first. What the model does not know is
            skipped, as is the empty text, which pads shorter histories.
          k: int32 scalar, the number of items.

        Returns:
          `index` int32, `id` and `title` string, `score` float32, all [batch, min(k, num_items)],
          best first, without the items of the history. Where fewer are left: -1, empty texts, and
          minus infinity.
        """
        return self._recommend(self._index_of_id.lookup(history), k)

    @tf.function(input_signature=[_BATCH_OF_INDICES, _K])
    def recommend_by_index(self, history: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `recommend`, with int32 indices of items; negative ones pad shorter histories."""
        return self._recommend(self._to_known(history), k)

    @tf.function(input_signature=[_BATCH_OF_INDICES])
    def encode(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encodes histories of indices: `query`, float32 [batch, dim]."""
        return {"query": self._encode(self._to_known(history))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "index")])
    def describe_items(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """What queries are multiplied with, and what is added, for items by their index.

        Args:
          index: int32 [n].

        Returns:
          `vector` float32 [n, dim], `bias` float32 [n], `id` and `title` string [n].
        """
        rows = self._gather_rows(index)
        return {
            "vector": rows[:, : self._dim],
            "bias": rows[:, self._dim],
            "id": tf.gather(self._ids, index),
            "title": tf.gather(self._titles, index),
        }

    def _to_known(self, history: tf.Tensor) -> tf.Tensor:
        is_known = tf.logical_and(history >= 0, history < self._num_items)
        return tf.where(is_known, history, NO_ITEM)

    def _recommend(self, history: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        k = tf.minimum(k, self._num_items)
        tf.debugging.assert_positive(k, "k must be at least 1")
        scores, index = self._search(self._encode(history), k + tf.shape(history)[1])
        is_seen = tf.reduce_any(
            tf.equal(index[:, :, tf.newaxis], history[:, tf.newaxis, :]), axis=2
        )
        # Of the best, all sorted, the first k that are left.
        scores, place = tf.math.top_k(tf.where(is_seen, -float("inf"), scores), k)
        index = tf.gather(index, place, batch_dims=1)
        is_left = tf.logical_not(tf.gather(is_seen, place, batch_dims=1))
        row = tf.where(is_left, index, self._num_items)
        return {
            "index": tf.where(is_left, index, NO_ITEM),
            "id": tf.gather(self._ids, row),
            "title": tf.gather(self._titles, row),
            "score": scores,
        }

    def _encode(self, history: tf.Tensor) -> tf.Tensor:
        """Of indices, with `NO_ITEM` anywhere: float32 [batch, dim]."""
        known = tf.ragged.boolean_mask(history, tf.not_equal(history, NO_ITEM))
        length = self._config.history_length
        newest = known[:, -length:]
        mask = tf.sequence_mask(newest.row_lengths(), length, tf.float32)
        padded = newest.to_tensor(shape=[None, length])
        embedding = self._embedding
        if embedding is None:
            # Only the rows that are read.
            embedding = self._gather_rows(tf.reshape(padded, [-1]))[:, : self._dim]
            padded = tf.reshape(tf.range(tf.size(padded)), tf.shape(padded))
        return baked_model.encode(self._config, embedding, tuple(self._tower), padded, mask)

    def _search(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best of all items, best first: scores and indices, [batch, min(count, num_items)]."""
        query = tf.concat([query, tf.ones_like(query[:, :1])], axis=1)
        found = [block(query, k=tf.minimum(count, _num_rows(block))) for block in self._blocks]
        scores, index = (tf.concat(parts, axis=1) for parts in zip(*found, strict=True))
        # On equal scores the smaller index is first: blocks are in order, and the search is stable.
        scores, place = tf.math.top_k(scores, tf.minimum(count, self._num_items))
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
