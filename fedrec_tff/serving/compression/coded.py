"""An array in a form that takes fewer bytes: what all forms have in common.

A form may have parts that are forms again. A method turns the parts that are still plain into
another form, so that methods follow each other: `low_rank` makes two plain factors of a table, and
`quantize` after it makes whole numbers of both.
"""

# Tested in tests/serving/compression/test_compression_methods.py.

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn

# So many numbers are decoded at a time.
_NUMBERS_PER_BLOCK = 2**22


class Coded(abc.ABC):
    """An array of float32 numbers in some form; a frozen dataclass of arrays, numbers and forms."""

    @property
    @abc.abstractmethod
    def dimensions(self) -> tuple[int, ...]:
        """The shape of the array."""

    @abc.abstractmethod
    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """Decodes some rows of a matrix.

        Args:
          index: Integers [n].

        Returns:
          float32 [n, width].
        """

    @abc.abstractmethod
    def decode(self) -> np.ndarray:
        """Decodes all: float32, of the shape `dimensions`."""

    @abc.abstractmethod
    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """Decodes in TensorFlow, so that what is plain can be trained.

        Args:
          to_variable: Function from a plain part to the tensor that stands for it.

        Returns:
          float32, of the shape `dimensions`.
        """

    @abc.abstractmethod
    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """Puts the form into a graph of TensorFlow, which decodes rows.

        Rows are those of a matrix: of a tensor with more dimensions, all but the last are rows; a
        vector is one row.

        Args:
          arrays: Where arrays are put.

        Returns:
          Function from int32 [n] to those rows: float32 [n, width].
        """

    @property
    def num_rows(self) -> int:
        """The number of rows that `hold_rows` tells of."""
        return math.prod(self.dimensions[:-1])

    def multiply(self, queries: np.ndarray) -> np.ndarray:
        """Multiplies a matrix with queries, block by block: the whole is never decoded at once.

        Args:
          queries: float32 [n, width].

        Returns:
          float32 [n, rows].
        """
        num_rows, width = self.dimensions
        size = max(1, _NUMBERS_PER_BLOCK // width)
        starts = range(0, num_rows, size)
        blocks = [np.arange(start, min(start + size, num_rows)) for start in starts]
        return np.concatenate([queries @ self.decode_rows(rows).T for rows in blocks], axis=1)

    def map_plain(self, code: Callable[[Plain], Coded]) -> Coded:
        """Replaces all parts that are plain.

        Args:
          code: Function from a plain part to what takes its place.

        Returns:
          The same form of other parts.
        """
        parts = {name: part.map_plain(code) for name, part in self._parts()}
        return dataclasses.replace(self, **parts)

    def list_plain(self) -> list[Plain]:
        """All parts that are plain."""
        return [found for _, part in self._parts() for found in part.list_plain()]

    def _parts(self) -> Iterator[tuple[str, Coded]]:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Coded):
                yield field.name, value


@dataclasses.dataclass(frozen=True, eq=False)
class Plain(Coded):
    """Numbers as they are.

    Attributes:
      values: float32 or float16, of any shape.
      of_items: Whether these are numbers of the item table, which is most of a model.
    """

    values: np.ndarray
    of_items: bool = False

    @property
    def dimensions(self) -> tuple[int, ...]:
        """See `Coded`."""
        return self.values.shape

    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        return self.values[index].astype(np.float32)

    def decode(self) -> np.ndarray:
        """See `Coded`."""
        return self.values.astype(np.float32, copy=False)

    def multiply(self, queries: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        if self.values.dtype == np.float32:
            return queries @ self.values.T
        return super().multiply(queries)

    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """See `Coded`."""
        return to_variable(self)

    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """See `Coded`."""
        return arrays.hold(self.values.reshape(self.num_rows, -1))

    def map_plain(self, code: Callable[[Plain], Coded]) -> Coded:
        """See `Coded`."""
        return code(self)

    def list_plain(self) -> list[Plain]:
        """See `Coded`."""
        return [self]
