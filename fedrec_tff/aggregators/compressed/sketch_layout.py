"""An update as keyed blocks of numbers: what a count sketch adds up.

A row of the item table is a block, across all its tensors; its key is the item. The dense rest,
flattened, is cut into blocks of the same width, with the keys that follow.
"""

# Tested in tests/aggregators/test_compressed_sketch.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.aggregators.compressed import dense_form, parts

_WIDTH_WITHOUT_TABLE = 32


class Layout:
    """How the numbers of an update, in its dense form, are laid out.

    Attributes:
      width: Numbers in a block.
      num_blocks: Blocks of the dense form, which are also the keys.
      num_weights: Numbers in the dense form.
    """

    def __init__(self, value: Any, num_items: int) -> None:
        """Lays updates out.

        Args:
          value: The `tf.TensorSpec`s of a client's update, row-sparse or dense, or the update.
          num_items: Rows of the item table.
        """
        self._specs = dense_form.create_dense_specs(value, num_items)
        self._is_table = dense_form.find_tables(value, num_items)
        self._num_items = num_items if any(self._is_table) else 0
        self._shapes = [spec.shape for spec in tf.nest.flatten(self._specs)]
        rest = self._choose(self._shapes, is_table=False)
        rest_size = sum(shape.num_elements() for shape in rest)
        table = self._choose(self._shapes, is_table=True)
        table_width = sum(shape[1:].num_elements() for shape in table)
        self.width = table_width or _WIDTH_WITHOUT_TABLE
        self.num_weights = self._num_items * table_width + rest_size
        self._rest_padding = -rest_size % self.width
        self.num_blocks = self._num_items + (rest_size + self._rest_padding) // self.width

    def to_blocks(self, value: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Cuts a client's update into blocks.

        Args:
          value: The client's update, row-sparse or dense.

        Returns:
          int32 [blocks], their keys; and float32 [blocks, width], padding rows being zero.
        """
        tensors = [part.tensor for part in parts.split(value)]
        keys, blocks = [], []
        table = self._choose(tensors, is_table=True)
        if table:
            is_row_sparse = isinstance(value, row_sparse.RowSparse)
            keys.append(value.ids if is_row_sparse else tf.range(self._num_items))
            rows = [tf.reshape(tensor, [-1, tensor.shape[1:].num_elements()]) for tensor in table]
            blocks.append(tf.concat(rows, axis=1))
        rest = [tf.reshape(tensor, [-1]) for tensor in self._choose(tensors, is_table=False)]
        if rest:
            flat = tf.pad(tf.concat(rest, axis=0), [[0, self._rest_padding]])
            keys.append(tf.range(self._num_items, self.num_blocks))
            blocks.append(tf.reshape(flat, [-1, self.width]))
        return tf.concat(keys, axis=0), tf.concat(blocks, axis=0)

    def from_blocks(self, blocks: tf.Tensor) -> Any:
        """Puts all blocks together again.

        Args:
          blocks: float32 [num_blocks, width], in the order of their keys.

        Returns:
          The dense form.
        """
        table, rest = blocks[: self._num_items], tf.reshape(blocks[self._num_items :], [-1])
        tensors = []
        for shape, is_table in zip(self._shapes, self._is_table, strict=True):
            if is_table:
                size = shape[1:].num_elements()
                taken, table = table[:, :size], table[:, size:]
            else:
                size = shape.num_elements()
                taken, rest = rest[:size], rest[size:]
            tensors.append(tf.reshape(taken, shape))
        return tf.nest.pack_sequence_as(self._specs, tensors)

    def _choose(self, things: list[Any], *, is_table: bool) -> list[Any]:
        """Those that belong to tensors of the table, or to the others."""
        pairs = zip(things, self._is_table, strict=True)
        return [thing for thing, belongs in pairs if belongs == is_table]
