"""What one client does in one round: local training, and the update that it sends.

Federated averaging's client work (McMahan et al. 2017, arXiv 1602.05629, algorithm 1,
`ClientUpdate`), over a padded tensor instead of a `tf.data` sequence, which XLA cannot compile.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.datasets import feature_values
from fedrec_tff.learning import guidance as guidance_lib
from fedrec_tff.learning import (
    local_rows,
    local_training,
    negative_sampling,
    personal_tower,
)
from fedrec_tff.learning.algorithms import registry
from fedrec_tff.learning.algorithms.algorithm import Algorithm
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NEGATIVES_STREAM = 0
_WINDOW_STREAM = 2

# From int32 [rows], indices of items, to their rows of the item table.
GatherFn = Callable[[tf.Tensor], two_tower.ItemRows]


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
      edge: int32 scalar, which edge the user belongs to; () where there are none.
    """

    item_index: tf.Tensor
    num_interactions: tf.Tensor
    seed: tf.Tensor
    user_features: tf.Tensor | tuple[()] = ()
    personal: tf.Tensor | tuple[()] = ()
    edge: tf.Tensor | tuple[()] = ()


def create_client_data_type(
    num_user_features: int = 0, personal_size: int = 0, has_edge: bool = False
) -> tff.Type:
    """The type of one client.

    Args:
      num_user_features: Number of slots that a user has for features.
      personal_size: Number of weights that the device keeps from round to round.
      has_edge: Whether edges stand between clients and server.

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
            edge=tff.TensorType(np.int32) if has_edge else tff.StructType([]),
        )
    )


def _vector_type(dtype: type, size: int) -> tff.Type:
    return tff.TensorType(dtype, [size]) if size else tff.StructType([])


CLIENT_DATA_TYPE = create_client_data_type()


def create_row_sparse_type(weights_type: tff.Type) -> tff.Type:
    """The type of the updates of `build_row_sparse_client_update`.

    Args:
      weights_type: Type of the model's `tff.learning.models.ModelWeights`.

    Returns:
      The type of a `RowSparse` of the trainable weights.
    """
    specs = tff.types.type_to_tf_tensor_specs(weights_type.trainable)
    rows = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, *spec.shape[1:]], spec.dtype), specs.items
    )
    value = two_tower.TwoTowerWeights(rows, specs.tower)
    return tff.types.tensorflow_to_type(
        row_sparse.RowSparse(tf.TensorSpec([None], tf.int32), value)
    )


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
      weight: float32 scalar, what the client counts by `ClientWorkConfig.weighting`; zero for a
        rejected update.
      metrics: The client's `ClientMetrics`.
      contribution: Further tensors that the algorithm has clients send, of which the server gets
        the mean (MimeLite); () for nothing.
    """

    update: two_tower.TwoTowerWeights | row_sparse.RowSparse
    weight: tf.Tensor
    metrics: ClientMetrics
    contribution: Any = ()


class LocalTable(NamedTuple):
    """What a client trains, and on what.

    Attributes:
      weights: The global model, with the rows of the item table that the client needs.
      examples: The client's, pointing into that table.
      rows: The table's rows in the item table; None for all rows.
    """

    weights: two_tower.TwoTowerWeights
    examples: local_training.Examples
    rows: local_rows.LocalRows | None


class ClientUpdateFn(Protocol):
    """Client work as a function of the global weights, one client, and what clients are told."""

    def __call__(
        self,
        weights: two_tower.TwoTowerWeights,
        client: Any,
        told: Any = guidance_lib.NOTHING,
    ) -> ClientResult:
        """Trains on the client and returns what it sends.

        Args:
          weights: The global model.
          client: A client of the process's type: a `ClientData`, or what wraps one.
          told: The state of the process's client memory: for honest clients a `Guidance`.

        Returns:
          The result that the client sends.
        """


def build_dense_client_update(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
    item_features: feature_values.FeatureValues | None = None,
) -> ClientUpdateFn:
    """Client work over the whole item table; the update is as large as the model.

    Args:
      model: The model's shape.
      work: Settings of client work.
      sampler: Sampler of negatives.
      item_features: Known features of the items; None for nothing.

    Returns:
      A function whose result's `update` is a `TwoTowerWeights`.
    """
    algorithm = registry.create_algorithm(work, model.takes_one_step)

    def client_update(
        weights: two_tower.TwoTowerWeights,
        client: ClientData,
        told: guidance_lib.Guidance = guidance_lib.NOTHING,
    ) -> ClientResult:
        client, first = take_window(model, client)
        table = take_whole_table(sampler, weights, client, first, item_features)
        examples, adapt_fn = personal_tower.prepare(
            model, work, weights, table.examples, client.personal
        )
        update, loss_sum, num_examples = _train(
            model, work, algorithm, weights, examples, client.seed, adapt_fn, told
        )
        contribution = algorithm.contribute(
            lambda: local_training.compute_full_gradient(
                model, work, weights, examples, client.seed, adapt_fn
            )
        )
        upload_bytes = _num_bytes((update, contribution))
        weight = algorithm.weigh(examples.num_examples)
        metrics = _create_metrics(loss_sum, num_examples, upload_bytes)
        return ClientResult(update, weight, metrics, contribution)

    return client_update


def build_row_sparse_client_update(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
    item_features: feature_values.FeatureValues | None = None,
) -> ClientUpdateFn:
    """Client work over the rows that the client touches: the same update, in sparse form.

    The cost does not depend on the catalogue. `work.optimizer` must keep no state per weight
    (plain SGD): TFF's optimisers initialise theirs for static shapes. `work` must not need the
    whole table.

    Args:
      model: The model's shape.
      work: Settings of client work.
      sampler: Sampler of negatives.
      item_features: Known features of the items; None for nothing.

    Returns:
      A function whose result's `update` is a `RowSparse` of `TwoTowerWeights`.
    """
    algorithm = registry.create_algorithm(work, model.takes_one_step)

    def client_update(
        weights: two_tower.TwoTowerWeights,
        client: ClientData,
        told: guidance_lib.Guidance = guidance_lib.NOTHING,
    ) -> ClientResult:
        client, first = take_window(model, client)
        table = gather_local_table(sampler, weights, client, first, item_features)
        local_weights, rows = table.weights, table.rows
        examples, adapt_fn = personal_tower.prepare(
            model, work, local_weights, table.examples, client.personal
        )
        delta, loss_sum, num_examples = _train(
            model, work, algorithm, local_weights, examples, client.seed, adapt_fn, told
        )
        used = tf.cast(rows.used, tf.float32)
        delta = two_tower.TwoTowerWeights(
            two_tower.ItemRows(
                delta.items.embedding * used[:, tf.newaxis], delta.items.bias * used
            ),
            delta.tower,
        )
        row_bytes = 4 * (model.table_width + 2)
        upload_bytes = row_bytes * tf.reduce_sum(used) + _num_bytes(delta.tower)
        weight = algorithm.weigh(examples.num_examples)
        metrics = _create_metrics(loss_sum, num_examples, upload_bytes)
        return ClientResult(row_sparse.RowSparse(rows.ids, delta), weight, metrics)

    return client_update


def _train(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    algorithm: Algorithm,
    weights: two_tower.TwoTowerWeights,
    examples: local_training.Examples,
    seed: tf.Tensor,
    adapt_fn: local_training.AdaptFn,
    told: guidance_lib.Guidance,
) -> tuple[two_tower.TwoTowerWeights, tf.Tensor, tf.Tensor]:
    """Initial minus final weights, the sum of the losses and the number of examples seen."""
    trained, loss_sum, num_examples = local_training.train(
        model, work, algorithm, weights, examples, seed, adapt_fn, told
    )
    update = tf.nest.map_structure(tf.subtract, weights, trained)
    num_steps = local_training.plan_steps(algorithm, examples).total
    update = algorithm.finish(update, num_steps, guidance_lib.find_learning_rate(work, told))
    return update, loss_sum, num_examples


def reject_non_finite(result: ClientResult, replaces_update: bool = True) -> ClientResult:
    """Replaces an update without a finite norm by zero, with weight zero; `ids` are left as is.

    Finite values are not enough: where their norm overflows, clipping makes NaN of them all. The
    learning process does this to whatever clients send, so that no client can spoil a round by it.

    Args:
      result: Result that a client sends.
      replaces_update: Whether the update itself is replaced; if not, its weight alone is.

    Returns:
      The same result, or nothing, counted as rejected.
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


def take_window(model: TwoTowerConfig, client: ClientData) -> tuple[ClientData, tf.Tensor]:
    """Cuts a stretch at random out of a sequence that is longer than a tower takes in one step.

    Args:
      model: The model's shape.
      client: The client, whose seed says which stretch.

    Returns:
      The client with at most `history_length + 1` items, and the first position that is an example.
    """
    longest = model.history_length + 1
    if not model.takes_one_step:
        return client, tf.constant(0)
    length = tf.minimum(tf.shape(client.item_index)[0], longest)
    num_starts = tf.maximum(client.num_interactions - length, 0) + 1
    stream = local_training.fold(client.seed, _WINDOW_STREAM)
    start = tf.random.stateless_uniform([], stream, 0, num_starts, tf.int32, alg="philox")
    window = client._replace(
        item_index=tf.gather(client.item_index, start + tf.range(length)),
        num_interactions=tf.minimum(client.num_interactions, length),
    )
    # What came before the first of these is cut off.
    is_cut = tf.greater(start, 0) if model.is_causal else tf.constant(False)
    return window, tf.cast(is_cut, tf.int32)


def take_whole_table(
    sampler: negative_sampling.NegativeSampler,
    weights: two_tower.TwoTowerWeights,
    client: ClientData,
    first: tf.Tensor,
    item_features: feature_values.FeatureValues | None = None,
) -> LocalTable:
    """A client's examples over the whole item table.

    Args:
      sampler: Sampler of negatives; the client's seed draws them.
      weights: The global model.
      client: The client.
      first: int32 scalar, the first position that is an example.
      item_features: Known features of the items; None for nothing.

    Returns:
      The table, the examples, and None for its rows: all of them.
    """
    negatives = sampler.sample(local_training.fold(client.seed, _NEGATIVES_STREAM))
    examples = _create_examples(client, first, negatives, client.item_index, negatives, sampler)
    return LocalTable(weights, _add_features(examples, client, item_features, None), None)


def gather_local_table(
    sampler: negative_sampling.NegativeSampler,
    weights: two_tower.TwoTowerWeights,
    client: ClientData,
    first: tf.Tensor,
    item_features: feature_values.FeatureValues | None = None,
) -> LocalTable:
    """A client's examples over the rows of the item table that they touch.

    Args:
      sampler: Sampler of negatives; the client's seed draws them.
      weights: The global model.
      client: The client.
      first: int32 scalar, the first position that is an example.
      item_features: Known features of the items; None for nothing.

    Returns:
      The table, the examples, and which rows these are.
    """
    gather_fn = functools.partial(two_tower.gather_items, weights.items)
    return create_local_table(sampler, gather_fn, weights.tower, client, first, item_features)


def create_local_table(
    sampler: negative_sampling.NegativeSampler,
    gather_fn: GatherFn,
    tower: tuple[tf.Tensor, ...],
    client: ClientData,
    first: tf.Tensor,
    item_features: feature_values.FeatureValues | None = None,
) -> LocalTable:
    """As `gather_local_table`, from an item table in any form.

    Args:
      sampler: Sampler of negatives; the client's seed draws them.
      gather_fn: Function that reads rows of the item table.
      tower: The towers' weights.
      client: The client.
      first: int32 scalar, the first position that is an example.
      item_features: Known features of the items; None for nothing.

    Returns:
      The table, the examples, and which rows these are.
    """
    negatives = sampler.sample(local_training.fold(client.seed, _NEGATIVES_STREAM))
    length = tf.shape(client.item_index)[0]
    valid = tf.concat(
        [tf.range(length) < client.num_interactions, tf.fill([sampler.num_negatives], True)], 0
    )
    rows = local_rows.build_local_rows(tf.concat([client.item_index, negatives], 0), valid)
    local_weights = two_tower.TwoTowerWeights(gather_fn(rows.ids), tower)
    examples = _create_examples(
        client, first, negatives, rows.index[:length], rows.index[length:], sampler
    )
    return LocalTable(local_weights, _add_features(examples, client, item_features, rows.ids), rows)


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


def _add_features(
    examples: local_training.Examples,
    client: ClientData,
    item_features: feature_values.FeatureValues | None,
    ids: tf.Tensor | None,
) -> local_training.Examples:
    """Adds what is known of the user, and of the items of the table: all, or those of `ids`."""
    if not isinstance(client.user_features, tuple):
        examples = examples._replace(user_features=client.user_features)
    if item_features is None:
        return examples
    index = tf.constant(item_features.index)
    return examples._replace(
        item_features=index if ids is None else tf.gather(index, ids),
        item_feature_widths=item_features.widths,
    )


def _create_metrics(
    loss_sum: tf.Tensor, num_examples: tf.Tensor, upload_bytes: tf.Tensor
) -> ClientMetrics:
    return ClientMetrics(
        loss_sum=loss_sum,
        num_examples=num_examples,
        num_clients=tf.ones([]),
        num_rejected_clients=tf.zeros([]),
        upload_bytes=upload_bytes,
    )
