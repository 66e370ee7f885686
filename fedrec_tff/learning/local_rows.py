"""The rows of the item table that one client touches.

Client work on a gathered sub-table equals client work on the whole table if every item has one
copy in it; two copies of a row would drift apart.
"""

from typing import NamedTuple

import tensorflow as tf

_PADDING_ID = tf.int32.max


class LocalRows(NamedTuple):
    """A client's sub-table of `slots` rows and where its items are in it.

    Attributes:
      ids: int32 [slots], ascending, the item that each slot holds. A slot that is not `used` holds
        the item of the slot before it.
      used: bool [slots]; each item has exactly one used slot. Nothing points at the others.
      index: int32 [slots], for each of the client's items, in the order given, its slot.
    """

    ids: tf.Tensor
    used: tf.Tensor
    index: tf.Tensor


def build_local_rows(item_index: tf.Tensor, valid: tf.Tensor) -> LocalRows:
    """Finds the distinct items by sorting, with static shapes, so that XLA compiles it.

    Args:
      item_index: int32 [slots], with repetitions.
      valid: bool [slots], false for padding.

    Returns:
      The sub-table's rows. The slot of padding is not meaningful, but within range.
    """
    keys = tf.where(valid, item_index, _PADDING_ID)
    ordered = tf.sort(keys)
    is_first = tf.concat([[True], tf.not_equal(ordered[1:], ordered[:-1])], axis=0)
    used = tf.logical_and(is_first, tf.not_equal(ordered, _PADDING_ID))
    largest = tf.reduce_max(tf.where(valid, item_index, 0))
    ids = tf.minimum(ordered, largest)
    return LocalRows(ids=ids, used=used, index=find_slots(ordered, keys))


def find_slots(ordered: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """The first position of each key in a sorted tensor that holds it: `tf.searchsorted`.

    Which XLA compiles to a comparison of all pairs: too much for a user with thousands of items.

    Args:
      ordered: int32 [slots], ascending.
      keys: int32 [keys], each of them in `ordered`.

    Returns:
      int32 [keys].
    """

    def halve(low, high):
        middle = (low + high) // 2
        is_below = tf.gather(ordered, middle) < keys
        return tf.where(is_below, middle + 1, low), tf.where(is_below, high, middle)

    low, _ = tf.while_loop(
        lambda low, high: tf.reduce_any(low < high),
        halve,
        (tf.zeros_like(keys), tf.zeros_like(keys) + tf.size(keys) - 1),
    )
    # XLA takes the shape of what a loop returns for unknown; that of its input it knows.
    return tf.reshape(low, tf.shape(keys))
