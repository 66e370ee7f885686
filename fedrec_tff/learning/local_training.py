"""The steps that one client takes on its own examples in one round."""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import losses, query_towers, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_SHUFFLE_STREAM = 1
_DROPOUT_STREAM = 3


class Examples(NamedTuple):
    """What a client trains on in a round.

    Attributes:
      sequence: int32 [length], items as indices into the table that the client trains on.
      negatives: int32 [negatives], likewise.
      sequence_log_q: float32 [length], log probabilities of the items under the sampler.
      negatives_log_q: float32 [negatives], likewise.
      num_interactions: int32 scalar, how many items of the sequence are real.
      first: int32 scalar, the first position that is an example: 1 where what came before position
        0 was cut off, and else 0.
      num_items: Size of the catalogue.
    """

    sequence: tf.Tensor
    negatives: tf.Tensor
    sequence_log_q: tf.Tensor
    negatives_log_q: tf.Tensor
    num_interactions: tf.Tensor
    first: tf.Tensor
    num_items: int

    @property
    def num_examples(self) -> tf.Tensor:
        """int32 scalar, the positions of one pass."""
        return tf.maximum(self.num_interactions - self.first, 0)


def fold(seed: tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """A seed of its own for each use of a client's randomness: int32 [2]."""
    return tf.random.experimental.stateless_fold_in(seed, stream, alg="philox")


def train(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    optimizer: tff.learning.optimizers.Optimizer,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    seed: tf.Tensor,
) -> tuple[two_tower.TwoTowerWeights, tf.Tensor, tf.Tensor]:
    """Runs the local steps.

    Every position of the sequence is an example: predict the item from those before it. A causal
    tower takes them all in one step, since it encodes them in one pass.

    Args:
      model: The model's shape.
      work: How to train.
      optimizer: Takes the steps.
      weights: What to start from; its item table holds the rows that the examples point into.
      examples: What to train on.
      seed: int32 [2], of the client's randomness in this round.

    Returns:
      The trained weights, the sum of the losses and the number of examples seen.
    """
    length = tf.shape(examples.sequence)[0]
    is_one_step = model.is_causal or not work.batch_size
    batch_size = length if is_one_step else work.batch_size
    steps_per_epoch = -(-examples.num_interactions // batch_size)
    num_steps = work.local_epochs * steps_per_epoch

    def step_fn(step, order, weights, optimizer_state, loss_sum):
        step_of_epoch = step % steps_per_epoch
        if not is_one_step:
            order = tf.cond(
                tf.equal(step_of_epoch, 0),
                lambda: _shuffle(length, examples.num_interactions, seed, step),
                lambda: order,
            )
            order = tf.ensure_shape(order, examples.sequence.shape)
        slots = step_of_epoch * batch_size + tf.range(batch_size)
        is_example = tf.logical_and(slots < examples.num_interactions, slots >= examples.first)
        mask = tf.cast(is_example, tf.float32)
        positions = tf.gather(order, tf.minimum(slots, length - 1))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            dropout_seed = fold(fold(seed, _DROPOUT_STREAM), step)
            query = _encode(model, weights, examples, positions, dropout_seed)
            example_loss = mask * _example_losses(
                model, work, weights, examples, positions, query, mask
            )
            loss = tf.reduce_sum(example_loss) / tf.maximum(tf.reduce_sum(mask), 1.0)
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        optimizer_state, new_weights = optimizer.next(optimizer_state, weights, gradients)
        new_weights = tf.nest.map_structure(
            lambda new, old: tf.ensure_shape(new, old.shape), new_weights, weights
        )
        return step + 1, order, new_weights, optimizer_state, loss_sum + tf.reduce_sum(example_loss)

    initial_state = optimizer.initialize(
        tf.nest.map_structure(lambda w: tf.TensorSpec(w.shape, w.dtype), weights)
    )
    initial_state = tf.nest.map_structure(tf.convert_to_tensor, initial_state)
    _, _, weights, _, loss_sum = tf.while_loop(
        lambda step, *_: step < num_steps,
        step_fn,
        (tf.constant(0), tf.range(length), weights, initial_state, tf.constant(0.0)),
    )
    num_examples = tf.cast(work.local_epochs * examples.num_examples, tf.float32)
    return weights, loss_sum, num_examples


def _shuffle(
    length: tf.Tensor, num_interactions: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """A random order of the real positions, then the padded ones: int32 [length]."""
    stream = fold(fold(seed, _SHUFFLE_STREAM), step)
    # Integers: XLA makes other floats than TensorFlow's kernels do from the same bits.
    keys = tf.random.stateless_uniform([length], stream, 0, tf.int32.max, tf.int32, alg="philox")
    keys = tf.where(tf.range(length) < num_interactions, keys, tf.int32.max)
    return tf.argsort(keys)


def _encode(
    model: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """What came before each of `positions`, as a query: float32 [batch, dim]."""
    embedding, tower = weights.items.embedding, weights.tower
    if model.is_causal:
        queries = query_towers.encode_sequence(model, embedding, tower, examples.sequence, seed)
        return tf.gather(queries, positions)
    window = positions[:, tf.newaxis] + tf.range(-model.history_length, 0)[tf.newaxis, :]
    history = tf.gather(examples.sequence, tf.maximum(window, 0))
    mask = tf.cast(window >= 0, tf.float32)
    return query_towers.encode_histories(model, embedding, tower, history, mask)


def _example_losses(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    query: tf.Tensor,
    mask: tf.Tensor,
) -> tf.Tensor:
    """The loss of predicting each of `positions` by its query: float32 [batch]."""
    positive_index = tf.gather(examples.sequence, positions)
    positive_log_q = tf.gather(examples.sequence_log_q, positions)
    positives = two_tower.gather_items(weights.items, positive_index)
    if work.loss == learning_config.FULL_SOFTMAX:
        logits = two_tower.all_logits(query, weights.items, model.temperature)
        return losses.full_softmax(logits, positive_index, work.label_smoothing)
    if work.loss == learning_config.IN_BATCH_SOFTMAX:
        logits = two_tower.all_logits(query, positives, model.temperature)
        return losses.in_batch_softmax(logits, positive_index, mask, positive_log_q)
    negatives = two_tower.gather_items(weights.items, examples.negatives)
    positive_logits = two_tower.pair_logits(query, positives, model.temperature)
    logits = two_tower.all_logits(query, negatives, model.temperature)
    if work.loss == learning_config.HINGE:
        return losses.hinge_with_spreadout(
            positive_logits,
            logits,
            positives.embedding,
            negatives.embedding,
            positive_index,
            examples.negatives,
            work.hinge_margin,
            work.spreadout_weight,
        )
    pair = (positive_logits, logits, positive_index, examples.negatives)
    if work.loss == learning_config.BPR:
        return losses.bayesian_personalized_ranking(*pair)
    if work.loss == learning_config.BCE:
        return losses.binary_cross_entropy(*pair, examples.num_items, work.bce_calibration)
    return losses.sampled_softmax(
        *pair, positive_log_q, examples.negatives_log_q, work.label_smoothing
    )
