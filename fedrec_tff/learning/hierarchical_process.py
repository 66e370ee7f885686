"""Hierarchical federated averaging as a `tff.learning.templates.LearningProcess`.

HierFAVG (Liu et al. 2020, arXiv 1905.06641, algorithm 1): clients train on their edge's model, an
edge's model takes its clients' aggregate in every round, and every `sync_period` rounds the server
combines the edges' models, from which all edges start again.

The server's step is an update against the last global model: the combination of what edges have
moved since is the pseudo-gradient of the server's optimizer (Reddi et al. 2021, arXiv 2003.00295).
With plain SGD of rate 1 and a mean, that assigns the mean of the edges' models, as in the paper.
"""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators.hierarchical import edges
from fedrec_tff.aggregators.hierarchical.config import Hierarchy
from fedrec_tff.learning import client_memory as client_memory_lib
from fedrec_tff.learning import (
    client_work,
    hierarchical_server,
    initial_weights,
    scheduled_finalizer,
)
from fedrec_tff.models.config import TwoTowerConfig

CLIENT_DATA_TYPE = client_work.create_client_data_type(has_edge=True)
LearningAlgorithmState = tff.learning.templates.LearningAlgorithmState
# From a client to its edge, int32.
EdgeFn = Callable[[Any], tf.Tensor]


def get_edge(client: client_work.ClientData) -> tf.Tensor:
    """The edge that a client was told it belongs to."""
    return client.edge


def build_hierarchical_process(
    hierarchy: Hierarchy,
    model: TwoTowerConfig,
    num_items: int,
    client_update_fn: client_work.ClientUpdateFn,
    aggregation_factory: tff.aggregators.WeightedAggregationFactory,
    server_optimizer: tff.learning.optimizers.Optimizer,
    seed: int,
    client_data_type: tff.Type = CLIENT_DATA_TYPE,
    sums_client_metrics: bool = True,
    initial_item_bias: np.ndarray | None = None,
    initial_item_embedding: np.ndarray | None = None,
    edge_fn: EdgeFn = get_edge,
    replaces_non_finite: bool = True,
    client_memory: client_memory_lib.ClientMemory | None = None,
    server_learning_rates: np.ndarray | None = None,
) -> tff.learning.templates.LearningProcess:
    """Composes broadcast, client work, edges and the server's step.

    Args:
      hierarchy: That of `aggregation_factory`.
      model: As in `process.build_learning_process`, like all that say no more.
      num_items: As there.
      client_update_fn: As there; without edges, which are added here.
      aggregation_factory: A `HierarchicalFactory`, with or without steps before it that leave the
        form of the aggregate as it is.
      server_optimizer: Applies what the server combined.
      seed: As there.
      client_data_type: As there, of clients who know their edges.
      sums_client_metrics: As there.
      initial_item_bias: As there.
      initial_item_embedding: As there.
      edge_fn: Where a client's edge is.
      replaces_non_finite: As there.
      client_memory: As there, but of the round alone: it sees no model of an edge, and clients
        report nothing to it.
      server_learning_rates: As there; only with a sync period of one round.

    Returns:
      A process like that of `process.build_learning_process`. With a sync period above one round,
      its state's `distributor` is `hierarchical_server.EdgeModels`, and the state's global model
      and the server's optimizer change in rounds with a sync alone. Between syncs
      `get_model_weights` gives what is best known of all edges: the server's combination of their
      models, assigned without the optimizer; after a sync, the global model. `set_model_weights`
      makes all edges start from what it is given. An edge whose aggregate is not finite leaves out
      the round.
    """
    initial_weights_fn = initial_weights.build_initial_weights(
        model, num_items, seed, initial_item_bias, initial_item_embedding
    )
    weights_type = initial_weights_fn.type_signature.result
    finalizer = scheduled_finalizer.build_finalizer(
        server_optimizer, weights_type, server_learning_rates
    )
    build_level = (
        hierarchical_server.EveryRound
        if hierarchy.sync_period == 1
        else hierarchical_server.EveryPeriod
    )
    level = build_level(hierarchy, weights_type, finalizer)

    @tff.tensorflow.computation(weights_type)
    def create_memory(weights):
        return client_memory_lib.create_initial_state(client_memory, weights.trainable)

    memory_type = create_memory.type_signature.result
    remember = client_memory_lib.build_remember(
        client_memory, memory_type, tff.StructType([]), weights_type, num_items
    )

    @tff.tensorflow.computation(level.broadcast_type, memory_type, client_data_type)
    def client_update(broadcast, memory, client):
        edge = edge_fn(client)
        weights = level.pick_model(broadcast, edge)
        known = () if client_memory is None else (memory,)
        sent = client_update_fn(weights, *known, client)
        sent = client_work.reject_non_finite(sent, replaces_non_finite)
        sent = sent._replace(weight=edges.EdgeWeight(sent.weight, edge))
        if sums_client_metrics:
            return sent
        return sent._replace(metrics=tf.nest.map_structure(tf.zeros_like, sent.metrics))

    sent_type = client_update.type_signature.result
    aggregator = aggregation_factory.create(sent_type.update, sent_type.weight)

    @tff.federated_computation
    def initialize_fn():
        weights = tff.federated_eval(initial_weights_fn, tff.SERVER)
        state = LearningAlgorithmState(
            weights,
            level.start(weights),
            tff.federated_map(create_memory, weights),
            aggregator.initialize(),
            finalizer.initialize(),
        )
        return tff.federated_zip(state)

    state_type = initialize_fn.type_signature.result

    @tff.federated_computation(state_type, tff.FederatedType(client_data_type, tff.CLIENTS))
    def next_fn(state, clients):
        broadcast = tff.federated_broadcast(level.create_broadcast(state))
        memory = tff.federated_broadcast(state.client_work)
        sent = tff.federated_map(client_update, (broadcast, memory, clients))
        aggregate = aggregator.next(state.aggregator, sent.update, sent.weight)
        finished = level.finish(state, aggregate.result)
        nothing = tff.federated_value((), tff.CLIENTS)
        memory = remember(state.client_work, nothing, state.global_model_weights, finished.weights)
        new_state = LearningAlgorithmState(
            finished.weights,
            finished.edge_models,
            memory,
            aggregate.state,
            finished.finalizer,
        )
        metrics = collections.OrderedDict(
            client_work=tff.federated_sum(sent.metrics),
            aggregator=aggregate.measurements,
            finalizer=finished.measurements,
        )
        return tff.learning.templates.LearningProcessOutput(
            tff.federated_zip(new_state), tff.federated_zip(metrics)
        )

    @tff.tensorflow.computation(state_type.member)
    def get_model_weights(state):
        return level.get_model(state.global_model_weights, state.distributor)

    @tff.tensorflow.computation(state_type.member, weights_type)
    def set_model_weights(state, weights):
        return LearningAlgorithmState(
            tf.nest.map_structure(tf.identity, weights),
            level.restart(weights, state.distributor),
            state.client_work,
            state.aggregator,
            state.finalizer,
        )

    return tff.learning.templates.LearningProcess(
        initialize_fn, next_fn, get_model_weights, set_model_weights
    )
