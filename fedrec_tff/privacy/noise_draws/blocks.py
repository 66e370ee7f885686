"""Noise for many numbers at once: drawn, looked up and added by XLA, in few passes over memory."""

# Tested in tests/privacy/test_noise.py.

from collections.abc import Callable

import tensorflow as tf

from fedrec_tff.privacy import grid, noise_tables
from fedrec_tff.privacy.noise_draws import alias_look_up, philox

# Two numbers of two words each.
_NUMBERS_PER_COUNTER = 2
AddFn = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def build_add_noise(
    block_size: int, variance: float, then: Callable[[tf.Tensor], tf.Tensor]
) -> AddFn:
    """Builds what adds noise of the law of `noise.draw_discrete_gaussian` to a block.

    Args:
      block_size: Numbers of a block; even.
      variance: Variance of the noise, positive.
      then: What becomes of noised integers, element by element.

    Returns:
      A function of an int64 tensor [block_size], the seed of the draws (int64 [2]) and the stream
      of the block (int64 scalar, the block's alone) to what `then` makes of the noised numbers.
    """
    table_variance, factor = grid.split_variance(variance)
    table = noise_tables.create_discrete_gaussian_table(table_variance)
    num_counters = block_size // _NUMBERS_PER_COUNTER

    @tf.function(jit_compile=True, autograph=False)
    def add_decided(block: tf.Tensor, packed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        looked_up = alias_look_up.look_up_decided(table, philox.unpack_words(packed))
        noised, is_undecided = [], []
        pairs = zip(looked_up[::2], looked_up[1::2], tf.split(block, 2), strict=True)
        for fine, coarse, values in pairs:
            noise = fine[0] + factor * coarse[0]
            noised.append(then(values + tf.cast(noise, tf.int64)))
            is_undecided.append(fine[1] | coarse[1])
        return tf.concat(noised, 0), tf.concat(is_undecided, 0)

    def draw_exactly(
        places: tf.Tensor, packed: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor
    ) -> tf.Tensor:
        words = philox.unpack_words(tf.gather(packed, places % num_counters))
        is_first = places < num_counters
        fine = tf.where(is_first, words[0], words[2])
        coarse = tf.where(is_first, words[1], words[3])
        looked_up = alias_look_up.look_up(table, tf.concat([fine, coarse], 0), seed, stream)
        fine, coarse = tf.split(looked_up, 2)
        return fine + factor * coarse

    def add(block: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor) -> tf.Tensor:
        packed = philox.draw_packed_words(num_counters, seed, stream)
        noised, is_undecided = add_decided(block, packed)
        places = tf.where(is_undecided)[:, 0]
        exact = then(tf.gather(block, places) + draw_exactly(places, packed, seed, stream))
        return tf.tensor_scatter_nd_update(noised, places[:, tf.newaxis], exact)

    return add
