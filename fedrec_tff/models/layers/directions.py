"""Directions of vectors, and of all that came before in a sequence."""

# Tested in tests/models/test_tower_encoding.py and tests/models/test_two_tower.py.

import tensorflow as tf

_SMALLEST_SQUARE = 1e-6


def scale_to_one(vectors: tf.Tensor) -> tf.Tensor:
    """Scales vectors to length one.

    Args:
      vectors: float32 [..., dim].

    Returns:
      float32 [..., dim]. A vector of nearly zero has no direction and becomes zero, with no
      gradient: that of its length would drown all others.
    """
    square = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    is_zero = square < _SMALLEST_SQUARE
    return vectors * tf.where(is_zero, 0.0, tf.math.rsqrt(tf.where(is_zero, 1.0, square)))


def average_before(items: tf.Tensor) -> tf.Tensor:
    """The direction of the mean of what came before each position, and of all of it.

    Args:
      items: float32 [batch, length, dim], oldest first.

    Returns:
      float32 [batch, length + 1, dim], vectors of length one; row 0, before everything, is zero.
    """
    total = tf.cumsum(tf.pad(items, [[0, 0], [1, 0], [0, 0]]), axis=1)
    return scale_to_one(total)
