"""The query of distributed differential privacy: integers and noise on the device, decoded sums.

What `tfp.DistributedDiscreteGaussianSumQuery` and `tfp.DistributedSkellamSumQuery` are for, and
cannot do here. The former rejects samples in a loop, the latter draws from the clock
(`tf.timestamp`), which anybody can guess. Here all random operations are stateful ones outside of
any loop or branch, which the `compiled` context keys with 128 bits from the operating system, for
each client and round.
"""

from typing import Any

import dp_accounting
import tensorflow as tf
import tensorflow_privacy as tfp

from fedrec_tff.privacy import distributed, noise_tables


class DistributedNoiseSumQuery(tfp.SumAggregationDPQuery):
    """Records are float32 vectors; what is summed are int64 vectors modulo `noise.modulus`.

    A record that is not finite counts as zero, and its noise is added all the same.
    """

    def __init__(self, noise: distributed.DistributedNoise) -> None:
        """Initialises the query.

        Args:
          noise: The grid and the noise.
        """
        self._noise = noise

    def initial_global_state(self) -> tuple[()]:
        """There is none."""
        return ()

    def derive_sample_params(self, global_state: tuple[()]) -> tuple[()]:
        """There are none."""
        return global_state

    def initial_sample_state(self, template: Any) -> tf.Tensor:
        """The sum of no records: int64 [num_weights]."""
        del template
        return tf.zeros([self._noise.num_weights], tf.int64)

    def preprocess_record(self, params: tuple[()], record: tf.Tensor) -> tf.Tensor:
        """Clips, rounds, adds a share of noise and reduces.

        Args:
          params: An empty tuple, not read.
          record: float32 [num_weights], the vector.

        Returns:
          int64 [num_weights], from 0 to the modulus.
        """
        del params
        integers = round_to_grid(record, self._noise)
        if self._noise.local_variance > 0.0:
            table = create_table(self._noise)
            integers += draw_from_table(table, self._noise.num_weights)
        # Two's complement: right for negative numbers too.
        return tf.bitwise.bitwise_and(integers, self._noise.modulus - 1)

    def get_noised_result(
        self, sample_state: tf.Tensor, global_state: tuple[()]
    ) -> tuple[tf.Tensor, tuple[()], dp_accounting.DpEvent]:
        """Decodes a sum that has its noise already.

        Args:
          sample_state: int64 [num_weights], a sum modulo `noise.modulus` or not reduced at all.
          global_state: An empty tuple, not read.

        Returns:
          The sum of the records, float32 [num_weights]; no state; an event for nobody to account:
          the cost is `distributed.create_event`, and only if all shares are in the sum.
        """
        half = self._noise.modulus // 2
        shifted = tf.bitwise.bitwise_and(sample_state + half, self._noise.modulus - 1)
        centred = tf.cast(shifted - half, tf.float64)
        result = tf.cast(centred * self._noise.granularity, tf.float32)
        return result, global_state, dp_accounting.UnsupportedDpEvent()


def round_to_grid(record: tf.Tensor, noise: distributed.DistributedNoise) -> tf.Tensor:
    """Clips a vector and rounds it to integers at random, without bias.

    Each coordinate is rounded up with the probability that makes its mean right. A vector that
    this makes longer than `noise.max_squared_norm` allows, 1 in 10,000 at most, is rounded
    towards zero instead, which makes no vector longer. (Kairouz et al. 2021 draw until a vector
    fits: a loop.) The bound is checked in integers, so that it holds whatever the floating-point
    numbers before it were; a vector that would still be too long is zero.

    Args:
      record: float32 [num_weights], the vector.
      noise: Parameters of the grid and of the noise.

    Returns:
      int64 [num_weights].
    """
    values = tf.cast(record, tf.float64)
    # The norm of finite float32 numbers is a finite float64.
    norm = tf.sqrt(tf.reduce_sum(values * values))
    factor = noise.scaled_clip_norm / tf.maximum(norm, noise.clip_norm)
    scaled = tf.where(tf.math.is_finite(norm), values * factor, tf.zeros_like(values))
    # Out of nothing but rounding errors; with it the sums of squares below cannot overflow.
    limit = noise.scaled_clip_norm + 1.0
    scaled = tf.clip_by_value(scaled, -limit, limit)
    below = tf.floor(scaled)
    words = _draw_words(noise.num_weights)
    is_up = tf.cast(words, tf.float64) < (scaled - below) * 2.0**noise_tables.WORD_BITS
    rounded = tf.cast(below, tf.int64) + tf.cast(is_up, tf.int64)
    # A cast to integers rounds towards zero.
    shortened = _zero_if_too_long(tf.cast(scaled, tf.int64), noise.max_squared_norm)
    return tf.where(_squared_norm(rounded) <= noise.max_squared_norm, rounded, shortened)


def _zero_if_too_long(integers: tf.Tensor, max_squared_norm: int) -> tf.Tensor:
    fits = _squared_norm(integers) <= max_squared_norm
    return tf.where(fits, integers, tf.zeros_like(integers))


def _squared_norm(integers: tf.Tensor) -> tf.Tensor:
    """Exact: `noise.scaled_clip_norm` is small enough for no sum to overflow."""
    return tf.reduce_sum(integers * integers)


def create_table(noise: distributed.DistributedNoise) -> noise_tables.NoiseTable:
    """The table of one share of noise."""
    if noise.distribution == distributed.SKELLAM:
        return noise_tables.create_skellam_table(noise.local_variance)
    return noise_tables.create_discrete_gaussian_table(noise.local_variance)


def draw_from_table(table: noise_tables.NoiseTable, num_draws: int) -> tf.Tensor:
    """Draws independent integers, each from two words: int64 [num_draws]."""
    high, low = _draw_words(num_draws), _draw_words(num_draws)
    shift = noise_tables.WORD_BITS - table.column_bits
    column = tf.cast(tf.bitwise.right_shift(high, tf.constant(shift, tf.int64)), tf.int32)
    high = tf.bitwise.bitwise_and(high, 2**shift - 1)
    high_threshold = tf.gather(tf.constant(table.high_thresholds), column)
    low_threshold = tf.gather(tf.constant(table.low_thresholds), column)
    is_own = (high < high_threshold) | ((high == high_threshold) & (low < low_threshold))
    chosen = tf.where(is_own, column, tf.gather(tf.constant(table.aliases), column))
    return tf.cast(chosen - table.radius, tf.int64)


def _draw_words(num_words: int) -> tf.Tensor:
    """62 uniform bits each, as int64: the range is a power of two, so the remainder has no bias."""
    return tf.random.uniform([num_words], 0, 2**noise_tables.WORD_BITS, tf.int64)
