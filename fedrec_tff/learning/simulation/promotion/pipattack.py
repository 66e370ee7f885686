"""PipAttack: a target that a classifier takes for popular is recommended as what is popular.

Zhang et al. 2022, "PipAttack: poisoning federated recommender systems for manipulating item
promotion" (WSDM 2022, arXiv 2110.10926).

Assumed: the model of each round, and how popular each item is, in three classes, which shops show
to everybody (by counts of sales or reviews). Attackers train on data of their own as everybody
does, and change the targets' rows by three things:

- **Popularity obfuscation**: an estimator learns from the items' vectors which class each is of,
  and targets' vectors are moved to where it sees the most popular class.
- **Explicit promotion**: targets' scores for the attackers' own users are raised.
- **A distance constraint**: what is sent must not be far from an honest update.

Where this differs: the estimator is a softmax regression, warm from round to round, not a network
of several layers. The two losses count the same. The paper adds the distance to the loss, with a
weight that must be tuned; here targets' rows stay within a ball around the honest ones whose radius
is the longest row of that honest update, times the scale.
"""

# Tested in tests/learning/simulation/test_promotions.py.

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation.promotion import promotion
from fedrec_tff.models import two_tower

# Of the items, those that sell best; then the middling ones; the rest is the third class.
POPULAR_SHARE = 0.1
MIDDLING_SHARE = 0.45
POPULAR = 0
NUM_CLASSES = 3
# Steps of the estimator's training in a round.
NUM_STEPS = 20


class Estimator(NamedTuple):
    """What attackers have learned, and how it moves the targets.

    Attributes:
      kernel: float32 [dim + 2, NUM_CLASSES], the softmax regression; the last row is the intercept.
      rows: The step of the targets' rows towards the popular class.
    """

    kernel: tf.Tensor
    rows: two_tower.ItemRows


@dataclasses.dataclass(frozen=True, eq=False)
class PipAttack(promotion.Promotion):
    """See the module.

    Attributes:
      popularity_class: int32 [num_items], class of each item; 0 is `POPULAR`.
    """

    popularity_class: np.ndarray

    @property
    def keeps_own_update(self) -> bool:
        """All but the targets' rows are honest."""
        return True

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Estimator:
        """An estimator trained on the initial model."""
        width = self.aim.model.embedding_dim + 2
        return self._learn(tf.zeros([width, NUM_CLASSES]), weights)

    def update(
        self,
        state: Estimator,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> Estimator:
        """Trains it on the model of the next round."""
        del reports, weights
        return self._learn(state.kernel, new_weights)

    def create_rows(
        self,
        state: Estimator,
        weights: two_tower.TwoTowerWeights,
        client: client_work.ClientData,
        own: promotion.OwnUpdate,
    ) -> two_tower.ItemRows:
        """Both steps, within the ball around the honest rows."""
        user = promotion.find_user_vectors(self.aim.model, weights, *self._take_history(client))
        targets = two_tower.gather_items(weights.items, self.list_items(state))
        others = self.find_others(weights)
        explicit = promotion.take_step(
            self.aim,
            weights.tower,
            targets,
            lambda vectors: promotion.compute_loss(user, vectors, others),
        )
        away = tf.nest.map_structure(lambda a, b, c: a + b - c, explicit, state.rows, own.rows)
        away = promotion.clip_rows(away, self.aim.scale * own.longest)
        return tf.nest.map_structure(tf.add, own.rows, away)

    def _learn(self, kernel: tf.Tensor, weights: two_tower.TwoTowerWeights) -> Estimator:
        model, tower = self.aim.model, weights.tower
        inputs = _add_one(promotion.find_item_vectors(model, tower, weights.items))
        kernel = train_estimator(kernel, inputs, self.popularity_class)
        targets = two_tower.gather_items(weights.items, self.list_items(()))

        def obfuscate(vectors: tf.Tensor) -> tf.Tensor:
            logits = tf.linalg.matmul(_add_one(vectors), kernel)
            return -tf.reduce_mean(tf.nn.log_softmax(logits)[:, POPULAR])

        return Estimator(kernel, promotion.take_step(self.aim, tower, targets, obfuscate))

    def _take_history(self, client: client_work.ClientData) -> tuple[tf.Tensor, tf.Tensor]:
        """The newest items of the account, as one row of histories; and how many these are."""
        length = self.aim.model.history_length
        count = tf.minimum(client.num_interactions, length)
        places = client.num_interactions - count + tf.range(length)
        places = tf.minimum(places, tf.shape(client.item_index)[0] - 1)
        return tf.gather(client.item_index, places)[tf.newaxis], count[tf.newaxis]


def classify_popularity(counts: np.ndarray) -> np.ndarray:
    """The class of each item, from how often it was taken.

    Args:
      counts: int [num_items].

    Returns:
      int32 [num_items]: 0 for the most popular tenth, 1 for the next 45 %, 2 for the rest. Of two
      that are as popular the smaller index comes first.
    """
    order = np.argsort(-counts, kind="stable")
    ends = np.ceil(len(counts) * np.cumsum([POPULAR_SHARE, MIDDLING_SHARE]))
    found = np.empty(len(counts), np.int32)
    found[order] = np.searchsorted(ends, np.arange(len(counts)), side="right")
    return found


def train_estimator(kernel: tf.Tensor, inputs: tf.Tensor, labels: np.ndarray) -> tf.Tensor:
    """A few steps of gradient descent on the mean cross-entropy of a softmax regression.

    The step is one over the mean square of the inputs' norms: twice the largest curvature there may
    be, so that every step lowers the loss.

    Args:
      kernel: float32 [width, classes], where to start.
      inputs: float32 [rows, width].
      labels: int32 [rows].

    Returns:
      float32 [width, classes].
    """
    num_rows = tf.cast(tf.shape(inputs)[0], tf.float32)
    expected = tf.one_hot(labels, kernel.shape[1])
    rate = num_rows / tf.reduce_sum(tf.square(inputs))
    for _ in range(NUM_STEPS):
        error = tf.nn.softmax(tf.linalg.matmul(inputs, kernel)) - expected
        kernel -= rate * tf.linalg.matmul(inputs, error, transpose_a=True) / num_rows
    return kernel


def _add_one(vectors: tf.Tensor) -> tf.Tensor:
    return tf.concat([vectors, tf.ones([tf.shape(vectors)[0], 1])], axis=1)
