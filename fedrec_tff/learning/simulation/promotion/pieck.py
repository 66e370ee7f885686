"""PIECK, both kinds: targets are made like the popular items, which the model gives away.

Zhang et al. 2024, "Preventing the popular item embedding based attack in federated
recommendations" (ICDE 2024, arXiv 2502.12958).

Assumed: nothing but the model, in rounds that follow one another. The model gives away which items
are popular (popular item mining): the attack ranks them, targets left out, and takes the first
`num_popular`. Then

- **PIECK-IPE** (item popularity enhancement) turns targets' vectors towards those of the mined
  items: it maximises their cosines, which count by the rank of the item, on average over those that
  are positive and over those that are not.
- **PIECK-UEA** (user embedding approximation) takes the mined items for users, who are near to what
  is popular, and raises targets' scores for these.

Where this differs:

- **Mining.** In the paper the embeddings that change most are those of popular items: `CHANGE`
  ranks by the sum over rounds of the norm of each row's change. That rests on a server that adds
  up gradients. An adaptive server (Adam) moves all rows about as far, and the ones that change most
  are then no more popular than others. But items here have biases, which grow with popularity
  whatever the server does: `BIAS` ranks by the biases of the newest model.
- The paper mines in the first rounds that an attacker is in and keeps the result; here it goes on,
  and attackers wait until the first round has shown a change.
- The stand-in of a user is the query of a history of one mined item: with a tower that takes the
  plain mean of a history this is the item's embedding, as in the paper.
- The row of an item has its bias in it, and so have changes and cosines.
- Constant factors of the losses are left to the scale.
"""

# Tested in tests/learning/simulation/test_promotions.py.

import abc
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation import attack_config
from fedrec_tff.learning.simulation.promotion import promotion
from fedrec_tff.models import two_tower


class Mined(NamedTuple):
    """What attackers have seen, and what they send next.

    Attributes:
      change: float32 [num_items], the sum over rounds of the norm of each row's change.
      rows: The targets' rows, as each attacker sends them; zeros before anything has changed.
    """

    change: tf.Tensor
    rows: two_tower.ItemRows


@dataclasses.dataclass(frozen=True, eq=False)
class Pieck(promotion.Promotion, abc.ABC):
    """Popular item mining, and what the two kinds have in common.

    Attributes:
      num_popular: Number of items that are mined.
      mines_by: What items are ranked by, one of `attack_config.MININGS`.
    """

    num_popular: int
    mines_by: str

    @abc.abstractmethod
    def compute_loss(
        self, targets: tf.Tensor, weights: two_tower.TwoTowerWeights, popular: tf.Tensor
    ) -> tf.Tensor:
        """What attackers minimise.

        Args:
          targets: float32 [num_targets, dim + 1], the targets' vectors.
          weights: The model of the round.
          popular: int32 [num_popular], the mined items, the most popular first.

        Returns:
          float32 scalar.
        """

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Mined:
        """Nothing is known, and nothing sent."""
        rows = two_tower.gather_items(weights.items, self.list_items(()))
        return Mined(tf.zeros_like(weights.items.bias), tf.nest.map_structure(tf.zeros_like, rows))

    def update(
        self,
        state: Mined,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> Mined:
        """Adds the round's changes, and prepares for the next one."""
        del reports
        difference = tf.nest.map_structure(tf.subtract, new_weights.items, weights.items)
        change = state.change + promotion.find_row_norms(difference)
        popular = self.mine(change, new_weights)
        targets = two_tower.gather_items(new_weights.items, self.list_items(()))
        step = promotion.take_step(
            self.aim,
            new_weights.tower,
            targets,
            lambda vectors: self.compute_loss(vectors, new_weights, popular),
        )
        strength = tf.where(tf.reduce_any(change > 0.0), self.aim.scale, 0.0)
        return Mined(change, tf.nest.map_structure(lambda t: strength * t, step))

    def mine(self, change: tf.Tensor, weights: two_tower.TwoTowerWeights) -> tf.Tensor:
        """The items that are taken for popular, the most popular first; no targets.

        Args:
          change: float32 [num_items], the sum of each row's changes.
          weights: The newest model.

        Returns:
          int32 [num_popular]; fewer where there are fewer items.
        """
        signs = change if self.mines_by == attack_config.CHANGE else weights.items.bias
        num_items, targets = signs.shape[0], self.aim.targets
        others = tf.where(np.isin(np.arange(num_items), targets), -np.inf, signs)
        return tf.math.top_k(others, min(self.num_popular, num_items - len(targets))).indices

    def create_rows(
        self,
        state: Mined,
        weights: two_tower.TwoTowerWeights,
        client: client_work.ClientData,
        own: promotion.OwnUpdate,
    ) -> two_tower.ItemRows:
        """The same for all attackers."""
        del weights, client, own
        return state.rows


class PieckIpe(Pieck):
    """Item popularity enhancement."""

    def compute_loss(
        self, targets: tf.Tensor, weights: two_tower.TwoTowerWeights, popular: tf.Tensor
    ) -> tf.Tensor:
        """Minus the cosines with the mined items, averaged by sign."""
        rows = two_tower.gather_items(weights.items, popular)
        vectors = promotion.find_item_vectors(self.aim.model, weights.tower, rows)
        cosine = tf.linalg.matmul(
            tf.math.l2_normalize(targets, axis=1),
            tf.stop_gradient(tf.math.l2_normalize(vectors, axis=1)),
            transpose_b=True,
        )
        num_popular = popular.shape[0]
        # One on average, and the more the more popular.
        rank_weights = tf.range(float(num_popular), 0.0, -1.0) * 2.0 / (num_popular + 1)
        is_positive = cosine > 0.0
        alignment = 0.0
        for is_counted in (is_positive, tf.logical_not(is_positive)):
            count = tf.reduce_sum(tf.cast(is_counted, tf.float32), axis=1)
            total = tf.reduce_sum(tf.where(is_counted, rank_weights * cosine, 0.0), axis=1)
            alignment += total / tf.maximum(count, 1.0)
        return -tf.reduce_mean(alignment)


class PieckUea(Pieck):
    """User embedding approximation."""

    def compute_loss(
        self, targets: tf.Tensor, weights: two_tower.TwoTowerWeights, popular: tf.Tensor
    ) -> tf.Tensor:
        """Cross-entropy of the targets, for the stand-ins of users."""
        rest = tf.zeros([popular.shape[0], self.aim.model.history_length - 1], tf.int32)
        users = promotion.find_user_vectors(
            self.aim.model,
            weights,
            tf.concat([popular[:, tf.newaxis], rest], axis=1),
            tf.ones_like(popular),
        )
        return promotion.compute_loss(users, targets, self.find_others(weights))
