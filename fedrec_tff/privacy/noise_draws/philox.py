"""Uniform bits of the Philox generator: by TensorFlow's operation, or many words at once by XLA.

Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns a key and a counter
of 128 bits into four words of 32 bits. TensorFlow's operation computes counter after counter;
written as operations on tensors, which XLA makes one loop of, a processor's vector units
compute several at once: the same words in a third of the time or less.
"""

# Tested in tests/privacy/noise_draws/test_philox.py.

from collections.abc import Sequence

import tensorflow as tf

# TensorFlow's number for the generator.
_PHILOX = 1
# "Philox4x32-10": rounds, multipliers, and what each round adds to the key.
_NUM_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORD_BITS = 32
WORDS_PER_COUNTER = 4


def draw_bits(
    shape: Sequence[tf.Tensor | int], seed: tf.Tensor, stream: tf.Tensor | int, dtype: tf.DType
) -> tf.Tensor:
    """Draws uniform bits.

    Args:
      shape: Shape of the result.
      seed: int64 [2], seed of the draws.
      stream: int64 scalar, which of the seed's streams of 2^64 counters to draw from.
      dtype: int32 or int64, all of whose bits are drawn.

    Returns:
      A tensor of that shape and dtype.
    """
    key, counter = _find_key_and_counter(seed, stream)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack(shape), key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )


def draw_packed_words(num_counters: int, seed: tf.Tensor, stream: tf.Tensor | int) -> tf.Tensor:
    """Draws the words that `draw_bits` would draw, by XLA.

    Args:
      num_counters: Number of counters, of four words each.
      seed: int64 [2], seed of the draws.
      stream: int64 scalar, which of the seed's streams to draw from.

    Returns:
      complex128 [num_counters], the four words of each counter, for `unpack_words` alone.
    """
    key, counter = _find_key_and_counter(seed, stream)
    return _draw_packed_words(num_counters, key[0], counter)


def unpack_words(packed: tf.Tensor) -> list[tf.Tensor]:
    """The four words of each counter: four int32 tensors, of the shape of `packed`."""
    halves = [tf.bitcast(part, tf.uint64) for part in (tf.math.real(packed), tf.math.imag(packed))]
    return [tf.bitcast(word, tf.int32) for half in halves for word in (_low(half), _high(half))]


def _find_key_and_counter(seed: tf.Tensor, stream: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """uint64 [1] and [2]: of the seed's counter, the stream is added to the upper half."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    return key, counter + tf.stack([tf.constant(0, tf.uint64), tf.cast(stream, tf.uint64)])


@tf.function(jit_compile=True, autograph=False)
def _draw_packed_words(num_counters: int, key: tf.Tensor, counter: tf.Tensor) -> tf.Tensor:
    low = counter[0] + tf.cast(tf.range(num_counters), tf.uint64)
    high = counter[1] + tf.cast(low < counter[0], tf.uint64)
    words = [_low(low), _high(low), _low(high), _high(high)]
    keys = [_low(key), _high(key)]
    for _ in range(_NUM_ROUNDS):
        products = [
            tf.cast(word, tf.uint64) * tf.constant(multiplier, tf.uint64)
            for word, multiplier in zip(words[::2], _MULTIPLIERS, strict=True)
        ]
        words = [
            _xor(_xor(_high(products[1]), words[1]), keys[0]),
            _low(products[1]),
            _xor(_xor(_high(products[0]), words[3]), keys[1]),
            _low(products[0]),
        ]
        keys = [
            key + tf.constant(step, tf.uint32) for key, step in zip(keys, _KEY_STEPS, strict=True)
        ]
    # A loop of XLA's writes one tensor, and all that leads to a second is computed again for that.
    # No wider number than a complex one has room for the four words.
    return tf.complex(_pack(*words[:2]), _pack(*words[2:]))


def _pack(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Two words as the bits of a float64."""
    shifted = tf.bitwise.left_shift(tf.cast(high, tf.uint64), tf.constant(_WORD_BITS, tf.uint64))
    return tf.bitcast(tf.bitwise.bitwise_or(tf.cast(low, tf.uint64), shifted), tf.float64)


def _low(number: tf.Tensor) -> tf.Tensor:
    return tf.cast(number, tf.uint32)


def _high(number: tf.Tensor) -> tf.Tensor:
    return _low(tf.bitwise.right_shift(number, tf.constant(_WORD_BITS, tf.uint64)))


def _xor(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(first, second)
