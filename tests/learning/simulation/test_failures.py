import functools

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.learning import client_work, guidance, negative_sampling
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.simulation import failure_config, failures, simulated_clients
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_WORK = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2)
_SAMPLER = negative_sampling.NegativeSampler(9, 4)
_ITEMS = [3, 5, 3, 7, 1, 2, 8, 6]
_STRAGGLER = failure_config.FailureConfig("straggler")
_STALE = failure_config.FailureConfig("stale", staleness=2)


def create_data(items, seed):
    return client_work.ClientData(
        tf.constant(items, tf.int32), tf.constant(len(items)), tf.constant([7, seed])
    )


def train(weights, data):
    build = client_work.build_dense_client_update(_MODEL, _WORK, _SAMPLER)
    return build(weights, data)


def simulate(failure, weights, state, data, has_failed):
    work = simulated_clients.build_simulated_client_work(
        functools.partial(client_work.build_dense_client_update, _MODEL, _WORK),
        _SAMPLER,
        None,
        failure,
    )
    user = simulated_clients.SimulatedClient(data, tf.constant(False), tf.constant(has_failed))
    return work.client_update_fn(weights, user, ((), state, guidance.NOTHING))


def check_equal(found, expected):
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def create_weights(seed):
    return two_tower.create_initial_weights(_MODEL, 9, seed)


def test_stragglers_send_what_they_did_of_their_first_examples_with_its_weight():
    weights, done = create_weights(0), []
    for seed in range(10):
        data = create_data(_ITEMS, seed)
        sent = simulate(_STRAGGLER, weights, None, data, True)
        done.append(int(sent.weight))
        expected = train(weights, data._replace(num_interactions=tf.constant(done[-1])))
        check_equal(sent.update, expected.update)
        assert float(sent.metrics.num_examples) == done[-1]
    # Uniform on 1 to 8: the mean of 10 is 4.5 with a standard error of 0.72.
    assert set(done) <= set(range(1, 9))
    assert len(set(done)) > 3
    assert 2.0 < np.mean(done) < 7.0
    data = create_data(_ITEMS, 0)
    check_equal(simulate(_STRAGGLER, weights, None, data, False), train(weights, data))


def test_stale_clients_train_the_model_of_two_rounds_ago():
    models = [create_weights(seed) for seed in range(4)]
    memory = failures.create_memory(_STALE)
    state = memory.create_initial_state(models[0])
    data = create_data(_ITEMS, 5)
    oldest = [0, 0, 0, 1]
    for round_number, weights in enumerate(models):
        stale = simulate(_STALE, weights, state, data, True)
        check_equal(stale, train(models[oldest[round_number]], data))
        check_equal(simulate(_STALE, weights, state, data, False), train(weights, data))
        following = models[min(round_number + 1, 3)]
        state = memory.update(state, (), weights, following)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"name": "fire"}, "choose one of dropout"),
        ({"name": "dropout", "rate": 1.0}, "--failure_rate=1"),
        ({"name": "skewed_heavy", "rate": 0.6}, "at most 0.5"),
        ({"name": "dropout", "staleness": 3}, "--failure_staleness means nothing"),
        ({"name": "stale", "staleness": 0}, "--failure_staleness=0"),
    ],
)
def test_wrong_failures_are_told(flags, message):
    with pytest.raises(ValueError, match=message):
        failure_config.validate(failure_config.FailureConfig(**flags))
