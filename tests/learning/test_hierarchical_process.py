"""Whole rounds of clients, edges and server against NumPy, in TFF's own runtime and compiled."""

import asyncio
import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import dp_fedavg, registry
from fedrec_tff.aggregators.hierarchical import factory
from fedrec_tff.execution import compiled
from fedrec_tff.learning import (
    client_work,
    negative_sampling,
    optimizers,
    server_part,
)
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import mechanisms

pytestmark = pytest.mark.usefixtures("native")

_NUM_ITEMS = 9
_NUM_EDGES = 3
_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_SEED = 11
_PULL = 0.25
# A client with so many interactions weighs 1e30.
_HEAVY = 1_000_000
_SERVER_RATE = 0.5
_EDGE_RATE = 0.75


def _pull(weights, client, told):
    """Client work that depends on the model it is given: pulls all weights to the first item."""
    del told
    target = tf.cast(client.item_index[0], tf.float32)
    update = tf.nest.map_structure(lambda w: _PULL * (w - target), weights)
    weight = tf.cast(client.num_interactions, tf.float32)
    weight = tf.where(client.num_interactions < _HEAVY, weight, 1e30)
    zero = tf.zeros([])
    return client_work.ClientResult(
        update, weight, client_work.ClientMetrics(zero, weight, tf.ones([]), zero, zero)
    )


def _client(edge, which, target, num_interactions):
    return client_work.ClientData(
        np.array([target, 0], np.int32),
        np.int32(num_interactions),
        np.array([7, 3 * which + edge], np.int32),
        edge=np.int32(edge),
    )


_COHORTS = [
    [_client(0, 0, 3, 2), _client(0, 1, 5, 1), _client(1, 0, 1, 4)],
    [_client(1, 1, 2, 1), _client(1, 2, 8, 2)],
    [],
    [_client(2, 0, 4, 1), _client(0, 2, 6, 3)],
    [_client(2, 1, 7, 2)],
]


@functools.cache
def _process(sync_period=2, server="weighted_mean"):
    context = registry.AggregatorContext(_NUM_ITEMS, 4.0, row_sparse=False)
    built = factory.build_hierarchical(
        context,
        num_edges=_NUM_EDGES,
        server=server,
        sync_period=sync_period,
        edge_learning_rate=_EDGE_RATE if sync_period > 1 else 1.0,
    )
    server_optimizer = optimizers.create_optimizer(OptimizerConfig("sgd", _SERVER_RATE))
    return _build_process(built, _pull, server_optimizer)


def _build_process(built, client_update_fn, server_optimizer):
    return process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        client_update_fn,
        built,
        server_optimizer,
        _SEED,
        client_work.create_client_data_type(has_edge=True),
        edges=server_part.Edges(built.hierarchy),
    )


def _flatten(weights):
    return np.concatenate([np.ravel(w) for w in tf.nest.flatten(weights.trainable)]).astype(float)


def _initial():
    weights = two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, _SEED)
    return np.concatenate([w.numpy().ravel() for w in tf.nest.flatten(weights)]).astype(float)


def _simulate(cohorts, sync_period):
    """HierFAVG by hand: after each round, the model to evaluate and the server's."""
    server = _initial()
    models, counted = np.stack([server] * _NUM_EDGES), np.zeros(_NUM_EDGES)
    for number, cohort in enumerate(cohorts, start=1):
        for edge in range(_NUM_EDGES):
            members = [client for client in cohort if client.edge == edge]
            if members:
                weights = [float(client.num_interactions) for client in members]
                updates = [_PULL * (models[edge] - client.item_index[0]) for client in members]
                rate = _EDGE_RATE if sync_period > 1 else 1.0
                models[edge] = models[edge] - rate * np.average(updates, axis=0, weights=weights)
                counted[edge] += sum(weights)
        together = np.average(models, axis=0, weights=counted) if counted.any() else server
        if number % sync_period == 0:
            server = server - _SERVER_RATE * (server - together)
            models, counted = np.stack([server] * _NUM_EDGES), np.zeros(_NUM_EDGES)
            together = server
        yield together, server


def _check_rounds(process, cohorts, sync_period):
    state = process.initialize()
    for cohort, (together, server) in zip(cohorts, _simulate(cohorts, sync_period), strict=True):
        output = process.next(state, cohort)
        state = output.state
        assert float(output.metrics["client_work"].num_clients) == len(cohort)
        found = _flatten(process.get_model_weights(state))
        np.testing.assert_allclose(found, together, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            _flatten(state.global_model_weights), server, rtol=1e-5, atol=1e-5
        )


def test_edges_with_models_of_their_own_equal_a_loop():
    # The third period is cut short; an edge has no clients in a period, and a round has none.
    _check_rounds(_process(), _COHORTS, 2)


def test_edges_that_sync_in_every_round_equal_a_loop():
    _check_rounds(_process(sync_period=1), _COHORTS[:2], 1)


def test_the_compiled_context_finds_the_same():
    with compiled.CompiledContext().install():
        _check_rounds(_process(), _COHORTS[:4], 2)


def test_a_period_without_clients_leaves_the_model_and_is_told():
    process = _process()
    state = process.next(process.initialize(), []).state
    output = process.next(state, [])
    np.testing.assert_allclose(_flatten(process.get_model_weights(output.state)), _initial())
    assert output.metrics["finalizer"]["update_non_finite"] == 1
    # Between syncs there is no update that could be refused.
    output = process.next(output.state, [])
    assert output.metrics["finalizer"]["update_non_finite"] == 0
    # The edges go on as if nothing had been.
    after = process.next(output.state, _COHORTS[0]).state
    assert np.isfinite(_flatten(process.get_model_weights(after))).all()
    assert not np.allclose(_flatten(process.get_model_weights(after)), _initial())


def test_an_edge_whose_sum_overflows_stays_where_it_is():
    process = _process()
    # Each one is finite, so that the client is not refused.
    heavy = [_client(0, which, 2_000_000_000, _HEAVY) for which in range(3)]
    output = process.next(process.initialize(), [*heavy, _client(1, 0, 1, 1)])
    assert output.metrics["client_work"].num_rejected_clients == 0
    offset = output.state.distributor.offset.items.bias
    np.testing.assert_array_equal(offset[0], 0.0)
    np.testing.assert_allclose(offset[1], -_EDGE_RATE * _PULL, rtol=1e-6)
    np.testing.assert_array_equal(output.state.distributor.weight, [0.0, 1.0, 0.0])


def test_weights_that_are_set_are_where_all_edges_start():
    process = _process()
    state = process.next(process.initialize(), _COHORTS[0]).state
    ones = tf.nest.map_structure(np.ones_like, state.global_model_weights)
    state = process.set_model_weights(state, ones)
    np.testing.assert_array_equal(_flatten(process.get_model_weights(state)), 1.0)
    # The second round of the period: a sync.
    state = process.next(state, [_client(0, 0, 3, 1)]).state
    expected = 1.0 - _SERVER_RATE * _EDGE_RATE * _PULL * (1.0 - 3.0)
    np.testing.assert_allclose(_flatten(process.get_model_weights(state)), expected, rtol=1e-6)


def test_a_state_that_was_saved_between_syncs_goes_on(tmp_path):
    process = _process()
    state = process.next(process.initialize(), _COHORTS[0]).state
    manager = tff.program.FileProgramStateManager(tmp_path)
    asyncio.run(manager.save(state, 1))
    loaded = asyncio.run(manager.load(1, process.initialize()))
    expected = process.next(state, _COHORTS[1]).state
    found = process.next(loaded, _COHORTS[1]).state
    np.testing.assert_array_equal(
        _flatten(found.global_model_weights), _flatten(expected.global_model_weights)
    )


@pytest.mark.slow
def test_private_row_sparse_edges_without_noise_are_dp_fedavg():
    """Real client work: the mean of edges' sums over expected numbers is the cohort's."""
    mechanism = mechanisms.Mechanism("dp_gaussian", 0.0, 0.5, 1_000, 4.0)
    context = registry.AggregatorContext(_NUM_ITEMS, 4.0, True, mechanism)
    work = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2)
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 5)
    client_update = client_work.build_row_sparse_client_update(_MODEL, work, sampler)
    optimizer = optimizers.create_optimizer(OptimizerConfig("sgd", 1.0))
    built = factory.build_dp_hierarchical(context, num_edges=_NUM_EDGES)
    # The same clients without edges.
    cohorts = [_COHORTS[0], [client._replace(edge=()) for client in _COHORTS[0]]]
    processes = [
        _build_process(built, client_update, optimizer),
        process_lib.build_learning_process(
            _MODEL,
            _NUM_ITEMS,
            client_update,
            dp_fedavg.build_dp_gaussian(context),
            optimizer,
            _SEED,
        ),
    ]
    found = [
        _flatten(p.get_model_weights(p.next(p.initialize(), cohort).state))
        for p, cohort in zip(processes, cohorts, strict=True)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[0], _initial())
