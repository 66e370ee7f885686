"""The steps that one client takes on its own examples in one round."""

# Tested in tests/learning/test_client_work.py and tests/learning/test_local_algorithms.py.

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from fedrec_tff.learning import guidance as guidance_lib
from fedrec_tff.learning.algorithms.algorithm import Algorithm
from fedrec_tff.learning.algorithms.steps import ClientExamples, StepPlan
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import side_features, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import catalogue as losses
from fedrec_tff.models.losses import plugin as loss_plugin
from fedrec_tff.models.losses.scored import Scored

_SHUFFLE_STREAM = 1
_DROPOUT_STREAM = 3

# What a device does to its queries, float32 [batch, dim], before they meet items.
AdaptFn = Callable[[tf.Tensor], tf.Tensor]


class Examples(NamedTuple):
    """What a client trains on in a round.

    Attributes:
      sequence: int32 [length], items as indices into the table that the client trains on.
      negatives: int32 [negatives], likewise.
      sequence_log_q: float32 [length], log probabilities of the items under the sampler.
      negatives_log_q: float32 [negatives], likewise.
      num_interactions: int32 scalar, how many items of the sequence are real.
      first: int32 scalar, the first position that is an example; those before it are context only,
        as where what came before position 0 was cut off.
      num_items: Size of the catalogue.
      item_features: int32 [rows, slots], what is known of the items of the table that the client
        trains on, as `side_features.add_item_features` takes it; None for nothing.
      item_feature_widths: Number of slots that each column of features has.
      user_features: int32 [slots], what is known of the user; None for nothing.
    """

    sequence: tf.Tensor
    negatives: tf.Tensor
    sequence_log_q: tf.Tensor
    negatives_log_q: tf.Tensor
    num_interactions: tf.Tensor
    first: tf.Tensor
    num_items: int
    item_features: tf.Tensor | None = None
    item_feature_widths: tuple[int, ...] = ()
    user_features: tf.Tensor | None = None

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
    algorithm: Algorithm,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    seed: tf.Tensor,
    adapt_fn: AdaptFn = tf.identity,
    guidance: guidance_lib.Guidance = guidance_lib.NOTHING,
) -> tuple[two_tower.TwoTowerWeights, tf.Tensor, tf.Tensor]:
    """Runs the local steps.

    Every position of the sequence is an example: predict the item from those before it. A causal
    tower takes them all in one step, since it encodes them in one pass.

    Args:
      model: The model's shape.
      work: Settings of client work.
      algorithm: Algorithm that takes the steps; of the same configuration.
      weights: Weights to start from; their item table holds the rows that the examples point into.
      examples: Examples to train on.
      seed: int32 [2], of the client's randomness in this round.
      adapt_fn: The personal part of the model, which is not trained here.
      guidance: Round and statistics as the server tells them, where `work` needs them.

    Returns:
      The trained weights, the sum of the losses and the number of examples seen.
    """
    steps = plan_steps(algorithm, examples)

    def step_fn(step, order, current, state, loss_sum):
        order = _order_positions(steps, examples, order, seed, step)
        positions, mask = _take_batch(steps, examples, order, step)
        dropout_seed = fold(fold(seed, _DROPOUT_STREAM), step)
        gradients, batch_loss = _compute_gradients(
            model, work, current, examples, positions, mask, dropout_seed, adapt_fn
        )
        gradients = algorithm.correct_gradient(gradients, current, weights)
        new_state, new = algorithm.step(state, current, gradients)
        new = tf.nest.map_structure(lambda n, c: tf.ensure_shape(n, c.shape), new, current)
        return step + 1, order, new, new_state, loss_sum + batch_loss

    initial_state = _start(work, algorithm, weights, guidance)
    positions = tf.range(tf.shape(examples.sequence)[0])
    _, _, trained, _, loss_sum = tf.while_loop(
        lambda step, *_: step < steps.total,
        step_fn,
        (tf.constant(0), positions, weights, initial_state, tf.constant(0.0)),
    )
    return trained, loss_sum, _count_examples_seen(work, steps, examples)


def plan_steps(algorithm: Algorithm, examples: Examples) -> StepPlan:
    """Divides a client's examples into steps.

    Args:
      algorithm: Algorithm that says how examples are divided.
      examples: Examples to train on.

    Returns:
      The steps.
    """
    length = tf.shape(examples.sequence)[0]
    return algorithm.plan_steps(ClientExamples(length, examples.num_examples))


def compute_full_gradient(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    seed: tf.Tensor,
    adapt_fn: AdaptFn = tf.identity,
) -> two_tower.TwoTowerWeights:
    """The gradient of the mean loss of all of a client's examples, as one batch.

    Args:
      model: The model's shape.
      work: Settings of client work, with the loss.
      weights: Weights at which the gradient is taken.
      examples: Examples of the client.
      seed: int32 [2], as in `train`; the negatives are those of the local steps, dropout's masks
        those of the first one.
      adapt_fn: The personal part of the model.

    Returns:
      The gradient; zero for a client without examples.
    """
    positions = tf.range(tf.shape(examples.sequence)[0])
    mask = tf.cast(_is_example(positions, examples), tf.float32)
    dropout_seed = fold(fold(seed, _DROPOUT_STREAM), 0)
    gradients, _ = _compute_gradients(
        model, work, weights, examples, positions, mask, dropout_seed, adapt_fn
    )
    return gradients


def _start(
    work: ClientWorkConfig,
    algorithm: Algorithm,
    weights: two_tower.TwoTowerWeights,
    guidance: guidance_lib.Guidance,
) -> Any:
    """What the first step starts with."""
    state = algorithm.start(weights, guidance.statistics)
    if work.optimizer.schedule is None:
        return state
    return algorithm.set_learning_rate(state, guidance_lib.find_learning_rate(work, guidance))


def _count_examples_seen(work: ClientWorkConfig, steps: StepPlan, examples: Examples) -> tf.Tensor:
    """The examples of all steps: float32 scalar."""
    if work.max_local_steps is None:
        return tf.cast(work.local_epochs * examples.num_examples, tf.float32)
    per_epoch = tf.maximum(steps.per_epoch, 1)
    seen = steps.total // per_epoch * examples.num_examples
    # The last epoch, if it was cut short, has full batches alone.
    return tf.cast(seen + steps.total % per_epoch * steps.batch_size, tf.float32)


def _order_positions(
    steps: StepPlan, examples: Examples, order: tf.Tensor, seed: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """The order in which an epoch takes the positions, new in its first step: int32 [length]."""
    if steps.is_one_step:
        return order
    length = tf.shape(examples.sequence)[0]
    order = tf.cond(
        tf.equal(step % steps.per_epoch, 0),
        lambda: _shuffle(length, examples, seed, step),
        lambda: order,
    )
    return tf.ensure_shape(order, examples.sequence.shape)


def _take_batch(
    steps: StepPlan, examples: Examples, order: tf.Tensor, step: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A step's positions and which of them are examples: int32 and float32 [batch]."""
    slots = step % steps.per_epoch * steps.batch_size + tf.range(steps.batch_size)
    length = tf.shape(examples.sequence)[0]
    positions = tf.gather(order, tf.minimum(slots, length - 1))
    is_example = tf.logical_and(slots < length, _is_example(positions, examples))
    return positions, tf.cast(is_example, tf.float32)


def _compute_gradients(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    mask: tf.Tensor,
    dropout_seed: tf.Tensor,
    adapt_fn: AdaptFn,
) -> tuple[two_tower.TwoTowerWeights, tf.Tensor]:
    """The gradient of a batch's mean loss, and the sum of its losses."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        known = add_item_features(model, weights, examples)
        query = adapt_fn(encode(model, known, examples, positions, dropout_seed))
        loss, total = compute_loss(model, work, known, examples, positions, query, mask)
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    if model.freezes_items:
        gradients = gradients._replace(items=tf.nest.map_structure(tf.zeros_like, gradients.items))
    return gradients, total


def _shuffle(length: tf.Tensor, examples: Examples, seed: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """A random order of the examples' positions, then the others: int32 [length]."""
    stream = fold(fold(seed, _SHUFFLE_STREAM), step)
    # Integers: XLA makes other floats than TensorFlow's kernels do from the same bits.
    keys = tf.random.stateless_uniform([length], stream, 0, tf.int32.max, tf.int32, alg="philox")
    return tf.argsort(tf.where(_is_example(tf.range(length), examples), keys, tf.int32.max))


def _is_example(positions: tf.Tensor, examples: Examples) -> tf.Tensor:
    return tf.logical_and(positions >= examples.first, positions < examples.num_interactions)


def add_item_features(
    model: TwoTowerConfig, weights: two_tower.TwoTowerWeights, examples: Examples
) -> two_tower.TwoTowerWeights:
    """The weights, their items with what is known of them, as queries and losses read them."""
    items = side_features.add_item_features(
        model, weights, examples.item_features, examples.item_feature_widths
    )
    return weights._replace(items=items)


def encode(
    model: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Encodes what came before some positions of the client's sequence.

    Args:
      model: The model's shape.
      weights: The weights, from `add_item_features`.
      examples: Examples of the client.
      positions: int32 [batch]; the position after the last item is one, if the sequence is padded.
      seed: int32 [2], of the dropout; None for none.

    Returns:
      float32 [batch, dim], the queries.
    """
    embedding, tower = weights.items.embedding, weights.tower
    if model.is_causal:
        queries = tower_encoding.encode_sequence(model, embedding, tower, examples.sequence, seed)
        query = tf.gather(queries, positions)
    elif model.reads_whole_sets:
        is_real = tf.range(tf.shape(examples.sequence)[0]) < examples.num_interactions
        others = tower_encoding.encode_others(
            model, embedding, tower, examples.sequence, tf.cast(is_real, tf.float32)
        )
        query = tf.gather(others, positions)
    else:
        window = positions[:, tf.newaxis] + tf.range(-model.history_length, 0)[tf.newaxis, :]
        history = tf.gather(examples.sequence, tf.maximum(window, 0))
        mask = tf.cast(window >= 0, tf.float32)
        query = tower_encoding.encode_histories(model, embedding, tower, history, mask)
    if examples.user_features is None or not model.user_feature_buckets:
        return query
    return query + side_features.embed_users(model, tower, examples.user_features)


def compute_loss(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    query: tf.Tensor,
    mask: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of predicting the items at some positions.

    Args:
      model: The model's shape.
      work: Settings of client work, which name the loss.
      weights: The weights, from `add_item_features`.
      examples: Examples of the client.
      positions: int32 [batch], the positions of the items to predict.
      query: float32 [batch, dim], of these positions.
      mask: float32 [batch], 1 for what counts.

    Returns:
      The mean and the sum over what counts, float32 scalars.
    """
    example_loss = mask * _example_losses(model, work, weights, examples, positions, query, mask)
    total = tf.reduce_sum(example_loss)
    return total / tf.maximum(tf.reduce_sum(mask), 1.0), total


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
    loss = work.chosen_loss
    candidates = loss_plugin.find_candidates(loss)
    scored = _score(model, weights, examples, positions, query, mask, candidates)
    return loss_plugin.load(loss)(scored)


def _score(
    model: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    examples: Examples,
    positions: tf.Tensor,
    query: tf.Tensor,
    mask: tf.Tensor,
    candidates: str,
) -> Scored:
    """Scores queries against their positives, and against what the loss has for candidates."""
    positive_index = tf.gather(examples.sequence, positions)
    positives = _gather_candidates(model, weights, positive_index)
    positive_log_q = tf.gather(examples.sequence_log_q, positions)
    if candidates == losses.CATALOGUE:
        items = tower_encoding.encode_candidates(model, weights.tower, weights.items)
        index = tf.range(tf.shape(items.bias)[0])
        positive_log_q = tf.zeros_like(positive_log_q)
        log_q = tf.zeros_like(items.bias)
    elif candidates == losses.BATCH:
        items, index, log_q = positives, positive_index, positive_log_q
    else:
        items, index = _gather_candidates(model, weights, examples.negatives), examples.negatives
        log_q = examples.negatives_log_q
    shape = model.temperature, model.similarity
    return Scored(
        positive_logits=two_tower.pair_logits(query, positives, *shape),
        candidate_logits=two_tower.all_logits(query, items, *shape),
        positive_index=positive_index,
        candidate_index=index,
        positive_log_q=positive_log_q,
        candidate_log_q=log_q,
        positive_embedding=positives.embedding,
        candidate_embedding=items.embedding,
        mask=mask,
        num_items=examples.num_items,
    )


def _gather_candidates(
    model: TwoTowerConfig, weights: two_tower.TwoTowerWeights, index: tf.Tensor
) -> two_tower.ItemRows:
    """What queries are scored against, of the items at these rows of the table."""
    items = two_tower.gather_items(weights.items, index)
    return tower_encoding.encode_candidates(model, weights.tower, items)
