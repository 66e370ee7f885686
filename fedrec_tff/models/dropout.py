"""Dropout whose masks are a function of a seed, the same under XLA and in TensorFlow's kernels.

XLA makes other floats than TensorFlow from the same random bits, so masks come from the bits
themselves: one byte for each activation. Rates are therefore multiples of 1/256.
"""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_LEVELS = 256
_BYTES = 4


class Dropout:
    """Drops activations of one training step; each call draws a mask of its own."""

    def __init__(self, rate: float, seed: tf.Tensor | None) -> None:
        """Initialises the dropout.

        Args:
          rate: The fraction to drop, in [0, 1), rounded to a multiple of 1/256.
          seed: int32 [2], of the step; None to drop nothing, as when a model is used.
        """
        self._num_dropped = 0 if seed is None else round(rate * _LEVELS)
        self._seed = seed
        self._num_calls = 0

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Drops some of the values, and scales up the others so that the mean stays.

        Args:
          values: float32, of any shape whose last dimension is a multiple of four, or any other.

        Returns:
          float32, of the same shape.
        """
        if not self._num_dropped:
            return values
        # Late: what a tower is made of is known without it.
        import tensorflow as tf

        seed = tf.random.experimental.stateless_fold_in(self._seed, self._num_calls, alg="philox")
        self._num_calls += 1
        size = tf.size(values)
        words = tf.random.stateless_uniform(
            [-(-size // _BYTES)], seed, None, None, tf.int32, alg="philox"
        )
        numbers = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        kept = tf.cast(numbers, tf.int32) >= self._num_dropped
        scale = _LEVELS / (_LEVELS - self._num_dropped)
        return tf.where(tf.reshape(kept, tf.shape(values)), values * scale, 0.0)
