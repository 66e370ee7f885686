"""How a client's examples are divided into local steps."""

# Tested in tests/learning/test_local_algorithms.py.

from typing import NamedTuple

import tensorflow as tf


class ClientExamples(NamedTuple):
    """How much a client has to train on.

    Attributes:
      length: int32 scalar, the cells of its sequence, padding included.
      count: int32 scalar, how many of them are examples.
    """

    length: tf.Tensor
    count: tf.Tensor


class StepPlan(NamedTuple):
    """How a client's examples are divided into steps.

    Attributes:
      is_one_step: Whether one step takes all of an epoch's examples.
      batch_size: Positions in a step, an int or an int32 scalar.
      per_epoch: int32 scalar, steps in an epoch; 0 for a client without examples.
      total: int32 scalar, steps in a round.
    """

    is_one_step: bool
    batch_size: int | tf.Tensor
    per_epoch: tf.Tensor
    total: tf.Tensor


def divide(
    examples: ClientExamples, batch_size: int | None, local_epochs: int, max_steps: int | None
) -> StepPlan:
    """Divides examples into steps.

    Args:
      examples: Examples to divide.
      batch_size: The most examples in a step; None for all of an epoch's.
      local_epochs: Passes over the examples.
      max_steps: The most steps in a round; None for as many as the epochs have.

    Returns:
      The steps.
    """
    size = examples.length if batch_size is None else batch_size
    per_epoch = -(-examples.count // size)
    total = local_epochs * per_epoch
    if max_steps is not None:
        total = tf.minimum(total, max_steps)
    return StepPlan(batch_size is None, size, per_epoch, total)
