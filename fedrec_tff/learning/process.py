"""Federated averaging of a two-tower model as a `tff.learning.templates.LearningProcess`.

`tff.learning.templates.compose_learning_process` insists on clients that are `tf.data` sequences.
This composes the same parts over clients that are tensors, with the same state type.
"""

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import client_memory as client_memory_lib
from fedrec_tff.learning import client_work, initial_weights, scheduled_finalizer
from fedrec_tff.models.config import TwoTowerConfig

ModelWeights = tff.learning.models.ModelWeights
LearningAlgorithmState = tff.learning.templates.LearningAlgorithmState


def build_learning_process(
    model: TwoTowerConfig,
    num_items: int,
    client_update_fn: client_work.ClientUpdateFn,
    aggregation_factory: (
        tff.aggregators.UnweightedAggregationFactory | tff.aggregators.WeightedAggregationFactory
    ),
    server_optimizer: tff.learning.optimizers.Optimizer,
    seed: int,
    client_data_type: tff.Type = client_work.CLIENT_DATA_TYPE,
    sums_client_metrics: bool = True,
    initial_item_bias: np.ndarray | None = None,
    initial_item_embedding: np.ndarray | None = None,
    replaces_non_finite: bool = True,
    client_memory: client_memory_lib.ClientMemory | None = None,
    server_learning_rates: np.ndarray | None = None,
) -> tff.learning.templates.LearningProcess:
    """Composes broadcast, client work, aggregation and the server's step.

    Args:
      model: The model's shape.
      num_items: Rows of the item table.
      client_update_fn: From `client_work.build_dense_client_update` or its row-sparse sibling.
      aggregation_factory: Takes the clients' updates; gets what clients count by
        `ClientWorkConfig.weighting` if it is weighted. Its result must have the structure of the
        model's trainable weights.
      server_optimizer: Applies the aggregate, as if it were a gradient (Reddi et al. 2021).
      seed: Of the initial weights.
      client_data_type: The type of one client, as `client_update_fn` takes it.
      sums_client_metrics: Whether clients send their `ClientMetrics`; otherwise they send zeros:
        where the guarantee holds against the server, it must not get exact sums.
      initial_item_bias: float32 [num_items], what item biases start from; None for zeros.
      initial_item_embedding: float32 [num_items, embedding_dim], what item embeddings start from;
        None for random numbers.
      replaces_non_finite: Whether updates that are not finite become zeros before they are
        aggregated; an aggregator that leaves them out by itself wants to see them.
      client_memory: What the server keeps for client work from round to round, as the state's
        `client_work`; `client_update_fn` then takes it between the model and the client.
      server_learning_rates: float32 [rounds], the server's in each round; None for the optimizer's.

    Returns:
      A process whose `next` takes the state and a list of clients of that type, and whose
      metrics have the fields `client_work` (sums of `ClientMetrics`), `aggregator`, `finalizer`.
    """
    initial_weights_fn = initial_weights.build_initial_weights(
        model, num_items, seed, initial_item_bias, initial_item_embedding
    )
    weights_type = initial_weights_fn.type_signature.result

    @tff.tensorflow.computation(weights_type)
    def create_memory(weights):
        return client_memory_lib.create_initial_state(client_memory, weights.trainable)

    memory_type = create_memory.type_signature.result

    @tff.tensorflow.computation(weights_type, memory_type, client_data_type)
    def client_update(weights, memory, client):
        known = () if client_memory is None else (memory,)
        sent = client_update_fn(weights.trainable, *known, client)
        report = () if client_memory is None else client_memory.report(client, sent)
        sent = client_work.reject_non_finite(sent, replaces_non_finite)
        if not sums_client_metrics:
            sent = sent._replace(metrics=tf.nest.map_structure(tf.zeros_like, sent.metrics))
        return sent, report

    result_type, report_type = client_update.type_signature.result
    remember = client_memory_lib.build_remember(
        client_memory, memory_type, report_type, weights_type, num_items
    )
    is_weighted = isinstance(aggregation_factory, tff.aggregators.WeightedAggregationFactory)
    if is_weighted:
        aggregator = aggregation_factory.create(result_type.update, result_type.weight)
    else:
        aggregator = aggregation_factory.create(result_type.update)
    finalizer = scheduled_finalizer.build_finalizer(
        server_optimizer, weights_type, server_learning_rates
    )

    @tff.federated_computation
    def initialize_fn():
        weights = tff.federated_eval(initial_weights_fn, tff.SERVER)
        empty = tff.federated_value((), tff.SERVER)
        memory = tff.federated_map(create_memory, weights)
        state = LearningAlgorithmState(
            weights, empty, memory, aggregator.initialize(), finalizer.initialize()
        )
        return tff.federated_zip(state)

    state_type = initialize_fn.type_signature.result

    @tff.federated_computation(state_type, tff.FederatedType(client_data_type, tff.CLIENTS))
    def next_fn(state, clients):
        broadcast = tff.federated_broadcast(state.global_model_weights)
        memory = tff.federated_broadcast(state.client_work)
        sent, report = tff.federated_map(client_update, (broadcast, memory, clients))
        inputs = (sent.update, sent.weight) if is_weighted else (sent.update,)
        aggregate = aggregator.next(state.aggregator, *inputs)
        finalized = finalizer.next(state.finalizer, state.global_model_weights, aggregate.result)
        memory = remember(state.client_work, report, state.global_model_weights, finalized.result)
        new_state = LearningAlgorithmState(
            finalized.result, state.distributor, memory, aggregate.state, finalized.state
        )
        metrics = collections.OrderedDict(
            client_work=tff.federated_sum(sent.metrics),
            aggregator=aggregate.measurements,
            finalizer=finalized.measurements,
        )
        return tff.learning.templates.LearningProcessOutput(
            tff.federated_zip(new_state), tff.federated_zip(metrics)
        )

    return tff.learning.templates.LearningProcess(
        initialize_fn,
        next_fn,
        _build_get_model_weights(state_type.member),
        _build_set_model_weights(state_type.member),
    )


def _build_get_model_weights(state_type: tff.Type) -> tff.Computation:
    @tff.tensorflow.computation(state_type)
    def get_model_weights(state: Any) -> Any:
        return state.global_model_weights

    return get_model_weights


def _build_set_model_weights(state_type: tff.Type) -> tff.Computation:
    @tff.tensorflow.computation(state_type, state_type.global_model_weights)
    def set_model_weights(state: Any, weights: Any) -> Any:
        return LearningAlgorithmState(
            tf.nest.map_structure(tf.identity, weights),
            state.distributor,
            state.client_work,
            state.aggregator,
            state.finalizer,
        )

    return set_model_weights
