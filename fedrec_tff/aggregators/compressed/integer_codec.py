"""What codecs have in common that turn each tensor into integers and a scale."""

# Tested in tests/aggregators/test_compressed_quantization.py.

import abc
from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import transforms
from fedrec_tff.aggregators.compressed import code_length, parts


class IntegerCodec(transforms.ClientTransform):
    """Each tensor travels as integers and one float32 scale; zero is zero.

    Row tensors have one scale for all rows of a client. Padding rows do not travel. A tensor that
    is not finite becomes not a number as a whole: aggregators can tell such a client. Zeros are
    sent as numbers, so that after `top_k` sizes are counted higher than they had to be.
    """

    @abc.abstractmethod
    def to_integers(self, tensor: tf.Tensor, is_real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What a client sends of one tensor.

        Args:
          tensor: float32, any shape.
          is_real: bool, broadcasts to the tensor's shape; see `parts.Part`.

        Returns:
          Integers, as float32 of the tensor's shape; and the float32 scale: the receiver reads
          their product. Anything where the tensor is not finite.
        """

    @abc.abstractmethod
    def count_fixed_bits(self, integers: tf.Tensor, num_coordinates: tf.Tensor) -> tf.Tensor:
        """The length of a tensor's integers at fixed width.

        Args:
          integers: float32, of the tensor's shape.
          num_coordinates: int64 scalar, how many of them travel.

        Returns:
          int64 scalar.
        """

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """Quantises each tensor; keeps the structure."""
        del key
        decoded, sizes = [], [code_length.count_id_bits(value)]
        for part in parts.split(value):
            integers, scale = self.to_integers(part.tensor, part.is_real)
            # Not left to maxima: XLA's skip what is not a number.
            is_finite = tf.reduce_all(tf.math.is_finite(part.tensor))
            integers = tf.where(is_finite, integers, 0.0)
            scale = tf.where(is_finite, scale, float("nan"))
            decoded.append(tf.ensure_shape(integers * scale, part.tensor.shape))
            fixed = self.count_fixed_bits(integers, parts.count_coordinates(part))
            coded = code_length.count_integer_bits(tf.cast(integers, tf.int32), part.is_real)
            sizes.append(code_length.create_section(fixed, coded))
            sizes.append(code_length.create_size(code_length.FLOAT_BITS))
        return transforms.Encoded(parts.join(value, decoded), code_length.add(sizes))


def find_largest(tensor: tf.Tensor) -> tf.Tensor:
    """The largest magnitude, zero for an empty tensor: float32 scalar."""
    return tf.maximum(tf.reduce_max(tf.abs(tensor)), 0.0)
