"""Ranking metrics of a two-tower model under user-level differential privacy.

Each user ranks their own held-out item among the whole catalogue, as `evaluation.ranking` does: the
items of the user's history are no candidates, and ties are pessimistic. What leaves is the noised
sum, over all users with a held-out item, of (1, metrics).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import splits
from fedrec_tff.execution import stacking
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import queries, releases

PREFIX = "private/"
# Keeps this release's insecure noise apart from the other streams of a seed.
_INSECURE_NOISE_STREAM = 0xE7A1_5EED
# Histories of so many users are looked at together.
_ROWS_PER_CHECK = 2**13


class EvaluationClient(NamedTuple):
    """One user with a held-out item.

    Attributes:
      history: int32 [padded_length], oldest first, padded at the end: what may be shown to the
        model, all of it excluded from the ranking.
      num_history: int32 scalar, how many of them are real.
      target_index: int32 scalar, the held-out item.
    """

    history: tf.Tensor
    num_history: tf.Tensor
    target_index: tf.Tensor


EVALUATION_CLIENT_TYPE = tff.to_type(
    EvaluationClient(
        history=tff.TensorType(np.int32, [None]),
        num_history=tff.TensorType(np.int32),
        target_index=tff.TensorType(np.int32),
    )
)


def stack(evaluation_set: splits.EvaluationSet) -> stacking.StackedCohort:
    """Makes one cohort of all users of an evaluation set.

    The set must come from a split that `releases.check_evaluation_split` accepts.

    Args:
      evaluation_set: One row per user, with one target each.

    Returns:
      A cohort of `EvaluationClient`.

    Raises:
      UserError: If a row has not exactly one target.
      ValueError: If a user has several rows, or a target is in its row's history.
    """
    histories, targets = evaluation_set.history, evaluation_set.targets
    if (targets.lengths != 1).any():
        raise errors.UserError(
            "a private evaluation needs one target for each user, and this split has users with "
            "more or fewer: choose --split=leave_last_out or --split=unseen_users"
        )
    if len(np.unique(evaluation_set.user_index)) != evaluation_set.num_rows:
        raise ValueError("a user has several rows in the evaluation set")
    for start in range(0, histories.num_rows, _ROWS_PER_CHECK):
        rows = np.arange(start, min(start + _ROWS_PER_CHECK, histories.num_rows))
        shown = histories.take(rows)
        if (shown.items == targets.items[rows][shown.row_index]).any():
            raise ValueError("a target of the evaluation set is in its own row's history")
    parts = []
    for bucket in clients_lib.stack_clients(histories).buckets:
        # A block of clients is padded when its turn comes.
        items = stacking.StoredRows(bucket.item_index, np.arange(bucket.num_clients))
        data = EvaluationClient(items, bucket.num_interactions, targets.items[bucket.client_row])
        parts.append(stacking.StackedClients(data, bucket.client_row))
    return stacking.StackedCohort(tuple(parts))


def build_private_evaluation(
    model: TwoTowerConfig,
    num_items: int,
    release: releases.EvaluationRelease,
    insecure_noise_seed: int | None = None,
) -> tff.Computation:
    """Builds the release.

    Whatever the data and the weights, a user's contribution is a vector with entries in [0, 1]: of
    zeros if the target is no item. A score that is not a number counts as higher than the target's.
    Every invocation is a release of its own and costs `release.event`.

    Args:
      model: The model's shape.
      num_items: Rows of the item table.
      release: Release with the names of the metrics, and the noise.
      insecure_noise_seed: Seed for the noise, only in tests: the noise is then the same each time,
        and protects nobody; None for secret noise.

    Returns:
      A computation from the model's `TwoTowerWeights` and the clients' `EvaluationClient` to noised
      sums, float32 [1 + metrics]: of users, and of `release.metric_names`.
    """
    seed = None if insecure_noise_seed is None else insecure_noise_seed ^ _INSECURE_NOISE_STREAM
    query = queries.GaussianSumQuery(release.sensitivity, release.noise_stddev, seed)

    @tff.tensorflow.computation
    def create_weights():
        return two_tower.create_initial_weights(model, num_items, seed=0)

    weights_type = create_weights.type_signature.result

    @tff.tensorflow.computation(weights_type, EVALUATION_CLIENT_TYPE)
    def evaluate_client(weights, client):
        position = _find_position(model, num_items, weights, client)
        is_valid = tf.cast(_is_item(client.target_index, num_items), tf.float32)
        return is_valid * _create_contribution(position, release.ks)

    process = tff.aggregators.DifferentiallyPrivateFactory(query).create(
        evaluate_client.type_signature.result
    )

    @tff.federated_computation(
        tff.FederatedType(weights_type, tff.SERVER),
        tff.FederatedType(EVALUATION_CLIENT_TYPE, tff.CLIENTS),
    )
    def release_metrics(weights, clients):
        broadcast = tff.federated_broadcast(weights)
        contributions = tff.federated_map(evaluate_client, (broadcast, clients))
        return process.next(process.initialize(), contributions).result

    return release_metrics


def summarise(sums: np.ndarray, release: releases.EvaluationRelease) -> dict[str, float]:
    """Turns noised sums into metrics with confidence intervals; costs no more privacy.

    Args:
      sums: float [1 + metrics], what `build_private_evaluation` released.
      release: Release, the same as in `build_private_evaluation`.

    Returns:
      Numbers by name, each name beginning with `private/`: every metric, and with `_low` and
      `_high` after its name the ends of its 95 % confidence interval, in which are both the noise
      and that the users are a sample (see `releases.estimate_mean`; each interval is for its metric
      alone); and `num_users`, the noised number of users.

    Raises:
      ValueError: If there are more or fewer sums than the release has.
    """
    count, *totals = np.asarray(sums, np.float64).tolist()
    summary = {f"{PREFIX}num_users": count}
    for name, total in zip(release.metric_names, totals, strict=True):
        estimate = releases.estimate_mean(total, count, release.noise_stddev)
        summary[f"{PREFIX}{name}"] = estimate.value
        summary[f"{PREFIX}{name}_low"] = estimate.low
        summary[f"{PREFIX}{name}_high"] = estimate.high
    return summary


def _is_item(index: tf.Tensor, num_items: int) -> tf.Tensor:
    return tf.logical_and(index >= 0, index < num_items)


def _find_position(
    model: TwoTowerConfig,
    num_items: int,
    weights: two_tower.TwoTowerWeights,
    client: EvaluationClient,
) -> tf.Tensor:
    """How many candidates come before the target: int32 scalar."""
    length = tf.shape(client.history)[0]
    num_history = tf.clip_by_value(client.num_history, 0, length)
    is_history = tf.logical_and(tf.range(length) < num_history, _is_item(client.history, num_items))
    target = tf.clip_by_value(client.target_index, 0, num_items - 1)

    first = tf.maximum(num_history - model.history_length, 0)
    window = tf.minimum(first + tf.range(model.history_length), tf.maximum(length - 1, 0))
    mask = tf.logical_and(
        tf.range(model.history_length) < num_history, tf.gather(is_history, window)
    )
    shown = tf.where(mask, tf.gather(client.history, window), 0)
    query = tower_encoding.encode_histories(
        model,
        weights.items.embedding,
        weights.tower,
        shown[tf.newaxis],
        tf.cast(mask, tf.float32)[tf.newaxis],
    )
    candidates = tower_encoding.encode_candidates(model, weights.tower, weights.items)
    scores = two_tower.all_logits(query, candidates, model.temperature, model.similarity)[0]

    # One more place than there are items takes what is no item.
    place = tf.where(is_history, client.history, num_items)
    occurrences = tf.scatter_nd(place[:, tf.newaxis], tf.ones_like(place), [num_items + 1])
    is_candidate = tf.logical_and(
        tf.equal(occurrences[:num_items], 0), tf.not_equal(tf.range(num_items), target)
    )
    # Not "at least as high": what is not a number must not make the target look good.
    is_ahead = tf.logical_not(scores < tf.gather(scores, target))
    return tf.reduce_sum(tf.cast(tf.logical_and(is_candidate, is_ahead), tf.int32))


def _create_contribution(position: tf.Tensor, ks: tuple[int, ...]) -> tf.Tensor:
    """One, and the metrics of a target at a position in the order of `metric_names`."""
    position = tf.cast(position, tf.float32)
    is_hit = tf.cast(position < tf.constant(ks, tf.float32), tf.float32)
    gain = is_hit * tf.math.log(2.0) / tf.math.log(position + 2.0)
    at_k = tf.reshape(tf.stack([is_hit, gain], axis=1), [-1])
    contribution = tf.concat([[1.0], at_k, [1.0 / (position + 1.0)]], axis=0)
    return tf.clip_by_value(contribution, 0.0, 1.0)
