"""A table of which few rows are not zero, read a stretch at a time as if it were whole."""

# Tested in tests/privacy/test_table_rows.py.

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class TableRows:
    """A table of which some rows are given, and all others are zero.

    Attributes:
      ids: int32 [num_given], places of the given rows, ascending and distinct.
      rows: [num_given, ...], the rows.
      num_rows: Rows of the table.
    """

    ids: tf.Tensor
    rows: tf.Tensor
    num_rows: int

    @property
    def shape(self) -> tf.TensorShape:
        """The shape of the table."""
        return tf.TensorShape([self.num_rows, *self.rows.shape[1:]])


def read(
    table: tf.Tensor | TableRows, begin: tf.Tensor | int, size: int | None = None
) -> tf.Tensor:
    """Reads numbers of a table, one row behind the other.

    Args:
      table: The table, as rows or whole.
      begin: The first number; int64 where it is a tensor.
      size: How many numbers; None for all that follow.

    Returns:
      The numbers: [size].
    """
    if isinstance(table, tf.Tensor):
        flat = tf.reshape(table, [-1])
        return flat[begin:] if size is None else tf.ensure_shape(flat[begin : begin + size], [size])
    if size is None:
        size = table.shape.num_elements() - begin
    width = table.shape[1:].num_elements()
    first_row = begin // width
    # Wherever in a row they begin.
    num_rows = -(-size // width) + 1
    bounds = tf.cast([first_row, first_row + num_rows], table.ids.dtype)
    first, end = tf.unstack(tf.searchsorted(table.ids, bounds))
    places = (table.ids[first:end] - bounds[0])[:, tf.newaxis]
    rows = tf.reshape(table.rows[first:end], [-1, width])
    stretch = tf.reshape(tf.scatter_nd(places, rows, [num_rows, width]), [-1])
    offset = begin - first_row * width
    return tf.ensure_shape(stretch[offset : offset + size], [size])


def to_dense(table: tf.Tensor | TableRows) -> tf.Tensor:
    """The whole table."""
    if isinstance(table, tf.Tensor):
        return table
    return tf.scatter_nd(table.ids[:, tf.newaxis], table.rows, table.shape)
