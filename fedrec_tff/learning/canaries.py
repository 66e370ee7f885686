"""Canaries: clients that send a fixed random direction instead of training, to audit a run.

They go through the same computation as users: the same broadcast, the same aggregator, the same
server. Only their client work differs (Andrew et al. 2023, arXiv 2302.03098, algorithm 2).
"""

# Tested in tests/studies/audit/test_canary_audit.py.

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import client_work, guidance
from fedrec_tff.models import two_tower

NOT_A_CANARY = -1


class AuditedClient(NamedTuple):
    """A user or a canary.

    Attributes:
      data: The user's data; a canary has some user's, of which only their number counts.
      canary_index: int32 scalar, `NOT_A_CANARY` for a user.
    """

    data: client_work.ClientData
    canary_index: tf.Tensor


AUDITED_CLIENT_TYPE = tff.to_type(
    AuditedClient(client_work.CLIENT_DATA_TYPE, tff.TensorType(np.int32))
)


def build_audited_client_update(
    client_update_fn: client_work.ClientUpdateFn, norm: float, seed: int
) -> client_work.ClientUpdateFn:
    """Wraps client work, so that canaries send their direction.

    Args:
      client_update_fn: Client work of users; its updates must be dense.
      norm: L2 norm of what canaries send.
      seed: Seed for the directions.

    Returns:
      Client work that takes an `AuditedClient`.
    """

    def client_update(
        weights: two_tower.TwoTowerWeights,
        client: AuditedClient,
        told: guidance.Guidance = guidance.NOTHING,
    ) -> client_work.ClientResult:
        def send_direction() -> client_work.ClientResult:
            num_weights = sum(math.prod(w.shape) for w in tf.nest.flatten(weights))
            direction = create_direction(seed, client.canary_index, num_weights)
            update = unflatten(norm * direction, weights)
            return client_work.ClientResult(
                update,
                tf.cast(client.data.num_interactions, tf.float32),
                client_work.ClientMetrics(
                    loss_sum=tf.zeros([]),
                    num_examples=tf.zeros([]),
                    num_clients=tf.ones([]),
                    num_rejected_clients=tf.zeros([]),
                    upload_bytes=tf.constant(4.0 * num_weights),
                ),
            )

        return tf.cond(
            client.canary_index >= 0,
            send_direction,
            lambda: client_update_fn(weights, client.data, told),
        )

    return client_update


def create_direction(seed: int, canary_index: tf.Tensor, num_weights: int) -> tf.Tensor:
    """A canary's direction, uniform on the unit sphere; the same in every context.

    Normal variables by Box and Muller from integers, which are the same everywhere: XLA makes other
    normal variables than TensorFlow's kernels do from the same seed.

    Args:
      seed: Seed of the audit.
      canary_index: int32 scalar, which of the canaries it is.
      num_weights: Number of the model's weights, the dimensions of the direction.

    Returns:
      float32 [num_weights], of norm 1.
    """
    half = (num_weights + 1) // 2
    bits = tf.random.stateless_uniform(
        [2, half], tf.stack([seed, canary_index]), 0, 2**24, tf.int32, alg="philox"
    )
    # In (0, 1): the logarithm is finite.
    uniform = (tf.cast(bits, tf.float32) + 0.5) * 2.0**-24
    radius = tf.sqrt(-2.0 * tf.math.log(uniform[0]))
    angle = 2.0 * math.pi * uniform[1]
    normal = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], 0)[:num_weights]
    return normal / tf.norm(normal)


def unflatten(vector: tf.Tensor, weights: two_tower.TwoTowerWeights) -> two_tower.TwoTowerWeights:
    """Cuts a vector into tensors of the shapes of a model's weights."""
    leaves = tf.nest.flatten(weights)
    parts = tf.split(vector, [math.prod(w.shape) for w in leaves])
    return tf.nest.pack_sequence_as(
        weights, [tf.reshape(part, w.shape) for part, w in zip(parts, leaves, strict=True)]
    )
