"""Whole rounds with learning rates that follow the round, and with MimeLite."""

import asyncio
import functools

import numpy as np
import numpy_training
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.hierarchical import factory as hierarchical_factory
from fedrec_tff.execution import compiled
from fedrec_tff.learning import (
    client_work,
    guidance_memory,
    negative_sampling,
    optimizers,
    schedules,
    server_part,
)
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig, ScheduleConfig
from fedrec_tff.learning.simulation import attacks, simulated_clients
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

pytestmark = pytest.mark.usefixtures("native")

_NUM_ITEMS = 9
_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 5)
_SEED = 11
_CLIENT = OptimizerConfig("sgd", 0.5, schedule=ScheduleConfig("linear", 4, 1, 0.2))
_SERVER = OptimizerConfig("sgd", 1.0, schedule=ScheduleConfig("cosine", 4))
_MEAN = registry.get("mean")
_CONTEXT = registry.AggregatorContext(_NUM_ITEMS, 4.0, row_sparse=True)


def _client(items, seed):
    return client_work.ClientData(
        np.array([*items, *[0] * (6 - len(items))], np.int32),
        np.int32(len(items)),
        np.array([7, seed], np.int32),
    )


_FIRST = [_client([3, 5, 3, 8], 1), _client([0], 2), _client([1, 2, 6, 7, 4], 3)]
_SECOND = [_client([4, 4, 1], 4), _client([8, 2], 5)]
_THIRD = [_client([2, 7, 5], 6), _client([1, 0, 3], 7)]
# Nobody comes to the second round.
_COHORTS = [_FIRST, [], _SECOND, _THIRD]


def _initial_weights():
    weights = two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, _SEED)
    return tf.nest.map_structure(lambda t: t.numpy(), weights)


def _trainable(state):
    return numpy_training.flatten(state.global_model_weights.trainable)


def _work(**changes):
    return ClientWorkConfig(_CLIENT, batch_size=2, local_epochs=2, **changes)


@functools.cache
def _scheduled_process():
    work = _work()
    return process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        client_work.build_row_sparse_client_update(_MODEL, work, _SAMPLER),
        _MEAN.build_factory(_CONTEXT),
        optimizers.create_optimizer(_SERVER),
        _SEED,
        client_memory=guidance_memory.create_memory(work),
        server_learning_rates=schedules.create_learning_rates(_SERVER),
    )


def _run(process, cohorts, state=None):
    states = [process.initialize() if state is None else state]
    for cohort in cohorts:
        states.append(process.next(states[-1], cohort).state)
    return states[1:]


@functools.cache
def _scheduled_states():
    return _run(_scheduled_process(), _COHORTS)


def _train_by_hand(cohorts):
    """The models after each round, each round's rates put into the configuration by hand."""
    client_rates = [0.25, 0.5, 0.5 * (1 - 0.8 / 3), 0.5 * (1 - 1.6 / 3)]
    server_rates = [(1 + np.cos(np.pi * p)) / 2 for p in (0, 1 / 4, 2 / 4, 3 / 4)]
    vectors, vector = [], numpy_training.flatten(_initial_weights())
    for cohort, client_rate, server_rate in zip(cohorts, client_rates, server_rates, strict=True):
        work = ClientWorkConfig(OptimizerConfig("sgd", client_rate), batch_size=2, local_epochs=2)
        client_update = client_work.build_dense_client_update(_MODEL, work, _SAMPLER)
        weights = numpy_training.unflatten(vector, _initial_weights())
        weights = tf.nest.map_structure(lambda w: tf.constant(w, tf.float32), weights)
        updates = [
            numpy_training.flatten(
                client_update(weights, tf.nest.map_structure(tf.constant, client)).update
            )
            for client in cohort
        ]
        if updates:
            vector = vector - server_rate * np.mean(updates, axis=0)
        vectors.append(vector)
    return vectors


def test_both_rates_follow_the_round_even_where_nobody_came():
    for state, expected in zip(_scheduled_states(), _train_by_hand(_COHORTS), strict=True):
        np.testing.assert_allclose(_trainable(state), expected, rtol=1e-4, atol=1e-5)


def test_the_compiled_context_does_the_same():
    with compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=1)).install():
        states = _run(_scheduled_process(), _COHORTS)
    for found, expected in zip(states, _scheduled_states(), strict=True):
        np.testing.assert_allclose(_trainable(found), _trainable(expected), rtol=1e-5, atol=1e-6)
        assert found.client_work.round_index == expected.client_work.round_index
        assert found.finalizer.round_index == expected.finalizer.round_index


def test_a_run_goes_on_from_a_checkpoint_where_its_schedules_were(tmp_path):
    states = _scheduled_states()
    manager = tff.program.FileProgramStateManager(tmp_path)
    asyncio.run(manager.save(states[1], 2))
    loaded = asyncio.run(manager.load(2, _scheduled_process().initialize()))
    resumed = _run(_scheduled_process(), _COHORTS[2:], loaded)
    np.testing.assert_array_equal(_trainable(resumed[-1]), _trainable(states[-1]))


def test_after_the_last_round_the_last_rate_stays():
    state = _scheduled_states()[-1]
    rates = [
        float(_run(_scheduled_process(), [[]] * n, state)[-1].finalizer.optimizer["learning_rate"])
        for n in (1, 2)
    ]
    np.testing.assert_allclose(rates, (1 + np.cos(np.pi * 3 / 4)) / 2, rtol=1e-6)


def test_schedules_go_with_attackers_who_remember():
    """`delta_free_rider` has a state of its own beside the round."""
    work = _work()
    update_fn, memory = simulated_clients.build_simulated_client_work(
        functools.partial(client_work.build_row_sparse_client_update, _MODEL, work),
        _SAMPLER,
        attacks.Attack("delta_free_rider", 1.0, 0),
        None,
        guidance_memory.create_memory(work),
    )
    process = process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        update_fn,
        _MEAN.build_factory(_CONTEXT),
        optimizers.create_optimizer(_SERVER),
        _SEED,
        simulated_clients.create_simulated_client_type(client_work.CLIENT_DATA_TYPE),
        client_memory=memory,
        server_learning_rates=schedules.create_learning_rates(_SERVER),
    )
    honest = [
        [simulated_clients.SimulatedClient(c, np.False_, np.False_) for c in cohort]
        for cohort in _COHORTS
    ]
    states = _run(process, honest)
    np.testing.assert_allclose(
        _trainable(states[-1]), _trainable(_scheduled_states()[-1]), rtol=1e-6, atol=1e-7
    )
    delta, _, guidance = states[0].client_work
    moved = numpy_training.flatten(_initial_weights()) - _trainable(states[0])
    np.testing.assert_allclose(numpy_training.flatten(delta), moved, rtol=1e-5, atol=1e-7)
    assert guidance.round_index == 1


def test_schedules_go_with_edges():
    """A weighted mean of edges' weighted means is the weighted mean."""
    work = _work(weighting="uniform")
    built = hierarchical_factory.build_hierarchical(_CONTEXT, num_edges=2)
    process = process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        client_work.build_row_sparse_client_update(_MODEL, work, _SAMPLER),
        built,
        optimizers.create_optimizer(_SERVER),
        _SEED,
        client_work.create_client_data_type(has_edge=True),
        client_memory=guidance_memory.create_memory(work),
        server_learning_rates=schedules.create_learning_rates(_SERVER),
        edges=server_part.Edges(built.hierarchy),
    )
    cohorts = [
        [client._replace(edge=np.int32(place % 2)) for place, client in enumerate(cohort)]
        for cohort in _COHORTS
    ]
    states = _run(process, cohorts)
    np.testing.assert_allclose(
        _trainable(states[-1]), _trainable(_scheduled_states()[-1]), rtol=1e-4, atol=1e-6
    )


# Away from the initial weights, where the tower's gradients are zero or have a kink.
_START = numpy_training.create_weights(_NUM_ITEMS, 3, seed=5)


class _Momentum:
    """Of heavy-ball SGD: m and how it moves, as functions of a gradient."""

    config = OptimizerConfig("sgd", 0.3, momentum=0.8)
    steps, mean = 0, 0.0

    def move(self, gradient):
        return 0.3 * (0.8 * self.mean + gradient)

    def learn(self, gradient):
        self.mean = 0.8 * self.mean + gradient


class _Adam:
    """Of Adam (Kingma and Ba 2015, algorithm 1, with the efficient order of section 2)."""

    config = OptimizerConfig("adam", 0.1, epsilon=1e-3)
    steps, mean, square = 0, 0.0, 0.0

    def _after(self, gradient):
        return 0.9 * self.mean + 0.1 * gradient, 0.999 * self.square + 0.001 * gradient**2

    def move(self, gradient):
        mean, square = self._after(gradient)
        t = self.steps + 1
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return rate * mean / (np.sqrt(square) + 1e-3)

    def learn(self, gradient):
        self.mean, self.square = self._after(gradient)
        self.steps += 1


def _simulate_mime_lite(statistics, cohorts, epochs):
    """Algorithm 1 of Karimireddy et al. 2021, MimeLite, weighted by examples: the last model."""
    like = _START
    vector = numpy_training.flatten(like)

    def gradient(at, client):
        items = client.item_index[: client.num_interactions]
        return numpy_training.gradient(
            _MODEL,
            "in_batch_softmax",
            numpy_training.unflatten(at, like),
            items,
            np.arange(len(items)),
            None,
            np.full(_NUM_ITEMS, -np.log(_NUM_ITEMS)),
        )

    for cohort in cohorts:
        locals_, gradients, weights = [], [], []
        for client in cohort:
            own = vector
            for _ in range(epochs):
                own = own - statistics.move(gradient(own, client))
            locals_.append(own)
            gradients.append(gradient(vector, client))
            weights.append(float(client.num_interactions))
        if cohort:
            vector_after = np.average(locals_, axis=0, weights=weights)
            statistics.learn(np.average(gradients, axis=0, weights=weights))
            vector = vector_after
    return vector


@pytest.mark.parametrize("statistics", [pytest.param(_Momentum, marks=pytest.mark.slow), _Adam])
def test_mime_lite_equals_a_simulation_of_its_algorithm(statistics):
    cohorts = [_FIRST, [], _SECOND]
    work = ClientWorkConfig(
        statistics.config, "in_batch_softmax", batch_size=0, local_epochs=2, algorithm="mimelite"
    )
    process = process_lib.build_learning_process(
        _MODEL,
        _NUM_ITEMS,
        client_work.build_dense_client_update(_MODEL, work, _SAMPLER),
        registry.get("weighted_mean").build_factory(
            registry.AggregatorContext(_NUM_ITEMS, 4.0, row_sparse=False)
        ),
        optimizers.create_optimizer(OptimizerConfig("sgd", 1.0)),
        _SEED,
        client_memory=guidance_memory.create_memory(work, weighs=True),
    )
    state = process.set_model_weights(
        process.initialize(), tff.learning.models.ModelWeights(_START, ())
    )
    found = _trainable(_run(process, cohorts, state)[-1])
    expected = _simulate_mime_lite(statistics(), cohorts, epochs=2)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected - numpy_training.flatten(_START)).max() > 0.1
