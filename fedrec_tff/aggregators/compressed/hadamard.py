"""The Walsh-Hadamard transform, and random signs to go with it."""

# Tested in tests/aggregators/test_compressed_projections.py.

import tensorflow as tf

_RADIX = 16
_BITS_PER_WORD = 32


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def transform(vector: tf.Tensor) -> tf.Tensor:
    """The orthonormal Walsh-Hadamard transform, its own inverse.

    Butterflies, four stages at a time: XLA makes one pass over the vector of each four.

    Args:
      vector: float32 [size], a power of two.

    Returns:
      float32 [size], of the same L2 norm.
    """
    size = vector.shape[0]
    stride = 1
    while stride < size:
        radix = min(_RADIX, size // stride)
        blocks = tf.reshape(vector, [-1, radix, stride])
        vector = tf.reshape(tf.stack(_combine(tf.unstack(blocks, axis=1)), axis=1), [size])
        stride *= radix
    return vector * size**-0.5


def draw_signs(size: int, key: tf.Tensor) -> tf.Tensor:
    """Draws signs that clients and server can draw alike.

    Args:
      size: Number of signs.
      key: int32 [2], the key that the signs follow from.

    Returns:
      float32 [size], each -1 or 1 with probability one half.
    """
    num_words = -(-size // _BITS_PER_WORD)
    words = draw_words(num_words, key)[:, tf.newaxis]
    bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, tf.range(_BITS_PER_WORD)), 1)
    return 1.0 - 2.0 * tf.cast(tf.reshape(bits, [-1])[:size], tf.float32)


def draw_words(num_words: int, key: tf.Tensor) -> tf.Tensor:
    """Draws random integers, the same under XLA and in TensorFlow's kernels: int32 [num_words]."""
    return tf.random.stateless_uniform([num_words], key, None, None, tf.int32, alg="philox")


def _combine(rows: list[tf.Tensor]) -> list[tf.Tensor]:
    """The transform of a short list of tensors."""
    step = 1
    while step < len(rows):
        pairs = [(rows[i & ~step], rows[i | step], bool(i & step)) for i in range(len(rows))]
        rows = [first - second if is_lower else first + second for first, second, is_lower in pairs]
        step *= 2
    return rows
