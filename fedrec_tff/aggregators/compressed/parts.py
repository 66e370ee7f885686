"""A client's update as a list of float tensors, and which of their coordinates it sends."""

# Tested in tests/aggregators/test_compressed_sizes.py.

from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.aggregators import row_sparse

_BLOCK = 64


class Part(NamedTuple):
    """One tensor of an update.

    Attributes:
      tensor: float32, any shape; padding rows are zero.
      ids: int32 [rows], the table row of each row; None for a dense tensor.
      is_real: bool, of a shape that broadcasts to the tensor's: false in padding rows, which do not
        travel. A row is real where its id is above the one before, and the first one is.
    """

    tensor: tf.Tensor
    ids: tf.Tensor | None
    is_real: tf.Tensor


def split(value: Any) -> list[Part]:
    """Takes an update apart.

    Args:
      value: A structure of float32 tensors, or a `RowSparse` of one, as a TFF computation gets it:
        what `row_sparse.is_rows` is a row tensor.

    Returns:
      Tensors of the update in the order of `tf.nest`, without the ids.
    """
    if not isinstance(value, row_sparse.RowSparse):
        return [Part(tensor, None, tf.constant(True)) for tensor in tf.nest.flatten(value)]
    is_real = find_real_rows(value.ids)

    def create_part(tensor: tf.Tensor) -> Part:
        if not row_sparse.is_rows(tensor):
            return Part(tensor, None, tf.constant(True))
        mask = tf.reshape(is_real, [-1] + [1] * (tensor.shape.rank - 1))
        return Part(tf.where(mask, tensor, 0.0), value.ids, mask)

    return [create_part(tensor) for tensor in tf.nest.flatten(value.value)]


def join(value: Any, tensors: list[tf.Tensor]) -> Any:
    """Puts other tensors in the place of an update's, and keeps its ids."""
    if not isinstance(value, row_sparse.RowSparse):
        return tf.nest.pack_sequence_as(value, tensors)
    return row_sparse.RowSparse(value.ids, tf.nest.pack_sequence_as(value.value, tensors))


def find_real_rows(ids: tf.Tensor) -> tf.Tensor:
    """Which rows are no padding: bool [rows]."""
    is_first = tf.ones_like(ids[:1], tf.bool)
    return tf.concat([is_first, ids[1:] > ids[:-1]], axis=0)


def count_coordinates(part: Part) -> tf.Tensor:
    """How many numbers of a tensor the client sends: int64 scalar."""
    if part.ids is None:
        return tf.size(part.tensor, tf.int64)
    num_real = tf.reduce_sum(tf.cast(part.is_real, tf.int64))
    return num_real * _row_size(part.tensor)


def locate(part: Part, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lays a mask out as runs of neighbouring coordinates.

    Args:
      part: A tensor.
      mask: bool, of the tensor's shape.

    Returns:
      bool [runs, length], the mask; and int64 [runs], the position of each run's first coordinate
      in the dense tensor, flattened. Positions ascend where ids do.
    """
    if part.ids is not None:
        size = _row_size(part.tensor)
        return tf.reshape(mask, [-1, size]), tf.cast(part.ids, tf.int64) * size
    flat = tf.reshape(mask, [-1])
    flat = tf.pad(flat, [[0, -flat.shape[0] % _BLOCK]])
    return tf.reshape(flat, [-1, _BLOCK]), tf.range(0, flat.shape[0], _BLOCK, tf.int64)


def _row_size(tensor: tf.Tensor) -> int:
    return tensor.shape[1:].num_elements()
