"""Noise on the device, before anything leaves it: local differential privacy.

Whoever sees a report, the server included, learns no more than (epsilon, delta) allow. Neighbours
differ in all data of one user: a report moves by the difference of two clipped vectors, at most
twice the clip norm. So noise of z = stddev / clip_norm makes a report a Gaussian mechanism of noise
multiplier z / 2, and Laplace noise of scale b a Laplace mechanism of multiplier b / (2 clip_norm).
Every report of a user counts, whoever else reports.

Where the randomness comes from decides whether this protects anybody. The draws here are stateful
TensorFlow operations, outside of any loop or branch. The `compiled` context keys them with 128
bits from the operating system, for each client and round. TFF's own runtime (`native`) keys them
with 32 bits, which can be tried out: no protection, whatever the accounting says.

Noise in floating point is an approximation. Its set of possible values depends on what it is added
to, which an attacker who sees all bits can use (Mironov 2012, "On significance of the least
significant bits for differential privacy", on Laplace noise; Jin et al. 2022, arXiv 2112.05307, on
Gaussian noise). Clip and noise are computed in float64 here and what is reported is rounded to
float32, which hides most of it but is no proof. Distributed noise (`distributed`) and the server's
(`grid`) are in integers.
"""

import abc
import collections
import math
from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

# Random bits of a draw; a power of two, so that the remainder has no bias. The smallest uniform
# number is 2^-62 or 2^-61, whose logarithm is finite: tails end at 9.2 standard deviations, or 42
# scales, beyond which is less than 2^-60 of the mass.
_WORD_BITS = 62


class _LocalSumQuery(tfp.SumAggregationDPQuery):
    """Sums reports that have their noise already."""

    _GlobalState = collections.namedtuple("_GlobalState", ["clip_norm", "noise_scale"])

    def __init__(self, clip_norm: float, noise_scale: float) -> None:
        if not (math.isfinite(clip_norm) and clip_norm > 0.0):
            raise ValueError(f"clip_norm must be finite and positive, found {clip_norm}")
        if not (math.isfinite(noise_scale) and noise_scale >= 0.0):
            raise ValueError(f"noise must be finite and not negative, found {noise_scale}")
        self._clip_norm = clip_norm
        self._noise_scale = noise_scale

    def initial_global_state(self) -> Any:
        """The clip norm and the scale of the noise: float64 scalars."""
        return self._GlobalState(
            tf.constant(self._clip_norm, tf.float64), tf.constant(self._noise_scale, tf.float64)
        )

    def derive_sample_params(self, global_state: Any) -> Any:
        """The global state."""
        return global_state

    def preprocess_record(self, params: Any, record: Any) -> Any:
        """Clips a record, all of its tensors jointly, and adds noise to every coordinate.

        A record that is not finite counts as zero, and gets its noise all the same.

        Args:
          params: Parameters from `derive_sample_params`.
          record: A structure of float32 tensors.

        Returns:
          A structure of float32 tensors.
        """
        tensors = tf.nest.flatten(record)
        # Norms of finite float32 numbers are finite float64 numbers.
        values = [tf.cast(tensor, tf.float64) for tensor in tensors]
        norm = self._norm(values)
        is_finite = tf.math.is_finite(norm)
        factor = params.clip_norm / tf.maximum(norm, params.clip_norm)
        reports = []
        for tensor, value in zip(tensors, values, strict=True):
            clipped = tf.where(is_finite, value * factor, tf.zeros_like(value))
            noised = clipped + params.noise_scale * self._draw(tf.shape(tensor))
            reports.append(tf.ensure_shape(tf.cast(noised, tf.float32), tensor.shape))
        return tf.nest.pack_sequence_as(record, reports)

    def get_noised_result(
        self, sample_state: Any, global_state: Any
    ) -> tuple[Any, Any, dp_accounting.DpEvent]:
        """The sum as it is, and the event of one report (not of the sum)."""
        return sample_state, global_state, self._create_event(global_state)

    @abc.abstractmethod
    def _norm(self, values: list[tf.Tensor]) -> tf.Tensor:
        """The norm that is clipped, not finite if a value is not: float64 scalar."""

    @abc.abstractmethod
    def _draw(self, shape: tf.Tensor) -> tf.Tensor:
        """Noise of scale 1: float64."""

    @abc.abstractmethod
    def _create_event(self, global_state: Any) -> dp_accounting.DpEvent:
        """Of one report, when a user's data are replaced."""


class LocalGaussianSumQuery(_LocalSumQuery):
    """Clips each record to an L2 norm and adds Gaussian noise to it, on the device."""

    def __init__(self, clip_norm: float, stddev: float) -> None:
        """Initialises the query.

        Args:
          clip_norm: L2 norm that records are clipped to.
          stddev: Standard deviation of the noise on each record.
        """
        super().__init__(clip_norm, stddev)

    def _norm(self, values: list[tf.Tensor]) -> tf.Tensor:
        return tf.sqrt(tf.add_n([tf.reduce_sum(value * value) for value in values]))

    def _draw(self, shape: tf.Tensor) -> tf.Tensor:
        # Box and Muller's method. TensorFlow's own normal numbers end at 5.7 deviations on CPUs,
        # and are float32 ones, of 23 random bits, where nothing else is asked for.
        radius = tf.sqrt(-2.0 * tf.math.log(_to_positive_unit(_draw_words(shape), _WORD_BITS)))
        angle = _to_positive_unit(_draw_words(shape), _WORD_BITS) * (2.0 * math.pi)
        return radius * tf.cos(angle)

    def _create_event(self, global_state: Any) -> dp_accounting.DpEvent:
        return dp_accounting.GaussianDpEvent(
            global_state.noise_scale / (2.0 * global_state.clip_norm)
        )


class LocalLaplaceSumQuery(_LocalSumQuery):
    """Clips each record to an L1 norm and adds Laplace noise to it, on the device."""

    def __init__(self, clip_norm: float, scale: float) -> None:
        """Initialises the query.

        Args:
          clip_norm: L1 norm that records are clipped to.
          scale: Scale of the noise on each record, whose standard deviation is sqrt(2) times that.
        """
        super().__init__(clip_norm, scale)

    def _norm(self, values: list[tf.Tensor]) -> tf.Tensor:
        return tf.add_n([tf.reduce_sum(tf.abs(value)) for value in values])

    def _draw(self, shape: tf.Tensor) -> tf.Tensor:
        words = _draw_words(shape)
        sign = 1 - 2 * tf.bitwise.bitwise_and(words, 1)
        magnitude = -tf.math.log(
            _to_positive_unit(tf.bitwise.right_shift(words, tf.ones_like(words)), _WORD_BITS - 1)
        )
        return tf.cast(sign, tf.float64) * magnitude

    def _create_event(self, global_state: Any) -> dp_accounting.DpEvent:
        return dp_accounting.LaplaceDpEvent(
            global_state.noise_scale / (2.0 * global_state.clip_norm)
        )


def _draw_words(shape: tf.Tensor) -> tf.Tensor:
    return tf.random.uniform(shape, 0, 2**_WORD_BITS, tf.int64)


def _to_positive_unit(words: tf.Tensor, num_bits: int) -> tf.Tensor:
    """Uniform numbers from 2^-num_bits to 1, never 0: float64."""
    return tf.cast(words + 1, tf.float64) * 2.0**-num_bits
