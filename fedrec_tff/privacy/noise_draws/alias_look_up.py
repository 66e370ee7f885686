"""Looks words up in an alias table: 32 bits where they decide, all 124 where they do not.

A word's lowest bits choose the column, the others are the first of the number that is compared with
its threshold. Where they are those of the threshold itself, once in 2^16 words or less, they do not
decide, and the other 92 bits are drawn.
"""

# Tested in tests/privacy/noise_draws/test_alias_look_up.py.

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedrec_tff.privacy import noise_tables
from fedrec_tff.privacy.noise_draws import philox

# Bits of a word, and what then is left of the upper 62 bits of a threshold.
_SHORT_BITS = 32
_REST_BITS = noise_tables.WORD_BITS - _SHORT_BITS
# Keeps the words that decide ties apart from those that are always drawn.
_TIE_STREAM = [0, 2**62]


def look_up(
    table: noise_tables.NoiseTable, words: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int
) -> tf.Tensor:
    """Turns words into numbers by the table, each on its own.

    Args:
      table: Alias table of the distribution to draw from.
      words: int32 [size], all 32 bits uniform.
      seed: int64 [2], the seed that the words were drawn with.
      stream: int64 scalar, their stream.

    Returns:
      int64 [size], from -radius to radius.
    """
    column, alias, word, threshold = _find_columns(table, words, _create_entries(table))
    chosen = tf.where(word < threshold, column, alias)
    ties = tf.where(tf.equal(word, threshold))
    tied = tf.gather_nd(column, ties)
    is_own = _is_below_rest(table, tied, seed, stream)
    decided = tf.where(is_own, tied, tf.gather_nd(alias, ties))
    chosen = tf.tensor_scatter_nd_update(chosen, ties, decided)
    return tf.cast(chosen - table.radius, tf.int64)


def look_up_decided(
    table: noise_tables.NoiseTable, words: Sequence[tf.Tensor]
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Turns words into numbers by the table, but for those that do not decide.

    Args:
      table: Alias table of the distribution to draw from.
      words: int32 tensors, all bits uniform.

    Returns:
      For each tensor of words its numbers, int32, and which of them are to be replaced by those
      of `look_up`, bool.
    """
    entries = _create_entries(table)
    looked_up = []
    for some in words:
        column, alias, word, threshold = _find_columns(table, some, entries)
        numbers = tf.where(word < threshold, column, alias) - table.radius
        looked_up.append((numbers, tf.equal(word, threshold)))
    return looked_up


def _create_entries(table: noise_tables.NoiseTable) -> tf.Tensor:
    """int32 [columns]: a column's threshold, as far as a word decides, above its alias."""
    # Words are signed. A full column's threshold would be beyond all of them; but its alias is
    # itself.
    half = 1 << (_SHORT_BITS - table.column_bits - 1)
    upper = np.minimum((table.high_thresholds >> _REST_BITS) - half, half - 1)
    # One read of memory finds both.
    return tf.constant((upper << table.column_bits | table.aliases).astype(np.int32))


def _find_columns(
    table: noise_tables.NoiseTable, words: tf.Tensor, entries: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Words' columns, these columns' aliases, and what of a word is compared with what."""
    mask = (1 << table.column_bits) - 1
    column = tf.bitwise.bitwise_and(words, mask)
    entry = tf.gather(entries, column)
    alias = tf.bitwise.bitwise_and(entry, mask)
    return column, alias, tf.bitwise.bitwise_or(words, mask), tf.bitwise.bitwise_or(entry, mask)


def _is_below_rest(
    table: noise_tables.NoiseTable, column: tf.Tensor, seed: tf.Tensor, stream: tf.Tensor | int
) -> tf.Tensor:
    """Whether 92 random bits are below the last 92 of the columns' thresholds: bool [size]."""
    rest_of_high = table.high_thresholds & ((1 << _REST_BITS) - 1)
    high_threshold = tf.gather(tf.constant(rest_of_high), column)
    low_threshold = tf.gather(tf.constant(table.low_thresholds), column)
    tie_seed = tf.bitwise.bitwise_xor(seed, tf.constant(_TIE_STREAM, tf.int64))
    # Two words each make 62 bits; which two are dropped does not matter.
    drawn = philox.draw_bits([2, tf.size(column)], tie_seed, stream, tf.int64)
    high, low = tf.unstack(tf.bitwise.bitwise_and(drawn, 2**noise_tables.WORD_BITS - 1))
    high = tf.bitwise.right_shift(high, tf.constant(noise_tables.WORD_BITS - _REST_BITS, tf.int64))
    return (high < high_threshold) | (tf.equal(high, high_threshold) & (low < low_threshold))
