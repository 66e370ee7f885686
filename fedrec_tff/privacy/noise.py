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

from collections.abc import Callable

import tensorflow as tf

from fedrec_tff.privacy import grid, noise_tables, table_rows
from fedrec_tff.privacy.noise_draws import alias_look_up, philox
from fedrec_tff.privacy.noise_draws import blocks as blocks_lib

# A random UUID (RFC 4122, version 4) for each read: 122 bits from the kernel's generator.
_KERNEL_UUID = "/proc/sys/kernel/random/uuid"
# "xxxxxxxx-xxxx-4xxx-" has 60 random bits, "yxxx-xxxxxxxxxxxx" 62.
_FIRST_HALF = 19
# Numbers that are noised at once: what a core's cache holds, and its draws.
_BLOCK_SIZE = 2**18
_PARALLEL_BLOCKS = 16


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
    values: list[tf.Tensor | table_rows.TableRows],
    variance: float,
    seed: tf.Tensor,
    then: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> list[tf.Tensor]:
    """Adds independent noise to each element; see `draw_discrete_gaussian`.

    Large tensors are worked on block by block, on all cores, so that what is between a sum and its
    noised result is never in memory as a whole. A block has a stream of the key's counter to
    itself: deriving a seed for each would shrink the key.

    Args:
      values: int64 tensors to add noise to; those of unknown shapes are taken whole. Tables may be
        given as those of their rows that are not zero; noise is added to all.
      variance: Variance of the noise; without any, nothing is drawn.
      seed: int64 [2], seed of the draws.
      then: What becomes of noised integers, element by element.

    Returns:
      The noised tensors, as `then` makes them.
    """
    if variance == 0.0:
        return [then(table_rows.to_dense(value)) for value in values]
    num_blocks = [(value.shape.num_elements() or 0) // _BLOCK_SIZE for value in values]
    # What does not fill a block: of all tensors together, the first stream.
    rests = [
        table_rows.read(value, number * _BLOCK_SIZE)
        for value, number in zip(values, num_blocks, strict=True)
    ]
    sizes = [tf.size(rest) for rest in rests]
    drawn = tf.split(draw_discrete_gaussian(tf.add_n(sizes), variance, seed), sizes)
    noised, stream = [], 1
    for value, number, rest, noise in zip(values, num_blocks, rests, drawn, strict=True):
        flat = then(rest + noise)
        if number:
            add = blocks_lib.build_add_noise(_BLOCK_SIZE, variance, then)
            flat = _add_noise_to_blocks(value, number, add, seed, stream, flat)
            stream += number
        noised.append(tf.ensure_shape(tf.reshape(flat, _shape(value)), value.shape))
    return noised


def _shape(value: tf.Tensor | table_rows.TableRows) -> tf.Tensor | tf.TensorShape:
    return value.shape if value.shape.is_fully_defined() else tf.shape(value)


def _add_noise_to_blocks(
    value: tf.Tensor | table_rows.TableRows,
    num_blocks: int,
    add: blocks_lib.AddFn,
    seed: tf.Tensor,
    first_stream: int,
    rest: tf.Tensor,
) -> tf.Tensor:
    """Adds noise to the blocks of a tensor, each of its own stream, and joins the rest: flat."""

    def work(index: tf.Tensor, noised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.cast(index, tf.int64)
        block = table_rows.read(value, number * _BLOCK_SIZE, _BLOCK_SIZE)
        part = add(block, seed, number + first_stream)
        return index + 1, write(noised, index, part)

    def write(noised: tf.Tensor, index: tf.Tensor | int, part: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.InplaceUpdate(x=noised, i=[index], v=part[tf.newaxis])

    # Memory of this release's own, in which blocks are written one by one: parts of a
    # `tf.TensorArray` would be there twice when they are joined. The rest has the last block.
    noised = tf.raw_ops.Empty(shape=[num_blocks + 1, _BLOCK_SIZE], dtype=rest.dtype)
    _, noised = tf.while_loop(
        lambda index, _: index < num_blocks,
        work,
        (tf.constant(0), noised),
        parallel_iterations=_PARALLEL_BLOCKS,
    )
    padding = tf.zeros([_BLOCK_SIZE - tf.size(rest)], rest.dtype)
    noised = write(noised, num_blocks, tf.concat([rest, padding], 0))
    return tf.reshape(noised, [-1])[: num_blocks * _BLOCK_SIZE + tf.size(rest)]


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
        return alias_look_up.look_up(table, _draw_words(size, seed, stream), seed, stream)
    words = _draw_words(2 * size, seed, stream)
    fine, coarse = tf.split(alias_look_up.look_up(table, words, seed, stream), 2)
    return fine + factor * coarse


def _draw_words(size: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int) -> tf.Tensor:
    """32 uniform bits each: int32 [size]."""
    return philox.draw_bits([size], seed, stream, tf.int32)
