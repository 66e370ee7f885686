"""The hash functions of a count sketch, the same for clients and server."""

# Tested in tests/aggregators/test_compressed_sketch.py.

from typing import NamedTuple

import tensorflow as tf

# Above all keys: prime, and products of two numbers below it fit into int64.
_PRIME = 2**31 - 1
_COEFFICIENTS = 4


class Hashes(NamedTuple):
    """What a sketch does with some keys, in each of its rows.

    Attributes:
      columns: int32 [rows, keys], where each key is added.
      signs: float32 [rows, keys], with which sign.
    """

    columns: tf.Tensor
    signs: tf.Tensor


def draw(keys: tf.Tensor, num_rows: int, num_columns: int, key: tf.Tensor) -> Hashes:
    """Draws hash functions and applies them.

    `(a x + b) mod p`, then modulo the number of columns, or of signs: pairwise independent (Carter
    and Wegman 1979), which is what the count sketch's bounds ask for (Charikar et al. 2002).

    Args:
      keys: int32 [keys], the keys to hash, not negative.
      num_rows: Number of independent functions, one for each row of the sketch.
      num_columns: Number of the sketch's columns.
      key: int32 [2], which the functions follow from.
    """
    words = tf.random.stateless_uniform(
        [_COEFFICIENTS, num_rows, 1], key, 0, _PRIME, tf.int32, alg="philox"
    )
    a, b, c, d = tf.unstack(tf.cast(words, tf.int64))
    x = tf.cast(keys, tf.int64)
    columns = tf.math.floormod(tf.math.floormod(tf.maximum(a, 1) * x + b, _PRIME), num_columns)
    parities = tf.math.floormod(tf.math.floormod(tf.maximum(c, 1) * x + d, _PRIME), 2)
    return Hashes(tf.cast(columns, tf.int32), 1.0 - 2.0 * tf.cast(parities, tf.float32))
