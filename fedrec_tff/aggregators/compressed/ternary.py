"""`terngrad`: numbers that are minus one, zero or one, times a scale.

Wen et al. 2017, "TernGrad: ternary gradients to reduce communication in distributed deep learning"
(arXiv 1705.07878).
"""

# Tested in tests/aggregators/test_compressed_quantization.py.

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, transforms
from fedrec_tff.aggregators.compressed import integer_codec

_BITS = 2


def build_terngrad(
    context: registry.AggregatorContext, *, clip_deviations: float | None = None
) -> transforms.ClientTransform:
    """Clients send -1, 0 or 1 for each number, and one scale for each tensor (TernGrad).

    A number becomes its sign times the tensor's largest magnitude, with the probability that its
    own magnitude is of that, and zero otherwise: without bias, by less than the scale. Zero stays
    zero.

    Args:
      context: Context that builders are given; not used.
      clip_deviations: Numbers are clipped at this many standard deviations of their tensor first
        (the paper's gradient clipping, at 2.5), which makes the scale smaller and the result
        biased; None for no clipping.
    """
    del context
    if clip_deviations is not None and not clip_deviations > 0.0:
        raise errors.UserError(
            f"--aggregator_param clip_deviations={clip_deviations}: must be above 0"
        )
    return TernGrad(clip_deviations)


class TernGrad(integer_codec.IntegerCodec):
    """Stochastic ternary numbers, eq. 3 of the paper; see `build_terngrad`."""

    def __init__(self, clip_deviations: float | None = None) -> None:
        """Initialises the step.

        Args:
          clip_deviations: Number of standard deviations to clip at, as in `build_terngrad`.
        """
        self._clip_deviations = clip_deviations

    def to_integers(self, tensor: tf.Tensor, is_real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """-1, 0 and 1; see the base class."""
        if self._clip_deviations is not None:
            limit = self._clip_deviations * _standard_deviation(tensor, is_real)
            tensor = tf.clip_by_value(tensor, -limit, limit)
        largest = integer_codec.find_largest(tensor)
        is_kept = tf.random.uniform(tf.shape(tensor)) * largest < tf.abs(tensor)
        return tf.sign(tensor) * tf.cast(is_kept, tf.float32), largest

    def count_fixed_bits(self, integers: tf.Tensor, num_coordinates: tf.Tensor) -> tf.Tensor:
        """Two bits a number; see the base class."""
        del integers
        return _BITS * num_coordinates


def _standard_deviation(tensor: tf.Tensor, is_real: tf.Tensor) -> tf.Tensor:
    """Over all numbers that travel; eq. 7 of the paper."""
    weights = tf.cast(is_real, tf.float32) * tf.ones_like(tensor)
    count = tf.maximum(tf.reduce_sum(weights), 1.0)
    mean = tf.reduce_sum(tensor) / count
    return tf.sqrt(tf.reduce_sum(weights * tf.square(tensor - mean)) / count)
