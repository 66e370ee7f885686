"""Updates in the dense form that their sums have: specs, and rows put into their place."""

# Tested in tests/aggregators/test_compressed_projections.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import row_sparse


def create_dense_specs(value_specs: Any, num_items: int) -> Any:
    """The specs of an update's sum.

    Args:
      value_specs: `tf.TensorSpec`s of a structure, or of a `RowSparse` of one.
      num_items: Rows of the item table.
    """
    if not isinstance(value_specs, row_sparse.RowSparse):
        return value_specs
    return tf.nest.map_structure(
        lambda spec: row_sparse.create_dense_spec(spec, num_items), value_specs.value
    )


def find_tables(value: Any, num_items: int) -> list[bool]:
    """Which tensors of an update are rows of the item table, in the order of `tf.nest`.

    Args:
      value: Tensors or `tf.TensorSpec`s. Those of a `RowSparse` say it themselves; dense ones are
        rows of the table if there are as many as items.
      num_items: Rows of the item table.
    """
    if isinstance(value, row_sparse.RowSparse):
        return [row_sparse.is_rows(spec) for spec in tf.nest.flatten(value.value)]
    flat = tf.nest.flatten(value)
    return [spec.shape.rank > 0 and spec.shape[0] == num_items for spec in flat]


def densify(value: Any, num_items: int) -> list[tf.Tensor]:
    """The tensors of an update in its dense form, in the order of `tf.nest`."""
    if not isinstance(value, row_sparse.RowSparse):
        return tf.nest.flatten(value)
    ids = value.ids[:, tf.newaxis]

    def place(tensor: tf.Tensor) -> tf.Tensor:
        if not row_sparse.is_rows(tensor):
            return tensor
        zeros = tf.zeros([num_items, *tensor.shape[1:]], tensor.dtype)
        return tf.tensor_scatter_nd_add(zeros, ids, tensor)

    return [place(tensor) for tensor in tf.nest.flatten(value.value)]
