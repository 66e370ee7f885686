"""A compact model as TensorFlow serves it: its graph holds codes, and decodes what is read.

The rows of a history's items are decoded for the query tower; candidates are decoded block by
block, so the item table is never in memory in full width.
"""

from collections.abc import Callable

import tensorflow as tf

from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.serving.compression import graph_arrays
from fedrec_tff.serving.compression.array_store import ArrayStore
from fedrec_tff.serving.compression.compact_model import CompactModel
from fedrec_tff.serving.served_table import ServedTable

ITEMS_PER_BLOCK = 4096


class CodedTable(ServedTable):
    """See the module."""

    def __init__(
        self,
        model: CompactModel,
        arrays: ArrayStore,
        items_per_block: int = ITEMS_PER_BLOCK,
    ) -> None:
        """Puts a model into a graph.

        Args:
          model: The model.
          arrays: Where its arrays are put.
          items_per_block: Number of items that are decoded at once, at most.
        """
        super().__init__()
        self.config, self.num_items = model.config, model.embedding.num_rows
        self._arrays, self._items_per_block = arrays, min(items_per_block, self.num_items)
        self._embed = model.embedding.hold_rows(arrays)
        self._read_bias = graph_arrays.read_all(model.bias, arrays)
        self._read_tower: list[Callable[[], tf.Tensor]] = [
            graph_arrays.read_all(part, arrays) for part in model.tower
        ]

    def get_tower(self) -> tuple[tf.Tensor, ...]:
        """See `ServedTable`."""
        return tuple(read() for read in self._read_tower)

    def embed(self, index: tf.Tensor) -> tf.Tensor:
        """See `ServedTable`."""
        return self._embed(index)

    def describe(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ServedTable`."""
        bias = tf.gather(self._read_bias(), index)
        rows = two_tower.ItemRows(self.embed(index), bias)
        candidates = tower_encoding.encode_candidates(self.config, self.get_tower(), rows)
        return two_tower.scale_for(self.config.similarity, candidates.embedding), bias

    def score(self, query: tf.Tensor) -> tf.Tensor:
        """Scores all items: from float32 [batch, dim] to float32 [batch, num_items]."""
        every = self._arrays.count_to(self.num_items)
        size = self._items_per_block
        starts = range(0, self.num_items, size)
        return tf.concat(
            [self._score(query, every[start : start + size]) for start in starts], axis=1
        )

    def search(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ServedTable`."""
        size, count = self._items_per_block, tf.minimum(count, self.num_items)
        batch = tf.shape(query)[0]

        def search_block(start, best_scores, best_index):
            # The last block begins earlier, so that all are alike; what it has twice is left out.
            index = tf.minimum(start, self.num_items - size) + tf.range(size)
            scores = tf.where(index >= start, self._score(query, index), -float("inf"))
            index = tf.where(index >= start, index, self.num_items)
            scores = tf.concat([best_scores, scores], axis=1)
            index = tf.concat([best_index, tf.tile(index[tf.newaxis], [batch, 1])], axis=1)
            # Stable: on equal scores what was there before, whose index is smaller, is first.
            best_scores, place = tf.math.top_k(scores, count)
            return start + size, best_scores, tf.gather(index, place, batch_dims=1)

        nothing = tf.fill([batch, count], -float("inf")), tf.fill([batch, count], self.num_items)
        unknown = tf.TensorShape([None, None])
        _, scores, index = tf.while_loop(
            lambda start, *_: start < self.num_items,
            search_block,
            (tf.constant(0), *nothing),
            shape_invariants=(tf.TensorShape([]), unknown, unknown),
            parallel_iterations=1,
        )
        return scores, index

    def _score(self, query: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        vectors, bias = self.describe(index)
        return tf.linalg.matmul(query, vectors, transpose_b=True) + bias
