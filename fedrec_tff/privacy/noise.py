"""Gaussian noise that nobody can predict; or, for tests, noise that everybody can.

`tf.random.normal` without a seed is not good enough to protect people: TensorFlow seeds its
generators from one 32-bit word per process (`tsl/platform/random.cc`), so whoever sees noisy
outputs can try all 2^32 seeds and subtract the noise. (On CPU, XLA even repeats the same numbers
from process to process.) Here every release draws a fresh key of 122 bits from the kernel's
cryptographic generator, inside the graph, where the noise is added: the key is in no state, no
checkpoint and no message. What the key is stretched with is Philox: sound statistics, and fast,
but no cryptographic generator.
"""

import tensorflow as tf

# A random UUID (RFC 4122, version 4) for each read: 122 bits from the kernel's generator.
_KERNEL_UUID = "/proc/sys/kernel/random/uuid"
# "xxxxxxxx-xxxx-4xxx-" has 60 random bits, "yxxx-xxxxxxxxxxxx" 62.
_FIRST_HALF = 19


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

    One stream serves all tensors: deriving a seed for each would shrink the key.

    Args:
      values: float32 tensors.
      stddev: float32 scalar.
      seed: int64 [2].

    Returns:
      The noised tensors.
    """
    sizes = [tf.size(value) for value in values]
    noise = stddev * tf.random.stateless_normal([tf.add_n(sizes)], seed, alg="philox")
    parts = tf.split(noise, sizes)
    return [v + tf.reshape(part, tf.shape(v)) for v, part in zip(values, parts, strict=True)]
