"""Federated optimisation of a two-tower model as a `tff.learning.templates.LearningProcess`.

`tff.learning.templates.compose_learning_process` insists on clients that are `tf.data` sequences.
This composes the same parts over clients that are tensors, with the same state type. What clients
know of earlier rounds (`client_memory`) and edges between them and the server (`server_part`) are
parts of it; what they compute is `client_work`.
"""

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.learning import client_memory as client_memory_lib
from fedrec_tff.learning import client_work, initial_weights, scheduled_finalizer, server_part
from fedrec_tff.models.config import TwoTowerConfig

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
    client_memory: client_memory_lib.ClientMemory = client_memory_lib.NO_MEMORY,
    server_learning_rates: np.ndarray | None = None,
    edges: server_part.Edges | None = None,
    known_weights: initial_weights.KnownWeights | None = None,
    aggregate_is_row_sparse: bool = False,
    moves_all_rows: bool = False,
) -> tff.learning.templates.LearningProcess:
    """Composes broadcast, client work, aggregation and the server's step.

    Args:
      model: The model's shape.
      num_items: Rows of the item table.
      client_update_fn: Client work, from `client_work.build_dense_client_update` or its row-sparse
        sibling.
      aggregation_factory: Takes the clients' updates; gets what clients count by
        `ClientWorkConfig.weighting` if it is weighted. Its result must have the structure of the
        model's trainable weights.
      server_optimizer: Optimiser that applies the aggregate, as if it were a gradient (Reddi et al.
        2021).
      seed: Seed for the initial weights.
      client_data_type: The type of one client, as `client_update_fn` takes it.
      sums_client_metrics: Whether clients send their `ClientMetrics`; otherwise they send zeros:
        where the guarantee holds against the server, it must not get exact sums.
      initial_item_bias: float32 [num_items], what item biases start from; None for zeros.
      initial_item_embedding: float32 [num_items, embedding_dim], what item embeddings start from;
        None for random numbers.
      replaces_non_finite: Whether updates that are not finite become zeros before they are
        aggregated; an aggregator that leaves them out by itself wants to see them.
      client_memory: Memory that the server keeps for client work from round to round, as the
        state's `client_work`, which `client_update_fn` is told. It sees no model of an edge.
      server_learning_rates: float32 [rounds], the server's in each round; None for the optimizer's.
        Not with edges that sync every few rounds.
      edges: Edges between clients and server; None for nothing.
      known_weights: Weights of another model to begin with; None for none.
      aggregate_is_row_sparse: Whether the factory's result is a `RowSparse` of the trainable
        weights. Not with edges that sync every few rounds, nor with a memory of models.
      moves_all_rows: Whether the server's step then moves rows that are not in it, too, by a
        gradient of zero; otherwise it leaves them alone, see `row_finalizer`.

    Returns:
      A process whose `next` takes the state and a list of clients of that type, and whose
      metrics have the fields `client_work` (sums of `ClientMetrics`), `aggregator`, `finalizer`.
      Where edges sync every few rounds, its state's `distributor` is `server_part.EdgeModels`, and
      the state's global model and the server's optimizer change in rounds with a sync alone.
      Between syncs `get_model_weights` gives what is best known of all edges: the server's
      combination of their models, assigned without the optimizer; after a sync, the global model.
      `set_model_weights` makes all edges start from what it is given. An edge whose aggregate is
      not finite leaves out the round.
    """
    initial_weights_fn = initial_weights.build_initial_weights(
        model, num_items, seed, initial_item_bias, initial_item_embedding, known_weights
    )
    weights_type = initial_weights_fn.type_signature.result

    @tff.tensorflow.computation(weights_type)
    def create_memory(weights):
        return client_memory.create_initial_state(weights.trainable)

    memory_type = create_memory.type_signature.result

    update_type = weights_type.trainable
    if aggregate_is_row_sparse:
        update_type = client_work.create_row_sparse_type(weights_type)
    finalizer = scheduled_finalizer.build_finalizer(
        server_optimizer,
        weights_type,
        update_type,
        server_learning_rates,
        moves_all_rows,
        # Models of edges, and a memory of models, are computed from old tables and new ones.
        in_chunks=edges is None and not _has_leaves(memory_type),
    )
    server = server_part.create_server_part(edges, weights_type, finalizer)

    @tff.tensorflow.computation(server.broadcast_type, memory_type, client_data_type)
    def client_update(broadcast, memory, client):
        sent = client_update_fn(server.pick_model(broadcast, client), client, memory)
        report = client_memory.report(client, sent)
        sent = client_work.reject_non_finite(sent, replaces_non_finite)
        sent = sent._replace(weight=server.weigh(sent.weight, client))
        if not sums_client_metrics:
            sent = sent._replace(metrics=tf.nest.map_structure(tf.zeros_like, sent.metrics))
        return sent, report

    sent_type, report_type = client_update.type_signature.result
    remember = client_memory_lib.build_remember(
        client_memory, memory_type, report_type, weights_type, num_items
    )
    aggregator, aggregate_fn = _create_aggregator(aggregation_factory, sent_type)

    @tff.federated_computation
    def initialize_fn():
        weights = tff.federated_eval(initial_weights_fn, tff.SERVER)
        state = LearningAlgorithmState(
            weights,
            server.start(weights),
            tff.federated_map(create_memory, weights),
            aggregator.initialize(),
            finalizer.initialize(),
        )
        return tff.federated_zip(state)

    state_type = initialize_fn.type_signature.result

    @tff.federated_computation(state_type, tff.FederatedType(client_data_type, tff.CLIENTS))
    def next_fn(state, clients):
        broadcast = tff.federated_broadcast(server.create_broadcast(state))
        memory = tff.federated_broadcast(state.client_work)
        sent, report = tff.federated_map(client_update, (broadcast, memory, clients))
        aggregate = aggregate_fn(state.aggregator, sent)
        finished = server.finish(state, aggregate.result)
        memory = remember(state.client_work, report, state.global_model_weights, finished.weights)
        new_state = LearningAlgorithmState(
            finished.weights, finished.edge_models, memory, aggregate.state, finished.finalizer
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
        return server.get_model(state.global_model_weights, state.distributor)

    @tff.tensorflow.computation(state_type.member, weights_type)
    def set_model_weights(state, weights):
        return LearningAlgorithmState(
            tf.nest.map_structure(tf.identity, weights),
            server.restart(weights, state.distributor),
            state.client_work,
            state.aggregator,
            state.finalizer,
        )

    return tff.learning.templates.LearningProcess(
        initialize_fn, next_fn, get_model_weights, set_model_weights
    )


def _has_leaves(value_type: tff.Type) -> bool:
    return bool(tf.nest.flatten(tff.types.type_to_tf_tensor_specs(value_type)))


def _create_aggregator(
    factory: tff.aggregators.UnweightedAggregationFactory
    | tff.aggregators.WeightedAggregationFactory,
    sent_type: tff.Type,
) -> tuple[tff.templates.AggregationProcess, Any]:
    """The aggregation process, and what calls its `next` with a state and what clients send."""
    if isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        weighted = factory.create(sent_type.update, sent_type.weight)
        return weighted, lambda state, sent: weighted.next(state, sent.update, sent.weight)
    unweighted = factory.create(sent_type.update)
    return unweighted, lambda state, sent: unweighted.next(state, sent.update)
