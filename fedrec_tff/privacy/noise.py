"""Gaussian noise that nobody can predict; or, for tests, noise that everybody can.

`tf.random.normal` without a seed is not good enough to protect people: TensorFlow seeds its
generators from one 32-bit word per process (`tsl/platform/random.cc`), so whoever sees noisy
outputs can try all 2^32 seeds and subtract the noise. (On CPU, XLA even repeats the same numbers
from process to process.) Here every release draws a fresh key of 122 bits from the kernel's
cryptographic generator, inside the graph, where the noise is added: the key is in no state, no
checkpoint and no message. What the key is stretched with is Philox: sound statistics, and fast,
but no cryptographic generator.
"""

import math

import tensorflow as tf

# A random UUID (RFC 4122, version 4) for each read: 122 bits from the kernel's generator.
_KERNEL_UUID = "/proc/sys/kernel/random/uuid"
# "xxxxxxxx-xxxx-4xxx-" has 60 random bits, "yxxx-xxxxxxxxxxxx" 62.
_FIRST_HALF = 19
_UNIFORM_BITS = 62


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


def add_gaussian_noise(values: list[tf.Tensor], stddev: tf.Tensor, seed: tf.Tensor) -> list:
    """Adds independent noise to each element.

    One stream serves all tensors: deriving a seed for each would shrink the key. Noise is computed
    and added in float64, from 62 random bits a number: TensorFlow's own float32 normals come from
    23 bits and end at 5.68 standard deviations, in a few values that are easy to tell apart.

    Args:
      values: float32 tensors.
      stddev: float32 scalar.
      seed: int64 [2].

    Returns:
      The noised tensors.
    """
    sizes = [tf.size(value) for value in values]
    noise = tf.cast(stddev, tf.float64) * draw_normal(tf.add_n(sizes), seed)
    parts = tf.split(noise, sizes)
    return [
        tf.cast(tf.cast(value, tf.float64) + tf.reshape(part, tf.shape(value)), value.dtype)
        for value, part in zip(values, parts, strict=True)
    ]


def draw_normal(size: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws standard normal numbers by the method of Box and Muller (1958): float64 [size].

    Args:
      size: int32 scalar.
      seed: int64 [2].

    Returns:
      Independent numbers; their tails reach to 9.2 standard deviations.
    """
    num_pairs = (size + 1) // 2
    words = tf.random.stateless_uniform(
        [2, num_pairs], seed, 0, 2**_UNIFORM_BITS, tf.int64, alg="philox"
    )
    # In (0, 1]: the logarithm is finite.
    uniform = tf.cast(words + 1, tf.float64) * 2.0**-_UNIFORM_BITS
    radius = tf.sqrt(-2.0 * tf.math.log(uniform[0]))
    angle = 2.0 * math.pi * uniform[1]
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=0)[:size]
