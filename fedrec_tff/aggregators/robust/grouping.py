"""The updates of a round by row of the table: who sent something for it, and what.

Few rows are sent by many clients, and many by few. So the rows of the table are taken in groups
of like numbers of senders, and a group is padded to a power of two: at most twice what was sent.
"""

# Tested in tests/aggregators/test_robust_selection.py.

from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.aggregators.robust import buffers


class Group(NamedTuple):
    """Rows of the table that like numbers of clients sent.

    Attributes:
      ids: int32 [rows], the rows of the table.
      counts: int32 [rows], how many clients sent each, from 1 to `places`.
      parts: int32 [rows, places], which of `buffers.Updates.rows` these are, in any order; any
        valid number beyond the count.
      is_part: bool [rows, places], whether it is within the count.
    """

    ids: tf.Tensor
    counts: tf.Tensor
    parts: tf.Tensor
    is_part: tf.Tensor


def iterate_groups(updates: buffers.Updates, num_rows: int, max_clients: int) -> Iterator[Group]:
    """Each row of the table that was sent, in one group.

    Args:
      updates: Updates of a round.
      num_rows: Rows of the table.
      max_clients: Number of clients that there is room for, at least as many as there are.
    """
    order = tf.argsort(updates.row_ids)
    counts = tf.math.bincount(updates.row_ids, minlength=num_rows, maxlength=num_rows)
    starts = tf.cumsum(counts, exclusive=True)
    places = 1
    while places < 2 * max_clients:
        ids = tf.cast(tf.where((counts > places // 2) & (counts <= places))[:, 0], tf.int32)
        group_counts = tf.gather(counts, ids)
        place = tf.range(places)
        is_part = place < group_counts[:, tf.newaxis]
        index = tf.gather(starts, ids)[:, tf.newaxis] + tf.where(is_part, place, 0)
        yield Group(ids, group_counts, tf.gather(order, index), is_part)
        places *= 2
