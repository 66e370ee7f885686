"""What a device makes of its user's history when it is asked for recommendations: a query.

The personal part of the model (`personal_tower`) is fitted to the whole history, every item being
an example; then what comes after the last one is encoded, and adapted. It is all in functions of
tensors, so a simulation of devices and the graph of an exported model do the same.

The negatives that the personal part is fitted against follow from the history and from nothing
else: not from who asks, nor from the run's seed, which under differential privacy is not told. So
the same history has the same query wherever the model is. They are no noise, and protect nobody.
"""

# Tested in tests/learning/on_device/test_local_models.py and tests/serving/test_saved_model.py.

import functools

import tensorflow as tf

from fedrec_tff.learning import client_work, local_training, negative_sampling, personal_tower
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import catalogue as losses

# The first number of the seed of every history's negatives; the second is of the history.
PUBLIC_KEY = 0x5C0BE


def add_seed(client: client_work.ClientData) -> client_work.ClientData:
    """Gives a device the seed of its history, whatever the padding: the items' sum, by place."""
    items = tf.cast(client.item_index, tf.int64)
    # Padding is zero and does not count.
    places = tf.range(1, tf.size(items, out_type=tf.int64) + 1)
    digest = tf.cast(tf.reduce_sum(items * places) % 2**31, tf.int32)
    return client._replace(seed=tf.stack([PUBLIC_KEY, digest]))


def find_first(model: TwoTowerConfig, length: tf.Tensor) -> tf.Tensor:
    """The first position that is an example: int32 scalar.

    Args:
      model: The model's shape.
      length: int32 scalar, how many items the history had before it was cut to what is read.

    Returns:
      0; but 1 where a causal tower would have to know what came before it, which was cut off.
    """
    is_cut = tf.greater(length, model.history_length) if model.is_causal else tf.constant(False)
    return tf.cast(is_cut, tf.int32)


def fit(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: local_training.Examples,
    initial: tf.Tensor | tuple[()],
) -> local_training.AdaptFn:
    """Fits the personal part to all examples.

    Args:
      model: The model's shape.
      work: Settings of client work; without a personal part nothing is fitted.
      weights: The global part, with the item table that the examples point into.
      examples: Examples of the history.
      initial: float32, the personal part to start from; () without one.

    Returns:
      What applies the personal part to queries.
    """
    if work.personal is None:
        return tf.identity
    personal = personal_tower.reconstruct(model, work, weights, examples, initial)
    return personal_tower.build_adapt_fn(work.personal, personal)


def encode_next(
    model: TwoTowerConfig,
    weights: two_tower.TwoTowerWeights,
    examples: local_training.Examples,
    adapt_fn: local_training.AdaptFn,
) -> tf.Tensor:
    """Encodes the position after the last item: float32 [1, dim].

    Args:
      model: The model's shape.
      weights: The weights, from `local_training.add_item_features`.
      examples: Examples of the history, with at least one cell of padding.
      adapt_fn: The personal part of the model.

    Returns:
      The query.
    """
    after_last = examples.num_interactions[tf.newaxis]
    return adapt_fn(local_training.encode(model, weights, examples, after_last, None))


def encode_histories(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
    gather_fn: client_work.GatherFn,
    tower: tuple[tf.Tensor, ...],
    histories: tf.RaggedTensor,
) -> tf.Tensor:
    """Encodes histories as their users' devices would, each by itself, from zeros.

    Args:
      model: The model's shape, without features.
      work: Settings of client work, with the personal part's configuration.
      sampler: Sampler of negatives.
      gather_fn: Function that reads rows of the item table.
      tower: The query tower's weights.
      histories: int32 [batch, (length)], whole, oldest first.

    Returns:
      float32 [batch, dim].
    """
    create_table_fn = functools.partial(client_work.create_local_table, sampler, gather_fn, tower)
    if work.loss_candidates == losses.CATALOGUE:
        # Read once, for all histories.
        weights = two_tower.TwoTowerWeights(gather_fn(tf.range(sampler.num_items)), tower)
        create_table_fn = functools.partial(client_work.take_whole_table, sampler, weights)

    def encode(history: tf.Tensor) -> tf.Tensor:
        client = add_seed(_create_client(model, work, history))
        table = create_table_fn(client, find_first(model, tf.size(history)))
        weights, examples = table.weights, table.examples
        adapt_fn = fit(model, work, weights, examples, client.personal)
        return encode_next(model, weights, examples, adapt_fn)[0]

    signature = tf.TensorSpec([model.embedding_dim], tf.float32)
    return tf.map_fn(encode, histories, fn_output_signature=signature)


def _create_client(
    model: TwoTowerConfig, work: ClientWorkConfig, history: tf.Tensor
) -> client_work.ClientData:
    """A device with this history, without a seed, cut to what its tower takes in one step."""
    newest = history[-model.history_length :] if model.takes_one_step else history
    count = tf.size(newest)
    # One more cell: the query is that of the position after the last item.
    width = (model.history_length if model.takes_one_step else count) + 1
    padded = tf.pad(newest, [[0, width - count]])
    if model.takes_one_step:
        padded = tf.ensure_shape(padded, [width])
    initial = personal_tower.create_initial_state(work.personal, model.embedding_dim)
    return client_work.ClientData(padded, count, (), personal=initial)
