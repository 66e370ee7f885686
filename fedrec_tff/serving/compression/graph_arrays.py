"""Arrays of a form in a graph of TensorFlow, which decodes what is asked for and no more.

A graph is smaller than the numbers that it decodes only as long as nothing decodes them before it
is written: compilers compute what depends on constants alone. Variables are safe from that;
TensorFlow Lite has constants, so there all that is read depends on an input.
"""

# Tested in tests/serving/compression/test_coded_table.py.

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedrec_tff.serving.compression.array_store import ArrayStore, RowsFn
from fedrec_tff.serving.compression.coded import Coded

_BYTE = 8
_EXPONENT_OF_ONE, _FRACTION = 25, 1024


class Variables(tf.Module, ArrayStore):
    """Variables, for a SavedModel."""

    def __init__(self) -> None:
        """Begins with none."""
        super().__init__()
        self._held: list[tf.Variable] = []

    def hold(self, array: np.ndarray) -> RowsFn:
        """See `ArrayStore`."""
        held = tf.Variable(array, trainable=False)
        self._held.append(held)
        dtype = tf.float32 if held.dtype.is_floating else tf.int32
        return lambda index: tf.cast(tf.gather(held, index), dtype)

    def count_to(self, number: int) -> tf.Tensor:
        """See `ArrayStore`."""
        return tf.range(number)


class Constants(ArrayStore):
    """Constants, for TensorFlow Lite; made anew in each function."""

    def __init__(self, zero: tf.Tensor) -> None:
        """Begins with none.

        Args:
          zero: int32 scalar, a zero that depends on an input of the function, so that no compiler
            knows what it is.
        """
        self._zero = zero

    def hold(self, array: np.ndarray) -> RowsFn:
        """See `ArrayStore`."""
        if array.dtype == np.float16:
            # TensorFlow Lite cannot gather them.
            held = tf.constant(np.ascontiguousarray(array)[..., np.newaxis].view(np.uint8))
            return lambda index: _decode_halves(tf.cast(tf.gather(held, index), tf.int32))
        held = tf.constant(array)
        dtype = tf.float32 if held.dtype.is_floating else tf.int32
        return lambda index: tf.cast(tf.gather(held, index), dtype)

    def count_to(self, number: int) -> tf.Tensor:
        """See `ArrayStore`."""
        return tf.reshape(tf.range(self._zero, self._zero + number), [number])


def read_all(part: Coded, arrays: ArrayStore) -> Callable[[], tf.Tensor]:
    """Puts an array of any shape into the graph.

    Args:
      part: The array.
      arrays: Where it is put.

    Returns:
      Function to the whole of it: float32, of its shape.
    """
    rows = part.hold_rows(arrays)
    return lambda: tf.reshape(rows(arrays.count_to(part.num_rows)), part.dimensions)


def unpack(packed: tf.Tensor, bits: int, count: int) -> tf.Tensor:
    """Does what `bit_packing.unpack` does, by whole numbers that every runtime has.

    Args:
      packed: int32 [..., bytes], each below 256.
      bits: One of `bit_packing.WIDTHS`.
      count: Number of numbers in each row.

    Returns:
      int32 [..., count].
    """
    if bits == _BYTE:
        return packed[..., :count]
    first, shift = np.divmod(np.arange(count) * bits, _BYTE)
    # A number is in two bytes at most; where it is in one, the second does not count.
    second = np.minimum(first + 1, packed.shape[-1] - 1)
    low, high = (tf.gather(packed, place.astype(np.int32), axis=-1) for place in (first, second))
    shifted = tf.math.floordiv(low + 2**_BYTE * high, (2**shift).astype(np.int32))
    return tf.math.floormod(shifted, 2**bits)


def _decode_halves(pairs: tf.Tensor) -> tf.Tensor:
    """float32 of float16 (IEEE 754): int32 [..., 2], the bytes of each, the lower first."""
    low, high = pairs[..., 0], pairs[..., 1]
    sign = 1 - 2 * tf.math.floordiv(high, 128)
    exponent = tf.math.floordiv(tf.math.floormod(high, 128), 4)
    fraction = 2**_BYTE * tf.math.floormod(high, 4) + low
    # Numbers near zero have an exponent of 0, which stands for 1, and no leading one.
    whole = sign * (fraction + tf.where(exponent > 0, _FRACTION, 0))
    powers = 2.0 ** (np.maximum(np.arange(32), 1) - _EXPONENT_OF_ONE)
    return tf.cast(whole, tf.float32) * tf.gather(tf.constant(powers, tf.float32), exponent)
