"""The model as a TensorFlow module: from raw ids to ids, titles and scores, in one graph."""

# Tested in tests/serving/test_saved_model.py.

from collections.abc import Callable

import tensorflow as tf

from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.run.finished import item_catalogue
from fedrec_tff.serving.served_table import ServedTable

HISTORY, K = "history", "k"
_BATCH_OF_IDS = tf.TensorSpec([None, None], tf.string, HISTORY)
_BATCH_OF_INDICES = tf.TensorSpec([None, None], tf.int32, HISTORY)
_K = tf.TensorSpec([], tf.int32, K)


class RetrievalModule(tf.Module):
    """A model with its items, as what TensorFlow saves."""

    def __init__(
        self, table: ServedTable, items: item_catalogue.ItemCatalogue, default_k: int
    ) -> None:
        """Makes variables of the items.

        Args:
          table: The model.
          items: Raw ids and titles, in the order of the table's rows.
          default_k: Number of items where the caller names none.
        """
        super().__init__()
        self._table, self._default_k = table, default_k
        self._num_items = table.num_items
        # One more row each, for no item.
        self._ids = tf.Variable([*items.ids, ""], trainable=False)
        titles = [""] * self._num_items if items.titles is None else items.titles
        self._titles = tf.Variable([*titles, ""], trainable=False)
        self._index_of_id = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(items.ids)), tf.range(self._num_items)
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
        vector, bias = self._table.describe(index)
        return {
            "vector": vector,
            "bias": bias,
            "id": tf.gather(self._ids, index),
            "title": tf.gather(self._titles, index),
        }

    def _to_known(self, history: tf.Tensor) -> tf.Tensor:
        is_known = tf.logical_and(history >= 0, history < self._num_items)
        return tf.where(is_known, history, NO_ITEM)

    # Functions of their own, so that a graph has them once for all signatures.
    @tf.function(input_signature=[_BATCH_OF_INDICES, _K])
    def _recommend(self, history: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        k = tf.minimum(k, self._num_items)
        tf.debugging.assert_positive(k, "k must be at least 1")
        scores, index = self._table.search(self._encode(history), k + tf.shape(history)[1])
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

    @tf.function(input_signature=[_BATCH_OF_INDICES], autograph=False)
    def _encode(self, history: tf.Tensor) -> tf.Tensor:
        """Of indices, with `NO_ITEM` anywhere: float32 [batch, dim]."""
        known = tf.ragged.boolean_mask(history, tf.not_equal(history, NO_ITEM))
        return self._table.encode_whole(known)
