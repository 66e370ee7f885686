"""The personal part of a model: weights that a device fits to its user, and never sends.

Federated reconstruction (Singhal et al. 2021, "Federated reconstruction: partially local federated
learning", arXiv 2102.03448, algorithm 1): in each round a client fits the personal part to some of
its examples, the *support*, with the global part fixed; then it trains the global part on the
others, the *queries*, with the personal part fixed. Only the global part's update is sent.

The support are the oldest of the user's examples, so that the personal part never knows what the
global part is asked for. At least one example is a query: a user with a single one has no support,
keeps a personal part of zeros, and still gives the global part a gradient.
"""

import functools

import tensorflow as tf

from fedrec_tff.learning import local_training, personal_config
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.learning.personal_config import PersonalConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig


def adapt(tower: str, query: tf.Tensor, personal: tf.Tensor) -> tf.Tensor:
    """Applies the personal part to a user's queries; zeros leave them as they are.

    Args:
      tower: `EMBEDDING`, a vector that is added, or `SCALE_AND_SHIFT`, q * (1 + s) + p (Perez et
        al. 2018, "FiLM: visual reasoning with a general conditioning layer", arXiv 1709.07871).
      query: float32 [batch, dim].
      personal: float32 [dim], or [2 * dim] for `s` and then `p`.

    Returns:
      float32 [batch, dim].
    """
    if tower == personal_config.EMBEDDING:
        return query + personal
    scale, shift = tf.split(personal, 2)
    return query * (1.0 + scale) + shift


def create_initial_state(config: PersonalConfig, embedding_dim: int) -> tf.Tensor:
    """A personal part that changes nothing: float32, zeros."""
    return tf.zeros([config.num_weights(embedding_dim)])


def prepare(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: local_training.Examples,
    stored: tf.Tensor | tuple[()] = (),
) -> tuple[local_training.Examples, local_training.AdaptFn]:
    """What the global part is trained on in a round, and the personal part that it meets.

    Args:
      model: The model's shape.
      work: Settings of client work; without a personal part nothing changes.
      weights: The global part, with the item table that the examples point into.
      examples: All examples of the client.
      stored: float32, the personal part that the device has fitted for this round; () to do so
        here, from zeros.

    Returns:
      The queries, and what applies the personal part.
    """
    config = work.personal
    if config is None:
        return examples, tf.identity
    personal = stored
    if isinstance(stored, tuple):
        initial = create_initial_state(config, model.embedding_dim)
        support = take_support(config, examples)
        personal = reconstruct(model, work, weights, support, initial)
    return take_queries(config, examples), build_adapt_fn(config, personal)


def build_adapt_fn(config: PersonalConfig, personal: tf.Tensor) -> local_training.AdaptFn:
    """`adapt` with a given personal part."""
    return functools.partial(adapt, config.tower, personal=personal)


def take_support(
    config: PersonalConfig, examples: local_training.Examples
) -> local_training.Examples:
    """The examples that the personal part is fitted to in a round."""
    end = examples.first + _count_support(config, examples)
    return examples._replace(num_interactions=end)


def take_queries(
    config: PersonalConfig, examples: local_training.Examples
) -> local_training.Examples:
    """The examples that the global part is trained on in a round."""
    return examples._replace(first=examples.first + _count_support(config, examples))


def reconstruct(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    weights: two_tower.TwoTowerWeights,
    examples: local_training.Examples,
    initial: tf.Tensor,
) -> tf.Tensor:
    """Fits the personal part to examples by gradient descent, the global part fixed.

    Each step takes all examples at once. Queries of the global part do not change meanwhile, so
    they are encoded once, and without dropout.

    Args:
      model: The model's shape.
      work: Settings of client work, with the loss and the personal part's configuration.
      weights: The global part, with the item table that the examples point into.
      examples: Examples to fit to; without any, the personal part stays as it is.
      initial: float32, the personal part to start from.

    Returns:
      float32, of the same shape.
    """
    config = work.personal
    positions = tf.range(tf.shape(examples.sequence)[0])
    is_example = (positions >= examples.first) & (positions < examples.num_interactions)
    mask = tf.cast(is_example, tf.float32)
    known = local_training.add_item_features(model, weights, examples)
    query = local_training.encode(model, known, examples, positions, None)

    def step_fn(step, personal):
        with tf.GradientTape() as tape:
            tape.watch(personal)
            adapted = adapt(config.tower, query, personal)
            loss, _ = local_training.compute_loss(
                model, work, known, examples, positions, adapted, mask
            )
        gradient = tape.gradient(loss, personal)
        return step + 1, personal - config.reconstruction_learning_rate * gradient

    _, personal = tf.while_loop(
        lambda step, _: step < config.reconstruction_steps, step_fn, (tf.constant(0), initial)
    )
    return personal


def _count_support(config: PersonalConfig, examples: local_training.Examples) -> tf.Tensor:
    """int32 scalar. Where there is nothing to fit, no example is spent on it."""
    if not config.reconstruction_steps:
        return tf.constant(0)
    num_examples = examples.num_examples
    share = tf.cast(config.support_fraction * tf.cast(num_examples, tf.float32), tf.int32)
    return tf.maximum(tf.minimum(share, num_examples - 1), 0)
