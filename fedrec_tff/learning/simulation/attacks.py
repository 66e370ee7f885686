"""Attacks: what malicious clients do to their data before training, and to what they send after.

An attacker is a user of the population who runs the same program as everybody, trains as it does,
and then sends something else: after the checks on the device, so that what is not finite reaches
the server. Attacks on data (`LABEL_FLIP`, `TARGET_PROMOTION`) train on other data instead. What is
sent always has the form of an honest update: the item rows that it names are those that the
client's training touched, each once. So attacks are the same over dense and row-sparse updates, and
which items are named gives no attacker away. Weights are honest: a false weight does what a larger
scale does. Attacks made for recommenders choose the rows that they send (`promotion`): these items
are given to an attacker as negatives.

An `ALIE` attacker knows the honest updates' mean and deviation in the round before, and
`DELTA_FREE_RIDER` the last two models; both are in the server's state for them (`client_memory`).
"""

import dataclasses
import math
from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_memory, client_work, negative_sampling
from fedrec_tff.learning.simulation import attack_config
from fedrec_tff.learning.simulation.promotion import promotion as promotion_lib
from fedrec_tff.models import two_tower

_NOISE_STREAM = 0xA77AC4
_SWAP_STREAM = 0x5A4B
# As many as float32 tells apart below one.
_UNIFORM_STEPS = 2**24

Update = two_tower.TwoTowerWeights | row_sparse.RowSparse


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack with nothing left to choose.

    Attributes:
      name: Name of the attack, one of `attack_config.ATTACKS`.
      scale: Strength of the attack, as in `attack_config.AttackConfig`.
      targets: The items to promote.
      promotion: What attackers send, where the name is one of `attack_config.PROMOTIONS`.
    """

    name: str
    scale: float
    targets: tuple[int, ...]
    promotion: promotion_lib.Promotion | None = None


class HonestMoments(NamedTuple):
    """The state of `ALIE`: of the honest clients of the last round that had any.

    Attributes:
      mean: Mean of their updates, as `TwoTowerWeights`; zeros before the first round.
      deviation: The standard deviation of each coordinate.
    """

    mean: two_tower.TwoTowerWeights
    deviation: two_tower.TwoTowerWeights


class _Sums(NamedTuple):
    """What an honest client adds to a round's sums; nothing, if it is an attacker."""

    count: tf.Tensor
    values: Any
    squares: Any


def create_memory(attack: Attack) -> client_memory.ClientMemory:
    """What attackers must know of earlier rounds."""
    if attack.promotion is not None:
        return attack.promotion
    if attack.name == attack_config.ALIE:
        return _MomentsMemory()
    if attack.name == attack_config.DELTA_FREE_RIDER:
        return _DeltaMemory()
    return client_memory.NO_MEMORY


def poison_data(
    attack: Attack,
    client: client_work.ClientData,
    is_attacker: tf.Tensor,
    sampler: negative_sampling.NegativeSampler,
    state: Any = (),
) -> tuple[client_work.ClientData, negative_sampling.NegativeSampler]:
    """What a client trains on.

    `LABEL_FLIP`: positives and negatives change places. The sequence becomes items drawn as
    negatives are, and the negatives become what the user took, so that training pushes down the
    user's own items and up those it never took. With a loss without drawn negatives, the first half
    of that is left.

    `TARGET_PROMOTION`: the targets take every other place of the user's own sequence, in turn, the
    newest first. A fake account that copies a real one: its other items are as popular as
    everybody's (the bandwagon attack), without a statistic of other users.

    `PROMOTIONS`: the items whose rows will be sent are the first of the negatives.

    Args:
      attack: The attack.
      client: The user's data.
      is_attacker: bool scalar; others train on their own data.
      sampler: Sampler of honest clients' negatives.
      state: State of the attack's memory; nothing where it has none.

    Returns:
      The data, and the sampler of negatives.
    """
    length = tf.shape(client.item_index)[0]
    positions = tf.range(length)
    if attack.name == attack_config.TARGET_PROMOTION:
        age = client.num_interactions - 1 - positions
        targets = tf.gather(tf.constant(attack.targets, tf.int32), age // 2 % len(attack.targets))
        items = tf.where(tf.equal(age % 2, 0) & is_attacker, targets, client.item_index)
        return client._replace(item_index=items), sampler
    if attack.name == attack_config.LABEL_FLIP:
        drawn = sampler.sample(_fold(client.seed, _SWAP_STREAM))
        flipped = tf.gather(drawn, positions % sampler.num_negatives)
        taken_positions = (
            tf.range(sampler.num_negatives) * client.num_interactions // sampler.num_negatives
        )
        taken = tf.gather(client.item_index, taken_positions)
        items = tf.where(is_attacker, flipped, client.item_index)
        return client._replace(item_index=items), _give_negatives(sampler, taken, is_attacker)
    if attack.promotion is not None:
        named = attack.promotion.list_items(state)
        return client, _give_negatives(sampler, named, is_attacker)
    return client, sampler


def poison_update(
    attack: Attack,
    update: Update,
    is_attacker: tf.Tensor,
    state: Any,
    weights: two_tower.TwoTowerWeights,
    client: client_work.ClientData,
) -> Update:
    """What a client sends.

    Args:
      attack: The attack.
      update: The result of the client's training.
      is_attacker: bool scalar; others send `update`.
      state: State of the attack's memory; nothing where it has none.
      weights: The model that the client trained.
      client: The data that it trained on.

    Returns:
      An update of the same form.
    """
    if attack.promotion is not None:
        poisoned = _promote(attack.promotion, update, state, weights, client)
    else:
        poisoned = _create_poison(attack, update, state, client.seed)
    if isinstance(update, row_sparse.RowSparse):
        return row_sparse.RowSparse(update.ids, _select(is_attacker, poisoned, update.value))
    return _select(is_attacker, poisoned, update)


def _create_poison(
    attack: Attack, update: Update, state: Any, seed: tf.Tensor
) -> two_tower.TwoTowerWeights:
    """What an attacker sends in the place of its update's tensors."""
    value = _value_of(update)
    name, scale = attack.name, attack.scale
    if name == attack_config.SIGN_FLIP:
        return _multiply(value, -scale)
    if name == attack_config.GAUSSIAN:
        noise = _create_noise(update, seed)
        norms = [tf.linalg.global_norm(tf.nest.flatten(part)) for part in (value, noise)]
        return _multiply(noise, scale * norms[0] / tf.maximum(norms[1], 1e-30))
    if name == attack_config.GARBAGE:
        return _multiply(_create_noise(update, seed), scale)
    if name == attack_config.NAN:
        return tf.nest.map_structure(lambda t: tf.fill(tf.shape(t), math.nan), value)
    if name == attack_config.FREE_RIDER:
        return tf.nest.map_structure(tf.zeros_like, value)
    if name == attack_config.ALIE:
        return _take_rows(
            update, tf.nest.map_structure(lambda m, d: m - scale * d, state.mean, state.deviation)
        )
    if name == attack_config.DELTA_FREE_RIDER:
        return _take_rows(update, _multiply(state, scale))
    # `SCALING`, and the attacks on data.
    return _multiply(value, scale)


def _promote(
    promotion: promotion_lib.Promotion,
    update: Update,
    state: Any,
    weights: two_tower.TwoTowerWeights,
    client: client_work.ClientData,
) -> two_tower.TwoTowerWeights:
    """What an attacker sends who chooses the rows of some items."""
    value, items = _value_of(update), promotion.list_items(state)
    place = _find_places(update, items)
    own = promotion_lib.OwnUpdate(
        two_tower.gather_items(value.items, place),
        tf.reduce_max(promotion_lib.find_row_norms(value.items)),
    )
    rows = promotion.create_rows(state, weights, client, own)
    if not promotion.keeps_own_update:
        value = tf.nest.map_structure(tf.zeros_like, value)
    replaced = tf.nest.map_structure(lambda t, row: _put_rows(t, place, row), value.items, rows)
    return two_tower.TwoTowerWeights(replaced, value.tower)


def _find_places(update: Update, items: tf.Tensor) -> tf.Tensor:
    """Which row of an attacker's update is that of each item, which it names: int32 [items]."""
    if not isinstance(update, row_sparse.RowSparse):
        return items
    # Ids ascend, and the first of those that are equal is the row; the others are padding.
    place = tf.searchsorted(update.ids, items, side="left")
    # An honest update need not name them; what is made of it is then thrown away.
    return tf.minimum(place, tf.size(update.ids) - 1)


def _put_rows(rows: tf.Tensor, place: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(rows, place[:, tf.newaxis], new)


def _give_negatives(
    sampler: negative_sampling.NegativeSampler, given: tf.Tensor, is_attacker: tf.Tensor
) -> negative_sampling.NegativeSampler:
    return _GivenNegatives(
        sampler.num_items, sampler.num_negatives, sampler.probabilities, given, is_attacker
    )


def _value_of(update: Update) -> two_tower.TwoTowerWeights:
    return update.value if isinstance(update, row_sparse.RowSparse) else update


def _select(condition: tf.Tensor, first: Any, second: Any) -> Any:
    return tf.nest.map_structure(lambda a, b: tf.where(condition, a, b), first, second)


def _multiply(value: Any, factor: float | tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda t: factor * t, value)


def _find_named_rows(update: Update) -> tf.Tensor:
    """The rows of an update that its client's training touched: bool [rows]."""
    if isinstance(update, row_sparse.RowSparse):
        first = tf.fill([tf.minimum(tf.size(update.ids), 1)], True)
        return tf.concat([first, tf.not_equal(update.ids[1:], update.ids[:-1])], 0)
    is_touched = tf.reduce_any(tf.not_equal(update.items.embedding, 0.0), axis=1)
    return is_touched | tf.not_equal(update.items.bias, 0.0)


def _keep_rows(update: Update, items: two_tower.ItemRows) -> two_tower.ItemRows:
    """Zeros for the rows that the update does not name."""
    is_named = _find_named_rows(update)
    return two_tower.ItemRows(
        tf.where(is_named[:, tf.newaxis], items.embedding, 0.0),
        tf.where(is_named, items.bias, 0.0),
    )


def _take_rows(update: Update, whole: two_tower.TwoTowerWeights) -> two_tower.TwoTowerWeights:
    """Of something as large as the model, the rows that the update names."""
    items = whole.items
    if isinstance(update, row_sparse.RowSparse):
        items = two_tower.gather_items(items, update.ids)
    return two_tower.TwoTowerWeights(_keep_rows(update, items), whole.tower)


def _create_noise(update: Update, seed: tf.Tensor) -> two_tower.TwoTowerWeights:
    """Standard normal numbers in the rows that the update names, and in the tower."""
    value, stream = _value_of(update), _fold(seed, _NOISE_STREAM)
    leaves = tf.nest.flatten(value)
    drawn = [_create_normal(_fold(stream, i), tf.shape(t)) for i, t in enumerate(leaves)]
    noise = tf.nest.pack_sequence_as(value, drawn)
    return two_tower.TwoTowerWeights(_keep_rows(update, noise.items), noise.tower)


def _create_normal(seed: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Box and Muller's normal numbers, of integers: XLA would make other floats of a seed."""
    bits = tf.random.stateless_uniform(
        tf.concat([[2], shape], 0), seed, 0, _UNIFORM_STEPS, tf.int32, alg="philox"
    )
    # In (0, 1): the logarithm is finite.
    uniform = (tf.cast(bits, tf.float32) + 0.5) / _UNIFORM_STEPS
    return tf.sqrt(-2.0 * tf.math.log(uniform[0])) * tf.cos(2.0 * math.pi * uniform[1])


def _fold(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, stream, alg="philox")


@dataclasses.dataclass(frozen=True)
class _GivenNegatives(negative_sampling.NegativeSampler):
    """Gives an attacker items of its choice before those that are drawn.

    Attributes:
      given: int32 [at most num_negatives], the items.
      is_attacker: bool scalar, whether the user attacks.
    """

    given: tf.Tensor | None = None
    is_attacker: tf.Tensor | None = None

    def sample(self, seed: tf.Tensor) -> tf.Tensor:
        """The items and others, or negatives as everybody draws them."""
        drawn = super().sample(seed)
        chosen = tf.concat([self.given, drawn[tf.size(self.given) :]], axis=0)
        return tf.where(self.is_attacker, chosen, drawn)


class _MomentsMemory(client_memory.ClientMemory):
    """Mean and deviation of the honest clients, whom the simulation can tell from attackers."""

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> HonestMoments:
        """Zeros: nothing is known."""
        zeros = tf.nest.map_structure(tf.zeros_like, weights)
        return HonestMoments(zeros, zeros)

    def report(self, client: Any, result: client_work.ClientResult) -> Any:
        """An honest client's update and its square, if they are finite."""
        value = _value_of(result.update)
        squares = tf.nest.map_structure(tf.square, value)
        is_counted = tf.math.is_finite(
            tf.add_n([tf.reduce_sum(t) for t in tf.nest.flatten(squares)])
        ) & tf.logical_not(client.is_attacker)
        zeros = tf.nest.map_structure(tf.zeros_like, value)
        sums = _Sums(
            tf.cast(is_counted, tf.float32),
            _select(is_counted, value, zeros),
            _select(is_counted, squares, zeros),
        )
        if isinstance(result.update, row_sparse.RowSparse):
            return row_sparse.RowSparse(result.update.ids, sums)
        return sums

    def update(
        self,
        state: HonestMoments,
        reports: _Sums,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> HonestMoments:
        """The round's moments; those before, where nobody honest was there."""
        del weights, new_weights
        count = tf.maximum(reports.count, 1.0)
        mean = tf.nest.map_structure(lambda t: t / count, reports.values)
        deviation = tf.nest.map_structure(
            lambda square, m: tf.sqrt(tf.maximum(square / count - tf.square(m), 0.0)),
            reports.squares,
            mean,
        )
        return _select(reports.count > 0.0, HonestMoments(mean, deviation), state)


class _DeltaMemory(client_memory.ClientMemory):
    """The model before the last round minus the one after: what an honest update looks like."""

    def create_initial_state(self, weights: two_tower.TwoTowerWeights) -> two_tower.TwoTowerWeights:
        """Zeros."""
        return tf.nest.map_structure(tf.zeros_like, weights)

    def update(
        self,
        state: two_tower.TwoTowerWeights,
        reports: Any,
        weights: two_tower.TwoTowerWeights,
        new_weights: two_tower.TwoTowerWeights,
    ) -> two_tower.TwoTowerWeights:
        """The round's difference."""
        del state, reports
        return tf.nest.map_structure(tf.subtract, weights, new_weights)
