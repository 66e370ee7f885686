"""Means of what users took: over histories by age, and over sets without one of their items."""

# Tested in tests/models/test_tower_encoding.py.

import tensorflow as tf


def average(items: tf.Tensor, mask: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """The mean of items by their shares.

    Args:
      items: float32 [batch, length, dim].
      mask: float32 [batch, length], 1 for an item and 0 for padding, at either end.
      shares: float32 [batch, length], what each item counts; zero for padding.

    Returns:
      float32 [batch, dim], zero where there are no items.
    """
    total = tf.reduce_sum(items * shares[:, :, tf.newaxis], axis=1)
    weight = tf.reduce_sum(shares, axis=1, keepdims=True)
    has_items = tf.greater(tf.reduce_sum(mask, axis=1, keepdims=True), 0.0)
    return total / tf.where(has_items, weight, 1.0)


def weigh_by_age(weights: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """What an item counts by its age.

    The exponential keeps weights positive; they start as one.

    Args:
      weights: float32 [length], the newest item's first.
      mask: float32 [batch, length].

    Returns:
      float32, the mask's shape.
    """
    num_newer = tf.cumsum(mask, axis=1, exclusive=True, reverse=True)
    return tf.exp(tf.gather(weights, tf.cast(num_newer, tf.int32)))


def average_others(items: tf.Tensor, index: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """For each item of a set the mean of all the others.

    Args:
      items: float32 [length, dim], embeddings of items.
      index: int32 [length], which items these are; one may be there several times.
      mask: float32 [length], 1 for an item and 0 for padding.

    Returns:
      float32 [length, dim]. Row `t` does not depend on item `t`, wherever it is.
    """
    is_other = tf.not_equal(index[:, tf.newaxis], index[tf.newaxis, :])
    # What a place holds that is padding does not matter: it has all the items for others.
    is_other = tf.logical_or(is_other, tf.equal(mask, 0.0)[:, tf.newaxis])
    shares = tf.cast(is_other, tf.float32) * mask[tf.newaxis, :]
    total = tf.linalg.matmul(shares, items)
    count = tf.reduce_sum(shares, axis=1, keepdims=True)
    return total / tf.maximum(count, 1.0)
