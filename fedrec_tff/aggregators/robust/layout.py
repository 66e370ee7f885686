"""Updates as matrices: the rows of the item table that a client sent, and a vector of the rest."""

# Tested in tests/aggregators/test_robust_selection.py.

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse


class Update(NamedTuple):
    """One client's update.

    Attributes:
      ids: int32 [rows], the table row of each row, ascending, in the table.
      rows: float32 [rows, width], the row tensors side by side; zero where a row does not count.
      rest: float32 [rest_size], all other tensors.
    """

    ids: tf.Tensor
    rows: tf.Tensor
    rest: tf.Tensor


class Layout:
    """Where the tensors of an update lie in its matrices.

    In a `row_sparse.RowSparse` the row tensors are those of unknown first dimension; in any other
    structure, those whose first dimension is the number of rows of the table. A row of the table
    is what all of them say of one id.

    Attributes:
      is_row_sparse: Whether clients send `RowSparse`.
      num_rows: Rows of the table.
      width: Numbers in a row of the table.
      rest_size: Numbers outside of the table.
    """

    def __init__(self, value_type: tff.Type, num_rows: int) -> None:
        """Reads a type.

        Args:
          value_type: The type of an update, all of it float32 but for a `RowSparse`'s ids.
          num_rows: Rows of the table.

        Raises:
          TypeError: If a tensor is not float32, or of unknown shape.
        """
        self.is_row_sparse = (
            isinstance(value_type, tff.types.StructWithPythonType)
            and value_type.python_container is row_sparse.RowSparse
        )
        self.num_rows = num_rows
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        if self.is_row_sparse:
            self._is_table = [row_sparse.is_rows(spec) for spec in tf.nest.flatten(specs.value)]
            specs = tf.nest.map_structure(
                lambda spec: row_sparse.create_dense_spec(spec, num_rows), specs.value
            )
        else:
            self._is_table = [
                spec.shape.rank > 0 and spec.shape[0] == num_rows for spec in tf.nest.flatten(specs)
            ]
        self._specs, flat = specs, tf.nest.flatten(specs)
        for spec in flat:
            if spec.dtype != tf.float32 or not spec.shape.is_fully_defined():
                raise TypeError(f"expected float32 tensors of known shapes, found {spec}")
        sizes = [spec.shape.num_elements() for spec in flat]
        self._widths = [n // num_rows for n, t in zip(sizes, self._is_table, strict=True) if t]
        self._rest_sizes = [n for n, t in zip(sizes, self._is_table, strict=True) if not t]
        self.width, self.rest_size = sum(self._widths), sum(self._rest_sizes)

    def split(self, value: Any) -> Update:
        """Puts one client's tensors into matrices, of the rows that count."""
        value = row_sparse.keep_distinct(value, self.num_rows)
        flat = tf.nest.flatten(value.value if self.is_row_sparse else value)
        rows = [t for t, is_table in zip(flat, self._is_table, strict=True) if is_table]
        rest = [t for t, is_table in zip(flat, self._is_table, strict=True) if not is_table]
        ids = value.ids if self.is_row_sparse else tf.range(self.num_rows)
        parts = [
            tf.reshape(t, [tf.size(ids), width])
            for t, width in zip(rows, self._widths, strict=True)
        ]
        matrix = _concat(parts, axis=1, empty=tf.zeros([tf.size(ids), 0]))
        vector = _concat([tf.reshape(t, [-1]) for t in rest], axis=0, empty=tf.zeros([0]))
        return Update(ids, matrix, vector)

    def join(self, table: tf.Tensor, rest: tf.Tensor) -> Any:
        """The dense structure of an update.

        Args:
          table: float32 [num_rows, width].
          rest: float32 [rest_size].
        """
        rows = iter(tf.split(table, self._widths, axis=1) if self._widths else [])
        others = iter(tf.split(rest, self._rest_sizes) if self._rest_sizes else [])
        tensors = [
            tf.reshape(next(rows if is_table else others), spec.shape)
            for spec, is_table in zip(tf.nest.flatten(self._specs), self._is_table, strict=True)
        ]
        return tf.nest.pack_sequence_as(self._specs, tensors)


def _concat(parts: list[tf.Tensor], axis: int, empty: tf.Tensor) -> tf.Tensor:
    return tf.concat(parts, axis) if parts else empty
