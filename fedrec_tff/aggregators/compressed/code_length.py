"""How long messages are: at fixed width, and under Elias' gamma code.

The gamma code (Elias 1975, "Universal codeword sets and representations of the integers") writes a
positive integer x in `2 floor(log2 x) + 1` bits. Signed integers become positive ones by zigzag
(0, -1, 1, -2, ... are 1, 2, 3, 4, ...); ascending ones by their gaps, the first from -1.

A coded message is made of sections. Each begins with one bit that says whether it is coded or at
fixed width, whichever is shorter. Numbers of things that the receiver cannot know are gamma codes
of the number plus one. Floats have 32 bits in any case. Nothing is estimated: the bits are counted,
as integers.
"""

# Tested in tests/aggregators/test_compressed_sizes.py.

from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.aggregators.compressed import parts
from fedrec_tff.aggregators.transforms import MessageSize

FLOAT_BITS = 32
ID_BITS = 32
_FLAG_BITS = 1
_MANTISSA_BITS = 52
_EXPONENT_OF_ONE = 1023


def create_size(bits: tf.Tensor | int, coded_bits: tf.Tensor | int | None = None) -> MessageSize:
    """The size of a section or message that is not coded, unless its coded length is given."""
    coded_bits = bits if coded_bits is None else coded_bits
    return MessageSize(tf.cast(bits, tf.int64), tf.cast(coded_bits, tf.int64))


def add(sizes: list[MessageSize]) -> MessageSize:
    """The size of several sections."""
    return MessageSize(tf.add_n([s.bits for s in sizes]), tf.add_n([s.coded_bits for s in sizes]))


def create_section(fixed_bits: tf.Tensor, coded_bits: tf.Tensor) -> MessageSize:
    """The size of a section that is coded where that is shorter."""
    return MessageSize(fixed_bits, _FLAG_BITS + tf.minimum(fixed_bits, coded_bits))


def count_gamma_bits(numbers: tf.Tensor) -> tf.Tensor:
    """The length of each number's code: int64.

    Args:
      numbers: int32 or int64, any shape, from 1 to 2**53: float64 holds these exactly, and its
        exponent is the logarithm. Smaller ones, gaps between ids that do not ascend, count as 1.
    """
    words = tf.bitcast(tf.cast(tf.maximum(numbers, 1), tf.float64), tf.int64)
    exponents = tf.bitwise.right_shift(words, tf.constant(_MANTISSA_BITS, tf.int64))
    return 2 * (exponents - _EXPONENT_OF_ONE) + 1


def count_integer_bits(integers: tf.Tensor, is_real: tf.Tensor) -> tf.Tensor:
    """The length of signed integers under zigzag and gamma code: int64 scalar.

    Args:
      integers: int32, any shape.
      is_real: bool, broadcasts to them: which ones count.
    """
    positive = 2 * tf.abs(integers) + tf.where(integers < 0, 0, 1)
    return tf.reduce_sum(tf.where(is_real, count_gamma_bits(positive), 0))


def count_gap_bits(mask: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
    """The length of the gaps between positions, ascending: int64 scalar.

    Args:
      mask: bool [runs, length], which positions.
      starts: int64 [runs], the position of each run's first element, ascending.
    """
    columns = tf.range(mask.shape[1])
    last = _running_maximum(tf.where(mask, columns, -1))
    before = tf.pad(last[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    is_later = mask & (before >= 0)
    bits = tf.reduce_sum(
        tf.where(is_later, count_gamma_bits(tf.where(is_later, columns - before, 1)), 0)
    )
    # Between runs: from the last position of the runs before to the first one of this.
    is_used = last[:, -1] >= 0
    first = tf.reduce_sum(tf.where(mask & (before < 0), columns, 0), axis=1)
    ends = tf.where(is_used, starts + tf.cast(last[:, -1], tf.int64), -1)
    gaps = tf.where(is_used, starts + tf.cast(first, tf.int64) - _last_before(ends, is_used), 1)
    return bits + tf.reduce_sum(tf.where(is_used, count_gamma_bits(gaps), 0))


def count_id_bits(value: Any) -> MessageSize:
    """The size of an update's row ids, padding left out; nothing for a dense update."""
    if not isinstance(value, row_sparse.RowSparse):
        return create_size(0)
    is_real = parts.find_real_rows(value.ids)
    num_real = tf.reduce_sum(tf.cast(is_real, tf.int64))
    before = tf.concat([tf.constant([-1]), value.ids], axis=0)[:-1]
    gaps = tf.where(is_real, tf.cast(value.ids - before, tf.int64), 1)
    coded = tf.reduce_sum(tf.where(is_real, count_gamma_bits(gaps), 0))
    section = create_section(ID_BITS * num_real, coded)
    return section._replace(coded_bits=section.coded_bits + count_gamma_bits(num_real + 1))


def _running_maximum(rows: tf.Tensor) -> tf.Tensor:
    """The largest element so far in each row, by doubling steps; elements are -1 or more."""
    step = 1
    while step < rows.shape[1]:
        shifted = tf.pad(rows[:, :-step], [[0, 0], [step, 0]], constant_values=-1)
        rows = tf.maximum(rows, shifted)
        step *= 2
    return rows


def _last_before(numbers: tf.Tensor, is_used: tf.Tensor) -> tf.Tensor:
    """For each of ascending numbers, the last one before it that is used; -1 for the first.

    Args:
      numbers: int64 [n]; -1 where not used.
      is_used: bool [n].
    """
    used = tf.cast(is_used, tf.int32)
    rank = tf.cumsum(used)
    table = tf.fill([tf.size(numbers) + 1], tf.constant(-1, tf.int64))
    table = tf.tensor_scatter_nd_max(table, rank[:, tf.newaxis], numbers)
    return tf.gather(table, rank - used)
