"""`quantize`: numbers of a few bits.

Alistarh et al. 2017, "QSGD: communication-efficient SGD via gradient quantization and encoding"
(arXiv 1610.02132), with the largest magnitude as the scale, as in its experiments; Suresh et al.
2017, "Distributed mean estimation with limited communication" (arXiv 1611.00429) for one bit.
"""

# Tested in tests/aggregators/test_compressed_quantization.py.

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, transforms
from fedrec_tff.aggregators.compressed import integer_codec

_MAX_BITS = 16


def build_quantize(
    context: registry.AggregatorContext, *, bits: int = 8, stochastic: bool = True
) -> transforms.ClientTransform:
    """Clients send numbers of a few bits and one scale for each tensor.

    The grid is symmetric and has a zero: what is zero stays zero. With 2 bits or more there are
    `2**bits - 1` levels between minus and plus the largest magnitude of the tensor. Numbers are
    rounded at random, without bias, by less than one step; or to the nearest level, which is
    biased, by half a step at most. One bit is a sign, beside a map of the zeros: at random and
    times the largest magnitude, without bias but with much noise; or the number's own sign times
    the mean magnitude, which is biased.

    Args:
      context: Context that builders are given; not used.
      bits: Bits of each number, from 1 to 16.
      stochastic: Whether to round at random, without bias, rather than to the nearest level.
    """
    del context
    if not 1 <= bits <= _MAX_BITS:
        raise errors.UserError(f"--aggregator_param bits={bits}: must be from 1 to {_MAX_BITS}")
    if bits == 1:
        return Sign(stochastic)
    return Quantize(bits, stochastic)


class Quantize(integer_codec.IntegerCodec):
    """Symmetric uniform quantisation; see `build_quantize`.

    The variance that stochastic rounding adds to a number is at most `step**2 / 4`.
    """

    def __init__(self, bits: int, stochastic: bool) -> None:
        """Initialises the step.

        Args:
          bits: Bits of each number, from 2 to 16.
          stochastic: Whether to round at random, as in `build_quantize`.
        """
        self._bits, self._stochastic = bits, stochastic
        self._max_level = 2 ** (bits - 1) - 1

    def to_integers(self, tensor: tf.Tensor, is_real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Levels from minus to plus `2**(bits - 1) - 1`; see the base class."""
        del is_real
        step = integer_codec.find_largest(tensor) / self._max_level
        position = tf.math.divide_no_nan(tensor, step)
        if self._stochastic:
            below = tf.floor(position)
            # Exact in floats; an exact level is never moved.
            is_up = tf.random.uniform(tf.shape(tensor)) < position - below
            level = below + tf.cast(is_up, tf.float32)
        else:
            level = tf.round(position)
        return tf.clip_by_value(level, -self._max_level, self._max_level), step

    def count_fixed_bits(self, integers: tf.Tensor, num_coordinates: tf.Tensor) -> tf.Tensor:
        """All numbers have the same width; see the base class."""
        del integers
        return self._bits * num_coordinates


class Sign(integer_codec.IntegerCodec):
    """One bit a number; see `build_quantize`."""

    def __init__(self, stochastic: bool) -> None:
        """Initialises the step.

        Args:
          stochastic: Whether to round at random, as in `build_quantize`.
        """
        self._stochastic = stochastic

    def to_integers(self, tensor: tf.Tensor, is_real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """-1, 0 and 1; see the base class."""
        del is_real
        if not self._stochastic:
            num_used = tf.reduce_sum(tf.cast(tf.not_equal(tensor, 0.0), tf.float32))
            return tf.sign(tensor), tf.reduce_sum(tf.abs(tensor)) / tf.maximum(num_used, 1.0)
        largest = integer_codec.find_largest(tensor)
        # Plus with probability (1 + x / largest) / 2.
        threshold = tf.math.divide_no_nan(tensor, largest)
        uniform = 2.0 * tf.random.uniform(tf.shape(tensor)) - 1.0
        sign = tf.where(uniform < threshold, 1.0, -1.0)
        return sign * tf.abs(tf.sign(tensor)), largest

    def count_fixed_bits(self, integers: tf.Tensor, num_coordinates: tf.Tensor) -> tf.Tensor:
        """A bit for each sign; where there are zeros, a map of them.

        One more bit says whether there is a map. See the base class.
        """
        num_signs = tf.reduce_sum(tf.cast(tf.not_equal(integers, 0.0), tf.int64))
        return 1 + num_signs + tf.where(num_signs < num_coordinates, num_coordinates, 0)
