"""Integer noise that nobody can predict; or, for tests, noise that everybody can.

TensorFlow's own generators are not good enough to protect people: they are seeded from one 32-bit
word per process (`tsl/platform/random.cc`), so whoever sees noisy outputs can try all 2^32 seeds
and subtract the noise. (On CPU, XLA even repeats the same numbers from process to process.) Here
every release draws a fresh key of 122 bits from the kernel's cryptographic generator, inside the
graph, where the noise is added: the key is in no state, no checkpoint and no message. What the key
is stretched with is Philox: sound statistics, and fast, but no cryptographic generator.

The noise is a discrete Gaussian, drawn from tables without any floating-point number; `grid` says
what it is worth.
"""

import numpy as np
import tensorflow as tf

from fedrec_tff.privacy import grid, noise_tables

# A random UUID (RFC 4122, version 4) for each read: 122 bits from the kernel's generator.
_KERNEL_UUID = "/proc/sys/kernel/random/uuid"
# "xxxxxxxx-xxxx-4xxx-" has 60 random bits, "yxxx-xxxxxxxxxxxx" 62.
_FIRST_HALF = 19
# Bits of a word of noise, and what then is left of the upper 62 bits of a threshold.
_SHORT_BITS = 32
_REST_BITS = noise_tables.WORD_BITS - _SHORT_BITS
# Keeps the words that decide ties apart from those that are always drawn.
_TIE_STREAM = [0, 2**62]


def draw_secret_seed() -> tf.Tensor:
    """Draws the seed of one release from the operating system, when the graph runs: int64 [2]."""
    uuid = tf.data.TextLineDataset(_KERNEL_UUID).get_single_element()
    halves = [
        tf.strings.substr(uuid, 0, _FIRST_HALF),
        tf.strings.substr(uuid, _FIRST_HALF, -1),
    ]
    return tf.strings.to_hash_bucket_fast(tf.stack(halves), tf.int64.max)


def create_insecure_seed(seed: int, release: tf.Tensor) -> tf.Tensor:
    """The seed of one release as a function of known numbers, for tests: int64 [2]."""
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(release, tf.int64)])


def add_noise(values: list[tf.Tensor], variance: float, seed: tf.Tensor) -> list[tf.Tensor]:
    """Adds independent noise to each element; see `draw_discrete_gaussian`.

    One stream serves all tensors: deriving a seed for each would shrink the key.

    Args:
      values: int64 tensors to add noise to.
      variance: Variance of the noise; without any, nothing is drawn.
      seed: int64 [2], seed of the draws.

    Returns:
      The noised tensors.
    """
    if variance == 0.0:
        return values
    sizes = [tf.size(value) for value in values]
    parts = tf.split(draw_discrete_gaussian(tf.add_n(sizes), variance, seed), sizes)
    return [
        value + tf.reshape(part, tf.shape(value)) for value, part in zip(values, parts, strict=True)
    ]


def draw_discrete_gaussian(size: tf.Tensor, variance: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws independent integers from a discrete Gaussian, within 2^-98 of it in total variation.

    Args:
      size: int32 scalar, number of integers to draw.
      variance: The parameter of the distribution, positive; at most that of `grid.create_grid`.
      seed: int64 [2], seed of the draws.

    Returns:
      int64 [size].
    """
    table_variance, factor = grid.split_variance(variance)
    table = noise_tables.create_discrete_gaussian_table(table_variance)
    if not factor:
        return _look_up(table, _draw_words(size, seed), seed)
    fine, coarse = tf.split(_look_up(table, _draw_words(2 * size, seed), seed), 2)
    return fine + factor * coarse


def _look_up(table: noise_tables.NoiseTable, words: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turns words into numbers by the table, each on its own.

    A word's lowest bits choose the column, the others are the first of the number that is compared
    with its threshold. Where they are those of the threshold itself, once in 2^16 words or less,
    they do not decide, and the other 92 bits are drawn.

    Args:
      table: Alias table of the distribution to draw from.
      words: int32 [size], all 32 bits uniform.
      seed: int64 [2], the seed that the words were drawn with.

    Returns:
      int64 [size], from -radius to radius.
    """
    mask = (1 << table.column_bits) - 1
    # Words are signed. A full column's threshold would be beyond all of them; but its alias is
    # itself.
    half = 1 << (_SHORT_BITS - table.column_bits - 1)
    upper = np.minimum((table.high_thresholds >> _REST_BITS) - half, half - 1)
    # One read of memory finds both.
    entries = (upper << table.column_bits | table.aliases).astype(np.int32)

    column = tf.bitwise.bitwise_and(words, mask)
    entry = tf.gather(tf.constant(entries), column)
    alias = tf.bitwise.bitwise_and(entry, mask)
    word, threshold = tf.bitwise.bitwise_or(words, mask), tf.bitwise.bitwise_or(entry, mask)
    chosen = tf.where(word < threshold, column, alias)
    ties = tf.where(tf.equal(word, threshold))
    tied = tf.gather_nd(column, ties)
    is_own = _is_below_rest(table, tied, seed)
    decided = tf.where(is_own, tied, tf.gather_nd(alias, ties))
    chosen = tf.tensor_scatter_nd_update(chosen, ties, decided)
    return tf.cast(chosen - table.radius, tf.int64)


def _is_below_rest(table: noise_tables.NoiseTable, column: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Whether 92 random bits are below the last 92 of the columns' thresholds: bool [size]."""
    rest_of_high = table.high_thresholds & ((1 << _REST_BITS) - 1)
    high_threshold = tf.gather(tf.constant(rest_of_high), column)
    low_threshold = tf.gather(tf.constant(table.low_thresholds), column)
    high, low = tf.unstack(
        tf.random.stateless_uniform(
            [2, tf.size(column)],
            tf.bitwise.bitwise_xor(seed, tf.constant(_TIE_STREAM, tf.int64)),
            0,
            2**noise_tables.WORD_BITS,
            tf.int64,
            alg="philox",
        )
    )
    high = tf.bitwise.right_shift(high, tf.constant(noise_tables.WORD_BITS - _REST_BITS, tf.int64))
    return (high < high_threshold) | (tf.equal(high, high_threshold) & (low < low_threshold))


def _draw_words(size: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """32 uniform bits each: int32 [size]."""
    return tf.random.stateless_uniform([size], seed, None, None, tf.int32, alg="philox")
