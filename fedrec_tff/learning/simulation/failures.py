"""Honest failures that show in client work: stragglers, and clients with an old model.

Clients that are away (`failure_config.ABSENCES`) never come to client work: the server gets nothing
of them, whether they left before or after training, and so they are left out of the cohort.
"""

from typing import Any

import tensorflow as tf

from fedrec_tff.learning import client_memory, client_work
from fedrec_tff.learning.simulation import failure_config, past_models
from fedrec_tff.models import two_tower

_STRAGGLER_STREAM = 0x57A6
# As many as float32 tells apart below one.
_UNIFORM_STEPS = 2**24


def create_memory(
    failure: failure_config.FailureConfig,
) -> client_memory.ClientMemory:
    """The models that clients may still have, where not all have the newest."""
    if failure.name == failure_config.STALE:
        return past_models.PastModels(failure.staleness)
    return client_memory.NO_MEMORY


def limit_data(
    failure: failure_config.FailureConfig, client: client_work.ClientData, has_failed: tf.Tensor
) -> client_work.ClientData:
    """What a client gets to train on.

    A straggler is cut off after a random number of its examples, uniform from one to all: the
    oldest ones. It sends what it has, with the weight of as many examples.

    Args:
      failure: Settings of the failures.
      client: The client's data.
      has_failed: bool scalar; others train on everything.

    Returns:
      The data.
    """
    if failure.name != failure_config.STRAGGLER:
        return client
    stream = tf.random.experimental.stateless_fold_in(client.seed, _STRAGGLER_STREAM, alg="philox")
    # An integer: XLA makes other floats than TensorFlow's kernels do from the same bits.
    bits = tf.random.stateless_uniform([], stream, 0, _UNIFORM_STEPS, tf.int32, alg="philox")
    share = tf.cast(bits, tf.float32) / _UNIFORM_STEPS
    total = client.num_interactions
    done = tf.minimum(1 + tf.cast(share * tf.cast(total, tf.float32), tf.int32), total)
    return client._replace(num_interactions=tf.where(has_failed, done, total))


def choose_weights(
    failure: failure_config.FailureConfig,
    weights: two_tower.TwoTowerWeights,
    state: Any,
    has_failed: tf.Tensor,
) -> two_tower.TwoTowerWeights:
    """The model that a client trains; its update is the difference from that same model.

    Args:
      failure: Settings of the failures.
      weights: The newest model.
      state: State of the memory of past models; nothing where there is none.
      has_failed: bool scalar; others have the newest model.

    Returns:
      A model; in the first rounds the initial one is the oldest there is.
    """
    if failure.name != failure_config.STALE:
        return weights
    return past_models.choose(weights, state, tf.where(has_failed, failure.staleness, 0))
