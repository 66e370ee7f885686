"""FedRecAttack: what some users show in public is enough to know whom to persuade.

Rong et al. 2022, "FedRecAttack: model poisoning attack to federated recommendation" (ICDE 2022,
arXiv 2204.01499).

Assumed: the model of each round, and a small part of the users' interactions, which they made
public (as reviews and comments are). Attackers approximate these users' vectors from what is
public, and lower by a step

    sum over public users u and targets t that u lacks of  g(score(u, v) - score(u, t)),

where v is the last item of the ten that u would be shown, and g(x) is x above zero and exp(x) - 1
below: a target that is shown already counts for less and less. The step moves targets up and the
last items of lists down. Attackers hide in numbers: they send at most `num_rows` rows, the targets'
and those with the longest steps, and none is longer than a limit.

Where this differs: the paper learns public users' vectors by descent, since its users are vectors;
here the tower makes a query of what is public. The paper's attackers share the step out among those
of a round, draw once which rows each of them sends, and limit rows to a norm that is to be tuned;
here each sends the same rows, the longest, and the limit is the longest row of the honest update of
the account that attacks, times the scale.
"""

# Tested in tests/learning/simulation/test_promotions.py.

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.learning import client_work
from fedrec_tff.learning.simulation.promotion import promotion
from fedrec_tff.models import two_tower

_LIST_LENGTH = 10


class Plan(NamedTuple):
    """What attackers are about to send.

    Attributes:
      items: int32 [num_rows], the targets, then the items whose rows move furthest.
      rows: The step of these rows, not limited yet.
    """

    items: tf.Tensor
    rows: two_tower.ItemRows


@dataclasses.dataclass(frozen=True, eq=False)
class FedRecAttack(promotion.Promotion):
    """See the module.

    Attributes:
      num_rows: Number of rows that an attacker sends, targets' included.
      history: int32 [users, history_length], the newest public items of each user, oldest first,
        padded at the end.
      length: int32 [users], how many of these are real; at least one.
    """

    num_rows: int
    history: np.ndarray
    length: np.ndarray

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> Plan:
        """The plan for the first round."""
        return self._plan(weights)

    def update(
        self,
        state: Plan,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> Plan:
        """The plan for the next round."""
        del state, reports, weights
        return self._plan(new_weights)

    def list_items(self, state: Plan) -> tf.Tensor:
        """Those of the plan."""
        return state.items

    def create_rows(
        self,
        state: Plan,
        weights: two_tower.TwoTowerWeights,
        client: client_work.ClientData,
        own: promotion.OwnUpdate,
    ) -> two_tower.ItemRows:
        """The plan's rows, limited."""
        del weights, client
        return promotion.clip_rows(state.rows, self.aim.scale * own.longest)

    def _plan(self, weights: two_tower.TwoTowerWeights) -> Plan:
        users = promotion.find_user_vectors(
            self.aim.model, weights, tf.constant(self.history), tf.constant(self.length)
        )
        step = promotion.take_step(
            self.aim, weights.tower, weights.items, lambda items: self._compute_loss(users, items)
        )
        norms = self._mark_targets(promotion.find_row_norms(step)[tf.newaxis], -1.0)[0]
        num_others = min(self.num_rows, norms.shape[0]) - len(self.aim.targets)
        others = tf.math.top_k(norms, num_others).indices
        items = tf.concat([tf.constant(self.aim.targets, tf.int32), others], axis=0)
        return Plan(items, two_tower.gather_items(step, items))

    def _compute_loss(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        scores = tf.linalg.matmul(users, items, transpose_b=True)
        last = tf.gather(scores, self._find_last(tf.stop_gradient(scores)), batch_dims=1)
        targets = tf.gather(scores, self.aim.targets, axis=1)
        lacks = (self.history[:, :, np.newaxis] != np.array(self.aim.targets)) | self._is_padding[
            :, :, np.newaxis
        ]
        margin = tf.nn.elu(last[:, tf.newaxis] - targets)
        return tf.reduce_sum(tf.where(lacks.all(axis=1), margin, 0.0))

    def _find_last(self, scores: tf.Tensor) -> tf.Tensor:
        """The last of the items that each user would be shown, but for the targets: int32."""
        # Padding marks a target, which is marked anyway.
        seen = np.where(self._is_padding, self.aim.targets[0], self.history)
        places = np.stack([np.repeat(np.arange(len(seen)), seen.shape[1]), seen.ravel()], axis=1)
        worst = tf.fill([len(places)], -np.inf)
        scores = self._mark_targets(tf.tensor_scatter_nd_update(scores, places, worst), -np.inf)
        num_shown = min(_LIST_LENGTH, scores.shape[1] - len(self.aim.targets))
        return tf.math.top_k(scores, num_shown).indices[:, -1]

    def _mark_targets(self, values: tf.Tensor, mark: float) -> tf.Tensor:
        """Puts a number in the targets' columns."""
        is_target = np.isin(np.arange(values.shape[1]), self.aim.targets)
        return tf.where(is_target, mark, values)

    @property
    def _is_padding(self) -> np.ndarray:
        return np.arange(self.history.shape[1]) >= self.length[:, np.newaxis]
