"""What published attacks on recommenders have in common: they send rows of the item table.

An attacker knows what a client is sent, the model of the round, and here also the models of the
rounds before: whoever has a few accounts, or reads the application's traffic, sees them. What
attackers work out of these models is the same for all of them, so it is worked out once, on the
server, and kept in its state (`client_memory`); each attacker could do it for itself.

The papers' models are matrix factorisations: a user is a vector that its device keeps, the server
has the items' vectors, and clients send gradients. Here a user is what the query tower makes of a
history, an item has a bias beside its vector, and clients send steps. So:

- A user's vector is the tower's encoding of the items that the attack knows of it.
- An item's vector is `[embedding / temperature, bias]`, whose product with `[query, 1]` is the
  score: the bias is attacked as the vector is.
- A target's score is raised against those of all other items, by the cross-entropy of a softmax
  over the catalogue. The papers' binary cross-entropy is content with a score above zero, and
  scores of models that are trained by a softmax have no zero.
- What an attacker sends is one step of the clients' learning rate, times the attack's scale.
- The rows that an attacker names are given to it as negatives, so that its update has the form of
  an honest one: as many rows, in the same order.
"""

# Tested in tests/learning/simulation/test_promotions.py.

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.learning import client_memory, client_work
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig


@dataclasses.dataclass(frozen=True)
class Aim:
    """What every promotion is told.

    Attributes:
      model: The model's shape; without features of items or users.
      targets: The items to promote, all different.
      learning_rate: The clients' learning rate.
      scale: Strength of the attack, in its own unit.
    """

    model: TwoTowerConfig
    targets: tuple[int, ...]
    learning_rate: float
    scale: float


class OwnUpdate(NamedTuple):
    """Of the honest update of the account that attacks, what a promotion looks at.

    Attributes:
      rows: The rows that the attack is about to replace, in the order of `list_items`.
      longest: float32 scalar, the L2 norm of the longest row of the whole update.
    """

    rows: two_tower.ItemRows
    longest: tf.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Promotion(client_memory.ClientMemory):
    """An attack that promotes items; it is the memory of what attackers work out of models.

    Attributes:
      aim: What the attack is after.
    """

    aim: Aim

    @property
    def keeps_own_update(self) -> bool:
        """Whether an attacker sends its honest update but for some rows; otherwise these alone."""
        return False

    def list_items(self, state: Any) -> tf.Tensor:
        """The items whose rows attackers send: int32 [k], all different; the targets by default.

        Args:
          state: State of the memory.
        """
        del state
        return tf.constant(self.aim.targets, tf.int32)

    def find_others(self, weights: two_tower.TwoTowerWeights) -> tf.Tensor:
        """The vectors of all items that are no targets: float32 [items, dim + 1]."""
        num_items = weights.items.bias.shape[0]
        others = np.setdiff1d(np.arange(num_items), self.aim.targets)
        rows = two_tower.gather_items(weights.items, others)
        return find_item_vectors(self.aim.model, weights.tower, rows)

    def create_rows(
        self,
        state: Any,
        weights: two_tower.TwoTowerWeights,
        client: client_work.ClientData,
        own: OwnUpdate,
    ) -> two_tower.ItemRows:
        """The rows that an attacker sends, initial minus final weights.

        Args:
          state: State of the memory.
          weights: The model of the round.
          client: The data of the account that attacks.
          own: The honest update of that account.

        Returns:
          Rows of the items of `list_items`, [k].
        """
        raise NotImplementedError


def find_item_vectors(
    model: TwoTowerConfig, tower: tuple[tf.Tensor, ...], items: two_tower.ItemRows
) -> tf.Tensor:
    """Vectors whose products with `find_user_vectors` are scores: float32 [rows, dim + 1]."""
    items = tower_encoding.encode_candidates(model, tower, items)
    embedding = two_tower.scale_for(model.similarity, items.embedding) / model.temperature
    return tf.concat([embedding, items.bias[:, tf.newaxis]], axis=1)


def take_step(
    aim: Aim,
    tower: tuple[tf.Tensor, ...],
    items: two_tower.ItemRows,
    loss_fn: Callable[[tf.Tensor], tf.Tensor],
) -> two_tower.ItemRows:
    """One step of gradient descent, as a client sends it.

    Args:
      aim: What the attack is after; its scale is left to the caller.
      tower: The towers' weights.
      items: The rows that take the step.
      loss_fn: From the vectors of these rows to the loss.

    Returns:
      The rows before the step minus those after it.
    """
    with tf.GradientTape() as tape:
        tape.watch(items)
        loss = loss_fn(find_item_vectors(aim.model, tower, items))
    gradient = tape.gradient(loss, items, unconnected_gradients="zero")
    return tf.nest.map_structure(lambda t: aim.learning_rate * tf.convert_to_tensor(t), gradient)


def find_user_vectors(
    model: TwoTowerConfig, weights: two_tower.TwoTowerWeights, history: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    """Vectors of users of whom histories are known.

    Args:
      model: The model's shape.
      weights: The model of the round.
      history: int32 [users, history_length], oldest first, padded at the end.
      length: int32 [users], how many of these are real.

    Returns:
      float32 [users, dim + 1], the last of which is 1. No gradient goes through them: the papers'
      attackers hold users' vectors fixed.
    """
    mask = tf.sequence_mask(length, model.history_length, tf.float32)
    query = tower_encoding.encode_histories(
        model, weights.items.embedding, weights.tower, history, mask
    )
    query = two_tower.scale_for(model.similarity, query)
    return tf.stop_gradient(tf.concat([query, tf.ones([tf.shape(query)[0], 1])], axis=1))


def compute_loss(users: tf.Tensor, targets: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """How little users would be shown targets: the mean cross-entropy of each target by itself.

    Args:
      users: float32 [users, dim + 1], users' vectors.
      targets: float32 [num_targets, dim + 1], the targets' vectors.
      others: float32 [items, dim + 1], vectors of all items that are no targets, held fixed.

    Returns:
      float32 scalar.
    """
    rivals = tf.linalg.matmul(users, tf.stop_gradient(others), transpose_b=True)
    rivals = tf.reduce_logsumexp(rivals, axis=1, keepdims=True)
    scores = tf.linalg.matmul(users, targets, transpose_b=True)
    return tf.reduce_mean(tf.nn.softplus(rivals - scores))


def clip_rows(rows: two_tower.ItemRows, norm: tf.Tensor) -> two_tower.ItemRows:
    """Shortens each row, embedding and bias together, to an L2 norm."""
    factor = tf.minimum(1.0, norm / tf.maximum(find_row_norms(rows), 1e-30))
    return two_tower.ItemRows(rows.embedding * factor[:, tf.newaxis], rows.bias * factor)


def find_row_norms(rows: two_tower.ItemRows) -> tf.Tensor:
    """The L2 norm of each row, embedding and bias together: float32 [rows]."""
    return tf.sqrt(tf.reduce_sum(tf.square(rows.embedding), axis=1) + tf.square(rows.bias))
