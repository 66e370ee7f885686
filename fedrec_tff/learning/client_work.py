"""What one client does in one round: local training, and the update that it sends.

Federated averaging's client work (McMahan et al. 2017, arXiv 1602.05629, algorithm 1,
`ClientUpdate`), over a padded tensor instead of a `tf.data` sequence, which XLA cannot compile.
"""

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import local_rows, local_training, negative_sampling, optimizers
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NEGATIVES_STREAM = 0
_WINDOW_STREAM = 2


class ClientData(NamedTuple):
    """One user, as a client of the federated computation.

    Attributes:
      item_index: int32 [padded_length], oldest first, padded at the end.
      num_interactions: int32 scalar, how many of them are real.
      seed: int32 [2], of the client's own randomness in this round (negatives, shuffling).
      user_features: int32 [slots], which rows of the table of user features are the user's, padded
        with -1; () where the model reads none.
      personal: float32 [size], the personal part of the model as the device keeps it from round to
        round; () where there is none, or where it is made anew in each round.
    """

    item_index: tf.Tensor
    num_interactions: tf.Tensor
    seed: tf.Tensor
    user_features: tf.Tensor | tuple[()] = ()
    personal: tf.Tensor | tuple[()] = ()


def create_client_data_type(num_user_features: int = 0, personal_size: int = 0) -> tff.Type:
    """The type of one client.

    Args:
      num_user_features: How many slots for features a user has.
      personal_size: How many weights the device keeps from round to round.

    Returns:
      The type of a `ClientData`.
    """
    return tff.to_type(
        ClientData(
            item_index=tff.TensorType(np.int32, [None]),
            num_interactions=tff.TensorType(np.int32),
            seed=tff.TensorType(np.int32, [2]),
            user_features=_vector_type(np.int32, num_user_features),
            personal=_vector_type(np.float32, personal_size),
        )
    )


def _vector_type(dtype: type, size: int) -> tff.Type:
    return tff.TensorType(dtype, [size]) if size else tff.StructType([])


CLIENT_DATA_TYPE = create_client_data_type()


class ClientMetrics(NamedTuple):
    """Sums over one client's round; exact, hence not private.

    Attributes:
      loss_sum: float32, over the examples of all local epochs.
      num_examples: float32, over all local epochs.
      num_clients: float32, one.
      num_rejected_clients: float32, one if the update's norm was not finite and zero was sent.
      upload_bytes: float32, the size of the update without padding.
    """

    loss_sum: tf.Tensor
    num_examples: tf.Tensor
    num_clients: tf.Tensor
    num_rejected_clients: tf.Tensor
    upload_bytes: tf.Tensor


class ClientResult(NamedTuple):
    """What a client sends.

    Attributes:
      update: Initial minus final weights, as `TwoTowerWeights` or as `RowSparse` of them.
      weight: float32 scalar, the number of the user's examples; zero for a rejected update.
      metrics: The client's `ClientMetrics`.
    """

    update: two_tower.TwoTowerWeights | row_sparse.RowSparse
    weight: tf.Tensor
    metrics: ClientMetrics


class ClientUpdateFn(Protocol):
    """Client work as a function of the global weights and one client's data."""

    def __call__(self, weights: two_tower.TwoTowerWeights, client: ClientData) -> ClientResult:
        """Trains on the client and returns what it sends."""


def build_dense_client_update(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
) -> ClientUpdateFn:
    """Client work over the whole item table; the update is as large as the model.

    Args:
      model: The model's shape.
      work: How to train.
      sampler: Where negatives come from.

    Returns:
      A function whose result's `update` is a `TwoTowerWeights`.
    """
    optimizer = optimizers.create_optimizer(work.optimizer)

    def client_update(weights: two_tower.TwoTowerWeights, client: ClientData) -> ClientResult:
        client, first = _take_window(model, client)
        negatives = sampler.sample(local_training.fold(client.seed, _NEGATIVES_STREAM))
        examples = _create_examples(client, first, negatives, client.item_index, negatives, sampler)
        trained, loss_sum, num_examples = local_training.train(
            model, work, optimizer, weights, examples, client.seed
        )
        update = tf.nest.map_structure(tf.subtract, weights, trained)
        return _create_result(update, examples, loss_sum, num_examples, _num_bytes(update))

    return client_update


def build_row_sparse_client_update(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
) -> ClientUpdateFn:
    """Client work over the rows that the client touches: the same update, in sparse form.

    The cost does not depend on the catalogue. `work.optimizer` must keep no state per weight
    (plain SGD): TFF's optimisers initialise theirs for static shapes. The loss must not need the
    whole table.

    Args:
      model: The model's shape.
      work: How to train.
      sampler: Where negatives come from.

    Returns:
      A function whose result's `update` is a `RowSparse` of `TwoTowerWeights`.
    """
    optimizer = optimizers.create_optimizer(work.optimizer)

    def client_update(weights: two_tower.TwoTowerWeights, client: ClientData) -> ClientResult:
        client, first = _take_window(model, client)
        negatives = sampler.sample(local_training.fold(client.seed, _NEGATIVES_STREAM))
        length = tf.shape(client.item_index)[0]
        valid = tf.concat(
            [tf.range(length) < client.num_interactions, tf.fill([sampler.num_negatives], True)], 0
        )
        rows = local_rows.build_local_rows(tf.concat([client.item_index, negatives], 0), valid)
        local_weights = two_tower.TwoTowerWeights(
            two_tower.gather_items(weights.items, rows.ids), weights.tower
        )
        examples = _create_examples(
            client, first, negatives, rows.index[:length], rows.index[length:], sampler
        )
        trained, loss_sum, num_examples = local_training.train(
            model, work, optimizer, local_weights, examples, client.seed
        )
        delta = tf.nest.map_structure(tf.subtract, local_weights, trained)
        used = tf.cast(rows.used, tf.float32)
        delta = two_tower.TwoTowerWeights(
            two_tower.ItemRows(
                delta.items.embedding * used[:, tf.newaxis], delta.items.bias * used
            ),
            delta.tower,
        )
        row_bytes = 4 * (model.embedding_dim + 2)
        upload_bytes = row_bytes * tf.reduce_sum(used) + _num_bytes(delta.tower)
        update = row_sparse.RowSparse(rows.ids, delta)
        return _create_result(update, examples, loss_sum, num_examples, upload_bytes)

    return client_update


def reject_non_finite(result: ClientResult, replaces_update: bool = True) -> ClientResult:
    """Replaces an update without a finite norm by zero, with weight zero; `ids` are left as is.

    Finite values are not enough: where their norm overflows, clipping makes NaN of them all. The
    learning process does this to whatever clients send, so that no client can spoil a round by it.

    Args:
      result: What a client sends.
      replaces_update: Whether the update itself is replaced; if not, its weight alone is.

    Returns:
      The same, or nothing, counted as rejected.
    """
    floats = [t for t in tf.nest.flatten(result.update) if t.dtype.is_floating]
    finite = tf.math.is_finite(tf.linalg.global_norm(floats))
    finite &= tf.math.is_finite(result.weight)
    update = result.update
    if replaces_update:
        update = tf.nest.map_structure(
            lambda t: tf.where(finite, t, tf.zeros_like(t)) if t.dtype.is_floating else t, update
        )
    accepted = tf.cast(finite, tf.float32)
    metrics = result.metrics._replace(
        loss_sum=tf.where(finite, result.metrics.loss_sum, 0.0),
        num_examples=tf.where(finite, result.metrics.num_examples, 0.0),
        num_rejected_clients=1.0 - accepted,
    )
    return ClientResult(update, tf.where(finite, result.weight, 0.0), metrics)


def _num_bytes(tensors: object) -> tf.Tensor:
    return tf.cast(4 * sum(tf.size(t) for t in tf.nest.flatten(tensors)), tf.float32)


def _take_window(model: TwoTowerConfig, client: ClientData) -> tuple[ClientData, tf.Tensor]:
    """Cuts a stretch out of a sequence that is longer than a causal tower reads, at random.

    Returns:
      The client with at most `history_length + 1` items, and the first position that is an example.
    """
    longest = model.history_length + 1
    if not model.is_causal:
        return client, tf.constant(0)
    length = tf.minimum(tf.shape(client.item_index)[0], longest)
    num_starts = tf.maximum(client.num_interactions - length, 0) + 1
    stream = local_training.fold(client.seed, _WINDOW_STREAM)
    start = tf.random.stateless_uniform([], stream, 0, num_starts, tf.int32, alg="philox")
    window = client._replace(
        item_index=tf.gather(client.item_index, start + tf.range(length)),
        num_interactions=tf.minimum(client.num_interactions, length),
    )
    return window, tf.cast(tf.greater(start, 0), tf.int32)


def _create_examples(
    client: ClientData,
    first: tf.Tensor,
    negatives: tf.Tensor,
    sequence_index: tf.Tensor,
    negatives_index: tf.Tensor,
    sampler: negative_sampling.NegativeSampler,
) -> local_training.Examples:
    return local_training.Examples(
        sequence=sequence_index,
        negatives=negatives_index,
        sequence_log_q=sampler.log_q(client.item_index),
        negatives_log_q=sampler.log_q(negatives),
        num_interactions=client.num_interactions,
        first=first,
        num_items=sampler.num_items,
    )


def _create_result(
    update: two_tower.TwoTowerWeights | row_sparse.RowSparse,
    examples: local_training.Examples,
    loss_sum: tf.Tensor,
    num_examples: tf.Tensor,
    upload_bytes: tf.Tensor,
) -> ClientResult:
    metrics = ClientMetrics(
        loss_sum=loss_sum,
        num_examples=num_examples,
        num_clients=tf.ones([]),
        num_rejected_clients=tf.zeros([]),
        upload_bytes=upload_bytes,
    )
    return ClientResult(update, tf.cast(examples.num_examples, tf.float32), metrics)
