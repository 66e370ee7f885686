"""Where a client's negatives come from."""

import dataclasses

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.learning import alias_table


@dataclasses.dataclass(frozen=True)
class NegativeSampler:
    """Draws items with replacement, uniformly or by given probabilities.

    Attributes:
      num_items: Size of the catalogue.
      num_negatives: Items drawn for one client in one round; all its batches share them.
      probabilities: float [num_items] summing to one, or None for uniform. They become part of
        the computation that every client runs, so under differential privacy they must not be
        exact counts of user data.
    """

    num_items: int
    num_negatives: int
    probabilities: np.ndarray | None = None

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        """Draws negatives.

        Args:
          seed: int32 [2], which the negatives follow from.

        Returns:
          int32 [num_negatives], the same for the same seed on any device.
        """
        shape = [self.num_negatives]
        if self.probabilities is None:
            return tf.random.stateless_uniform(
                shape, seed, 0, self.num_items, tf.int32, alg="philox"
            )
        table = alias_table.create_alias_table(self.probabilities)
        # Integers: XLA makes other floats than TensorFlow's kernels do from the same bits.
        drawn = tf.random.stateless_uniform(
            [2, self.num_negatives], seed, 0, alias_table.NUM_STEPS, tf.int32, alg="philox"
        )
        # The remainder favours small numbers by less than num_items / 2^31.
        column = drawn[0] % self.num_items
        is_own = drawn[1] < tf.gather(tf.constant(table.threshold), column)
        return tf.where(is_own, column, tf.gather(tf.constant(table.alias), column))

    def log_q(self, item_index: tf.Tensor) -> tf.Tensor:
        """Log probability with which one draw gives each item: float32, `item_index`'s shape."""
        if self.probabilities is None:
            return tf.fill(tf.shape(item_index), -float(np.log(self.num_items)))
        return tf.gather(tf.constant(np.log(self.probabilities), tf.float32), item_index)


def create_popularity_probabilities(train: Sequences, num_items: int) -> np.ndarray:
    """Probabilities proportional to one more than an item's count in the training data.

    Args:
      train: Training sequences.
      num_items: Size of the catalogue.

    Returns:
      float64 [num_items]; no item has probability zero.
    """
    counts = train.count_items(num_items) + 1.0
    return counts / counts.sum()
