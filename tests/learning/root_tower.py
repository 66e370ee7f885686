"""A causal tower by two ways to the same numbers, one of which XLA cannot compile."""

import tensorflow as tf

from fedrec_tff.models.query_tower import CausalTower, TowerTensor

_WIDTH = 4


class RootTower(CausalTower):
    """The sum of the items so far, times the root of a diagonal matrix that is not trained."""

    tensors = (TowerTensor((_WIDTH,), initial_stddev=0.5, initial_value=4.0),)

    def __init__(self, compiles):
        self._compiles = compiles

    def encode_sequence(self, weights, items, dropout):
        diagonal = tf.abs(tf.stop_gradient(weights[0])) + 1.0
        if self._compiles:
            root = tf.linalg.diag(tf.sqrt(diagonal))
        else:
            root = tf.linalg.sqrtm(tf.linalg.diag(diagonal))
        sums = tf.cumsum(tf.pad(dropout(items), [[0, 0], [1, 0], [0, 0]]), axis=1)
        return tf.einsum("nld,de->nle", sums, root)


def build(context, *, compiles: bool):
    return RootTower(compiles)
