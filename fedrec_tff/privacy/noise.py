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

from collections.abc import Callable, Sequence

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
# Numbers that are noised at once: what a core's cache holds, and its draws.
_BLOCK_SIZE = 2**18
_PARALLEL_BLOCKS = 16
# TensorFlow's number for the generator.
_PHILOX = 1
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


def add_noise(
    values: list[tf.Tensor],
    variance: float,
    seed: tf.Tensor,
    then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> list[tf.Tensor]:
    """Adds independent noise to each element; see `draw_discrete_gaussian`.

    Large tensors are worked on block by block, on all cores, so that what is between a sum and its
    noised result is never in memory as a whole. A block has a stream of the key's counter to
    itself: deriving a seed for each would shrink the key.

    Args:
      values: int64 tensors to add noise to; those of unknown shapes are taken whole.
      variance: Variance of the noise; without any, nothing is drawn.
      seed: int64 [2], seed of the draws.
      then: What becomes of noised integers, element by element.

    Returns:
      The noised tensors, as `then` makes them.
    """
    if variance == 0.0:
        return [then(value) for value in values]
    blocked = [(value.shape.num_elements() or 0) // _BLOCK_SIZE for value in values]
    # What does not fill a block: of all tensors together, the first stream.
    rests = [tf.reshape(v, [-1])[n * _BLOCK_SIZE :] for v, n in zip(values, blocked, strict=True)]
    sizes = [tf.size(rest) for rest in rests]
    drawn = tf.split(draw_discrete_gaussian(tf.add_n(sizes), variance, seed), sizes)
    noised, stream = [], 1
    for value, num_blocks, rest, noise in zip(values, blocked, rests, drawn, strict=True):
        parts = [then(rest + noise)]
        if num_blocks:
            whole = tf.reshape(value, [-1])[: num_blocks * _BLOCK_SIZE]
            blocks = tf.reshape(whole, [num_blocks, _BLOCK_SIZE])
            parts.insert(0, _add_noise_to_blocks(blocks, variance, seed, stream, then))
            stream += num_blocks
        flat = tf.concat(parts, 0) if num_blocks else parts[0]
        noised.append(tf.ensure_shape(tf.reshape(flat, tf.shape(value)), value.shape))
    return noised


def _add_noise_to_blocks(
    blocks: tf.Tensor,
    variance: float,
    seed: tf.Tensor,
    first_stream: int,
    then: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Adds noise to the rows of int64 [num_blocks, size], each of its own stream: flat."""

    def add(index: tf.Tensor) -> tf.Tensor:
        block = tf.gather(blocks, index)
        stream = tf.cast(index, tf.int64) + first_stream
        return then(block + draw_discrete_gaussian(tf.size(block), variance, seed, stream))

    noised = tf.map_fn(
        add,
        tf.range(tf.shape(blocks)[0]),
        fn_output_signature=tf.TensorSpec([blocks.shape[1]], then(blocks[:0, 0]).dtype),
        parallel_iterations=_PARALLEL_BLOCKS,
    )
    return tf.reshape(noised, [-1])


def draw_discrete_gaussian(
    size: tf.Tensor, variance: float, seed: tf.Tensor, stream: tf.Tensor | int = 0
) -> tf.Tensor:
    """Draws independent integers from a discrete Gaussian, within 2^-98 of it in total variation.

    Args:
      size: int32 scalar, number of integers to draw.
      variance: The parameter of the distribution, positive; at most that of `grid.create_grid`.
      seed: int64 [2], seed of the draws.
      stream: int64 scalar, which of the seed's streams of 2^64 words to draw from.

    Returns:
      int64 [size].
    """
    table_variance, factor = grid.split_variance(variance)
    table = noise_tables.create_discrete_gaussian_table(table_variance)
    if not factor:
        return _look_up(table, _draw_words(size, seed, stream), seed, stream)
    words = _draw_words(2 * size, seed, stream)
    fine, coarse = tf.split(_look_up(table, words, seed, stream), 2)
    return fine + factor * coarse


def _look_up(
    table: noise_tables.NoiseTable, words: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int
) -> tf.Tensor:
    """Turns words into numbers by the table, each on its own.

    A word's lowest bits choose the column, the others are the first of the number that is compared
    with its threshold. Where they are those of the threshold itself, once in 2^16 words or less,
    they do not decide, and the other 92 bits are drawn.

    Args:
      table: Alias table of the distribution to draw from.
      words: int32 [size], all 32 bits uniform.
      seed: int64 [2], the seed that the words were drawn with.
      stream: int64 scalar, their stream.

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
    is_own = _is_below_rest(table, tied, seed, stream)
    decided = tf.where(is_own, tied, tf.gather_nd(alias, ties))
    chosen = tf.tensor_scatter_nd_update(chosen, ties, decided)
    return tf.cast(chosen - table.radius, tf.int64)


def _is_below_rest(
    table: noise_tables.NoiseTable, column: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int
) -> tf.Tensor:
    """Whether 92 random bits are below the last 92 of the columns' thresholds: bool [size]."""
    rest_of_high = table.high_thresholds & ((1 << _REST_BITS) - 1)
    high_threshold = tf.gather(tf.constant(rest_of_high), column)
    low_threshold = tf.gather(tf.constant(table.low_thresholds), column)
    tie_seed = tf.bitwise.bitwise_xor(seed, tf.constant(_TIE_STREAM, tf.int64))
    # Two words each make 62 bits; which two are dropped does not matter.
    drawn = _draw_bits([2, tf.size(column)], tie_seed, stream, tf.int64)
    high, low = tf.unstack(tf.bitwise.bitwise_and(drawn, 2**noise_tables.WORD_BITS - 1))
    high = tf.bitwise.right_shift(high, tf.constant(noise_tables.WORD_BITS - _REST_BITS, tf.int64))
    return (high < high_threshold) | (tf.equal(high, high_threshold) & (low < low_threshold))


def _draw_words(size: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int) -> tf.Tensor:
    """32 uniform bits each: int32 [size]."""
    return _draw_bits([size], seed, stream, tf.int32)


def _draw_bits(
    shape: Sequence[tf.Tensor | int], seed: tf.Tensor, stream: tf.Tensor | int, dtype: tf.DType
) -> tf.Tensor:
    """Uniform bits of a Philox generator whose counter's upper half the stream is added to."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    offset = tf.stack([tf.constant(0, tf.uint64), tf.cast(stream, tf.uint64)])
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack(shape), key=key, counter=counter + offset, alg=_PHILOX, dtype=dtype
    )
