import functools

import numpy as np
import numpy_training
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry
from fedrec_tff.learning import client_work, negative_sampling, optimizers
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import mechanisms

pytestmark = pytest.mark.usefixtures("native")

_NUM_ITEMS = 9
_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_WORK = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2, local_epochs=2)
_FED_SGD = ClientWorkConfig(OptimizerConfig("sgd", 1.0), "in_batch_softmax", batch_size=0)
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 5)
_SEED = 11
_CLIP = 0.5
_CLIENTS_PER_ROUND = 4.0
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}


def _create_mechanism(aggregator):
    if not registry.get(aggregator).is_private:
        return None
    return mechanisms.Mechanism(aggregator, 0.0, _CLIP, 1_000, _CLIENTS_PER_ROUND)


@functools.cache
def _process(
    aggregator="mean",
    form="row_sparse",
    work=_WORK,
    server=OptimizerConfig("sgd", 1.0),  # noqa: B008
    model=_MODEL,
):
    context = registry.AggregatorContext(
        _NUM_ITEMS,
        _CLIENTS_PER_ROUND,
        row_sparse=form == "row_sparse",
        mechanism=_create_mechanism(aggregator),
        insecure_noise_seed=0,
    )
    return process_lib.build_learning_process(
        model,
        _NUM_ITEMS,
        _BUILDERS[form](model, work, _SAMPLER),
        registry.get(aggregator).build_factory(context),
        optimizers.create_optimizer(server),
        _SEED,
    )


def _client(items, seed, num_padding=0):
    return client_work.ClientData(
        np.array([*items, *[0] * num_padding], np.int32),
        np.int32(len(items)),
        np.array([7, seed], np.int32),
    )


_COHORTS = [
    [_client([3, 5, 3, 8], 1, 2), _client([0], 2, 1), _client([1, 2, 6, 7, 4], 3)],
    [_client([4, 4, 1], 4, 1), _client([8, 2], 5, 3)],
    [_client([2, 7, 5], 6, 4)],
]


def _initial_weights(model=_MODEL):
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, _SEED)
    return tf.nest.map_structure(lambda t: t.numpy(), weights)


def _client_results(vector, cohort, work=_WORK):
    """Each client's update, as a vector, and its whole result, computed here and now."""
    client_update = client_work.build_dense_client_update(_MODEL, work, _SAMPLER)
    weights = numpy_training.unflatten(vector, _initial_weights())
    weights = tf.nest.map_structure(lambda w: tf.constant(w, tf.float32), weights)
    results = [
        client_update(weights, client_work.ClientData(*map(tf.constant, client)))
        for client in cohort
    ]
    return [numpy_training.flatten(r.update) for r in results], results


def _run(process, cohorts):
    state = process.initialize()
    for cohort in cohorts:
        state = process.next(state, cohort).state
    return state


def _trainable(process, state):
    return numpy_training.flatten(process.get_model_weights(state).trainable)


@pytest.mark.parametrize("form", ["dense", pytest.param("row_sparse", marks=pytest.mark.slow)])
def test_three_rounds_of_federated_averaging_equal_a_loop(form):
    vector = numpy_training.flatten(_initial_weights())
    for cohort in _COHORTS:
        updates, _ = _client_results(vector, cohort)
        vector = vector - np.mean(updates, axis=0)
    process = _process("mean", form)
    np.testing.assert_allclose(
        _trainable(process, _run(process, _COHORTS)), vector, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("form", ["row_sparse", pytest.param("dense", marks=pytest.mark.slow)])
def test_weighted_mean_weighs_by_the_number_of_examples(form):
    vector = numpy_training.flatten(_initial_weights())
    updates, _ = _client_results(vector, _COHORTS[0])
    # 4, 1 and 5 interactions, however many local epochs there are.
    expected = vector - np.average(updates, axis=0, weights=[4.0, 1.0, 5.0])
    process = _process("weighted_mean", form)
    # A client without interactions has no say.
    cohort = [*_COHORTS[0], _client([], 9, num_padding=2)]
    np.testing.assert_allclose(
        _trainable(process, _run(process, [cohort])), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("form", ["row_sparse", pytest.param("dense", marks=pytest.mark.slow)])
def test_dp_fedavg_without_noise_equals_a_loop_over_clipped_updates(form):
    vector = numpy_training.flatten(_initial_weights())
    for cohort in _COHORTS[:2]:
        updates, _ = _client_results(vector, cohort)
        norms = [np.linalg.norm(u) for u in updates]
        assert max(norms) > _CLIP
        clipped = [u * min(1.0, _CLIP / n) for u, n in zip(updates, norms, strict=True)]
        vector = vector - np.sum(clipped, axis=0) / _CLIENTS_PER_ROUND
    process = _process("dp_gaussian", form)
    np.testing.assert_allclose(
        _trainable(process, _run(process, _COHORTS[:2])), vector, rtol=1e-4, atol=1e-5
    )


def test_server_adam_equals_keras():
    keras = tf.keras.optimizers.Adam(0.05, epsilon=0.01, jit_compile=False)
    variable = tf.Variable(numpy_training.flatten(_initial_weights()))
    for cohort in _COHORTS[:2]:
        updates, _ = _client_results(variable.numpy(), cohort)
        keras.apply_gradients([(tf.constant(np.mean(updates, axis=0)), variable)])
    process = _process(server=OptimizerConfig("adam", 0.05, epsilon=0.01))
    np.testing.assert_allclose(
        _trainable(process, _run(process, _COHORTS[:2])), variable.numpy(), rtol=1e-3, atol=1e-5
    )


def test_fed_sgd_is_gradient_descent_on_the_mean_of_the_clients_losses():
    # Away from the initial weights, where the tower's gradients are not zero.
    weights = numpy_training.create_weights(_NUM_ITEMS, 3, seed=5)
    gradients = []
    for client in _COHORTS[0]:
        num_interactions = int(client.num_interactions)
        gradients.append(
            numpy_training.gradient(
                _MODEL,
                _FED_SGD.loss,
                numpy_training.unflatten(numpy_training.flatten(weights), weights),
                client.item_index[:num_interactions],
                np.arange(num_interactions),
                None,  # This loss draws no negatives.
                np.zeros(_NUM_ITEMS),
            )
        )
    process = _process(work=_FED_SGD, server=OptimizerConfig("sgd", 0.25))
    state = process.set_model_weights(
        process.initialize(), tff.learning.models.ModelWeights(weights, ())
    )
    state = process.next(state, _COHORTS[0]).state
    np.testing.assert_allclose(
        _trainable(process, state),
        numpy_training.flatten(weights) - 0.25 * np.mean(gradients, axis=0),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("form", ["dense", "row_sparse"])
@pytest.mark.parametrize("aggregator", ["mean", "weighted_mean"])
def test_an_empty_cohort_leaves_the_weights_as_they_are(aggregator, form):
    process = _process(aggregator, form)
    state = process.initialize()
    before = _trainable(process, state)
    output = process.next(state, [])
    np.testing.assert_array_equal(_trainable(process, output.state), before)
    assert output.metrics["client_work"].num_clients == 0.0
    assert output.metrics["finalizer"]["update_non_finite"] == 1
    # And the run goes on.
    after = _trainable(process, process.next(output.state, _COHORTS[0]).state)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-3


def test_metrics_are_sums_over_the_clients():
    process = _process("mean", "dense")
    metrics = process.next(process.initialize(), _COHORTS[0]).metrics["client_work"]
    _, results = _client_results(numpy_training.flatten(_initial_weights()), _COHORTS[0])
    np.testing.assert_allclose(
        metrics.loss_sum, sum(float(r.metrics.loss_sum) for r in results), rtol=1e-5
    )
    assert metrics.num_examples == 2 * (4 + 1 + 5)
    assert metrics.num_clients == 3.0
    assert metrics.num_rejected_clients == 0.0
    assert metrics.upload_bytes == 3 * 4 * (_NUM_ITEMS * 4 + 24)


def test_model_weights_can_be_read_and_replaced():
    process = _process()
    state = process.initialize()
    np.testing.assert_array_equal(
        _trainable(process, state), numpy_training.flatten(_initial_weights())
    )
    weights = numpy_training.create_weights(_NUM_ITEMS, 3, seed=5)
    replaced = process.set_model_weights(state, tff.learning.models.ModelWeights(weights, ()))
    np.testing.assert_array_equal(_trainable(process, replaced), numpy_training.flatten(weights))
    np.testing.assert_array_equal(
        _trainable(process, state), numpy_training.flatten(_initial_weights())
    )
    read = process.get_model_weights(replaced).trainable
    assert read.items.embedding.shape == (_NUM_ITEMS, 3)


def test_a_model_without_blocks_trains():
    model = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=0)
    processes = [_process(form=form, model=model) for form in _BUILDERS]
    dense, sparse = (_trainable(p, _run(p, _COHORTS[:1])) for p in processes)
    np.testing.assert_allclose(dense, sparse, rtol=1e-4, atol=1e-5)
    assert np.abs(dense - numpy_training.flatten(_initial_weights(model))).max() > 1e-3
