"""What a buffer makes of client work: which model is trained, and how much the update counts."""

import functools

import numpy as np
import tensorflow as tf

from fedrec_tff.learning import client_work, guidance, negative_sampling
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.simulation import buffering, past_models, simulated_clients
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_WORK = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2)
_SAMPLER = negative_sampling.NegativeSampler(9, 4)
_RULE = buffering.BufferingRule(max_age=3)
# By round and age, 1 / sqrt(1 + age).
_FACTORS = {1: {3: 0.5}, 5: {1: 0.5**0.5, 3: 0.5}}


def create_weights(seed):
    return two_tower.create_initial_weights(_MODEL, 9, seed)


def create_client(age):
    data = client_work.ClientData(
        tf.constant([3, 5, 3, 7], tf.int32), tf.constant(4), tf.constant([7, 5])
    )
    return simulated_clients.SimulatedClient(
        data, tf.constant(False), tf.constant(False), tf.constant(age)
    )


def work(build, rule, weights, memory, age):
    build_fn = functools.partial(build, _MODEL, _WORK)
    found = simulated_clients.build_simulated_client_work(
        build_fn, _SAMPLER, None, None, buffering_rule=rule
    )
    return found.client_update_fn(weights, create_client(age), ((), memory, guidance.NOTHING))


def test_an_update_is_from_the_model_of_its_age_and_counts_for_less():
    build = client_work.build_row_sparse_client_update
    models = [create_weights(seed) for seed in range(6)]
    memory = past_models.PastModels(3)
    state = memory.create_initial_state(models[0])
    for number, weights in enumerate(models):
        for age, factor in _FACTORS.get(number, {}).items():
            # In the first rounds the initial model is the oldest there is.
            trained = models[max(0, number - age)]
            honest = build(_MODEL, _WORK, _SAMPLER)(trained, create_client(0).data)
            sent = work(build, _RULE, weights, state, age)
            for found, expected in zip(
                tf.nest.flatten(sent.update), tf.nest.flatten(honest.update), strict=True
            ):
                scale = np.float32(factor) if expected.dtype.is_floating else 1
                np.testing.assert_allclose(found, expected.numpy() * scale, rtol=1e-6)
            # A mean by examples is one over all who came, whatever their ages.
            assert float(sent.weight) == float(honest.weight)
        state = memory.update(state, (), weights, None)


def test_the_newest_model_and_no_exponent_change_no_bit():
    weights = create_weights(1)
    state = past_models.PastModels(3).create_initial_state(create_weights(2))
    build = client_work.build_dense_client_update
    honest = build(_MODEL, _WORK, _SAMPLER)(weights, create_client(0).data)
    without = buffering.BufferingRule(3, staleness_exponent=0.0)
    for rule, age, trained in ((_RULE, 0, weights), (without, 2, create_weights(2))):
        expected = build(_MODEL, _WORK, _SAMPLER)(trained, create_client(0).data)
        sent = work(build, rule, weights, state, age)
        tf.nest.map_structure(np.testing.assert_array_equal, sent, expected)
    assert not np.array_equal(honest.update.items.embedding, expected.update.items.embedding)
