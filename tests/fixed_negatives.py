"""A sampler of negatives whose draw the test chooses."""

import numpy as np
import tensorflow as tf


class FixedNegatives:
    """Gives every client the same negatives."""

    def __init__(self, negatives, probabilities):
        self.num_items, self.num_negatives = len(probabilities), len(negatives)
        self._negatives = negatives
        self.log_probabilities = np.log(probabilities)

    def sample(self, seed):
        del seed
        return tf.constant(self._negatives, tf.int32)

    def log_q(self, item_index):
        return tf.gather(tf.constant(self.log_probabilities, tf.float32), item_index)
