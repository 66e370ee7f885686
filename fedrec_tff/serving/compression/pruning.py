"""`prune`: the smallest numbers of each matrix are zero, and are not stored.

Han, Pool, Tran and Dally 2015, "Learning both weights and connections for efficient neural
networks" (NeurIPS 2015): what is small in magnitude goes, vectors such as biases stay. Where the
others are is a bit for each number (Zhu and Gupta 2018, "To prune, or not to prune", appendix).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from fedrec_tff import errors
from fedrec_tff.serving.compression.coded import Coded, Plain
from fedrec_tff.serving.compression.method import ArrayMethod, Inputs

if TYPE_CHECKING:
    import tensorflow as tf

    from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn


@dataclasses.dataclass(frozen=True, eq=False)
class Sparse(Coded):
    """The numbers that are not zero.

    Attributes:
      mask: uint8 [bytes], a bit for each number, row by row.
      values: [count], the others, in the same order.
      shape: Shape of the array.
    """

    mask: np.ndarray
    values: Coded
    shape: tuple[int, ...]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """See `Coded`."""
        return self.shape

    def decode_rows(self, index: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        return self._matrix[index].toarray()

    def decode(self) -> np.ndarray:
        """See `Coded`."""
        return self._matrix.toarray().reshape(self.shape)

    def multiply(self, queries: np.ndarray) -> np.ndarray:
        """See `Coded`."""
        return (self._matrix @ queries.T).T

    def to_tensor(self, to_variable: Callable[[Plain], tf.Tensor]) -> tf.Tensor:
        """See `Coded`."""
        import tensorflow as tf

        size = int(np.prod(self.shape))
        values = self.values.to_tensor(to_variable)
        place = tf.constant(self._places[:, np.newaxis])
        return tf.reshape(tf.scatter_nd(place, values, [size]), self.shape)

    def hold_rows(self, arrays: ArrayStore) -> RowsFn:
        """See `Coded`; besides, where the values of each row begin."""
        import tensorflow as tf

        from fedrec_tff.serving.compression import graph_arrays

        width = self.shape[-1]
        mask, values = arrays.hold(self.mask), graph_arrays.read_all(self.values, arrays)
        starts = arrays.hold(self._matrix.indptr[:-1].astype(np.int32))
        weights = tf.constant([128, 64, 32, 16, 8, 4, 2, 1])

        def decode_rows(index: tf.Tensor) -> tf.Tensor:
            place = index[:, tf.newaxis] * width + tf.range(width)
            bytes_ = tf.reshape(mask(tf.reshape(place // 8, [-1])), [-1, width])
            is_kept = tf.math.floormod(bytes_ // tf.gather(weights, place % 8), 2)
            before = starts(index)[:, tf.newaxis] + tf.cumsum(is_kept, axis=1) - is_kept
            last = self.values.dimensions[0] - 1
            kept = tf.gather(values(), tf.minimum(before, last))
            return kept * tf.cast(is_kept, tf.float32)

        return decode_rows

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """Where the numbers are, into the flat array: int64 [count]."""
        return np.flatnonzero(np.unpackbits(self.mask, count=int(np.prod(self.shape))))

    @functools.cached_property
    def _matrix(self) -> sparse.csr_matrix:
        width = self.shape[-1]
        row, column = np.divmod(self._places, width)
        num_rows = int(np.prod(self.shape[:-1]))
        found = (self.values.decode(), (row, column))
        return sparse.csr_matrix(found, shape=(num_rows, width), dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Pruning(ArrayMethod):
    """See the module; `build_prune` has the parameters."""

    share: float

    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """See `ArrayMethod`."""
        del inputs
        if plain.values.ndim < 2:
            return plain
        return prune(plain.decode(), self.share, plain.of_items)


def build_prune(*, share: float = 0.7) -> Pruning:
    """The smallest numbers of each matrix left out.

    Args:
      share: Share of each matrix's numbers that is left out.

    Returns:
      The method.

    Raises:
      UserError: If it cannot be done.
    """
    if not 0.0 <= share < 1.0:
        raise errors.UserError(f"--methods: prune share={share:g}: choose from 0 to below 1")
    return Pruning(share)


def prune(values: np.ndarray, share: float, of_items: bool = False) -> Sparse:
    """Leaves out the smallest numbers of an array.

    Args:
      values: float32, of any shape.
      share: Share of the numbers that is left out.
      of_items: Whether the array is the item table.

    Returns:
      The array, coded.
    """
    flat = values.ravel()
    # Of equal numbers the first ones go.
    order = np.argsort(np.abs(flat), kind="stable")
    is_kept = np.ones(flat.size, bool)
    is_kept[order[: int(share * flat.size)]] = False
    return Sparse(np.packbits(is_kept), Plain(flat[is_kept], of_items), values.shape)
