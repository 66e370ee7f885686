"""Whether what is compared does the same work: against NumPy, and against the project's clients."""

import dataclasses

import numpy as np
import numpy_loss
import pytest
import tensorflow as tf

from fedrec_tff.benchmarks import (
    bare_loop,
    federated_rounds,
    plan,
    stock_tff,
    tfrs_fit,
    users,
)
from fedrec_tff.learning import client_work, negative_sampling
from fedrec_tff.models import two_tower

pytestmark = pytest.mark.slow

_SETTING = plan.Setting(
    num_users=12,
    interactions_per_user=21,
    num_items=15,
    embedding_dim=3,
    clients_per_round=4,
    num_negatives=6,
    batch_size=4,
    seed=5,
)
_IN_ONE_BATCH = dataclasses.replace(_SETTING, batch_size=21)
_HISTORY_LENGTH = _SETTING.run_config.history_length
_WEIGHTS = two_tower.create_initial_weights(
    _SETTING.run_config.two_tower, _SETTING.num_items, _SETTING.seed
)
_ARRAYS = tf.nest.map_structure(np.asarray, _WEIGHTS)
_ITEMS = users.create_items(_SETTING)


def expected_losses(items, negatives):
    return [
        numpy_loss.compute_loss(_ARRAYS, items, position, negatives, _HISTORY_LENGTH)
        for position in range(len(items))
    ]


def fold(seed):
    """The seed from which the project's client draws its negatives."""
    return tf.random.experimental.stateless_fold_in(seed, 0, alg="philox")


def train_as_client(setting, row, seed):
    """The project's own client work: the client's result, and how much its weights shrank."""
    sampler = negative_sampling.NegativeSampler(setting.num_items, setting.num_negatives)
    config = setting.run_config
    update = client_work.build_dense_client_update(config.two_tower, config.client_work, sampler)
    client = client_work.ClientData(tf.constant(_ITEMS[row]), tf.constant(21), tf.constant(seed))
    result = tf.function(update, autograph=False)(_WEIGHTS, client)
    return result, tf.nest.map_structure(tf.subtract, _WEIGHTS, result.update)


def test_the_bare_loop_trains_as_a_client_does():
    rows, seeds = users.draw_cohort(_SETTING, 1), users.draw_seeds(_SETTING, 1)
    folded = np.stack([fold(seed) for seed in seeds]).astype(np.int32)
    found = bare_loop.BareLoop(_IN_ONE_BATCH).run(_WEIGHTS, _ITEMS[rows], folded)
    checksum = loss_sum = 0.0
    sampler = negative_sampling.NegativeSampler(_SETTING.num_items, _SETTING.num_negatives)
    for row, seed, own in zip(rows, seeds, folded, strict=True):
        result, trained = train_as_client(_IN_ONE_BATCH, row, seed)
        loss_sum += float(result.metrics.loss_sum)
        # The loop sums the rows that the user touched, each as often as it has a slot.
        slots = np.concatenate([_ITEMS[row], sampler.sample(own)])
        assert 27 == len(slots) > len(set(slots))
        initial = _ARRAYS.items.embedding[slots].sum() + _ARRAYS.items.bias[slots].sum()
        changed = [np.sum(t - w) for t, w in zip(trained.items, _ARRAYS.items, strict=True)]
        checksum += initial + sum(changed) + sum(np.sum(tensor) for tensor in trained.tower)
    np.testing.assert_allclose(float(found.loss_sum), loss_sum, rtol=1e-5)
    np.testing.assert_allclose(float(found.checksum), checksum, rtol=1e-4)


def test_the_bare_loop_sees_every_example_once_in_batches():
    # Each batch's order is random, and the weights move: the sums are near, not equal. A step that
    # was left out would cost a sixth of the sum.
    rows, seeds = users.draw_cohort(_SETTING, 1), users.draw_seeds(_SETTING, 1)
    folded = np.stack([fold(seed) for seed in seeds]).astype(np.int32)
    found = bare_loop.BareLoop(_SETTING).run(_WEIGHTS, _ITEMS[rows], folded)
    sums = [
        float(train_as_client(_SETTING, row, seed)[0].metrics.loss_sum)
        for row, seed in zip(rows, seeds, strict=True)
    ]
    np.testing.assert_allclose(float(found.loss_sum), sum(sums), rtol=0.04)


def test_the_loss_of_tfrs_is_that_of_clients(monkeypatch):
    negatives = np.array([3, 3, 0, 14, 7, 9], np.int32)
    monkeypatch.setattr(tf.random, "uniform", lambda *args: tf.constant(negatives))
    model = tfrs_fit.create_model(_SETTING)
    examples = users.create_examples(_ITEMS[:1], _HISTORY_LENGTH)
    found = model.compute_loss({name: tf.constant(a) for name, a in examples._asdict().items()})
    expected = np.mean(expected_losses(_ITEMS[0], negatives))
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_tfrs_trains_on_the_examples_of_the_users():
    taken = next(iter(tfrs_fit.create_data(_SETTING)))
    examples = users.create_examples(_ITEMS, _HISTORY_LENGTH)
    known = {(*history, item) for history, _, item in zip(*examples, strict=True)}
    seen = {
        (*history, item)
        for history, item in zip(taken["history"].numpy(), taken["item_index"].numpy(), strict=True)
    }
    assert len(taken["item_index"]) == _SETTING.batch_size
    assert seen <= known


@pytest.mark.parametrize("uses_dataset_iterator", [False, True])
def test_the_first_loss_of_stock_tff_is_that_of_clients(native, uses_dataset_iterator):
    process = stock_tff.build_process(_IN_ONE_BATCH, uses_dataset_iterator)
    state = process.initialize()
    flat = tf.nest.flatten(state.global_model_weights.trainable)
    for found, expected in zip(flat, tf.nest.flatten(_ARRAYS), strict=True):
        np.testing.assert_array_equal(found, expected)
    output = process.next(state, stock_tff.create_cohort(_ITEMS, _IN_ONE_BATCH, 1))
    rows, negatives = users.draw_cohort(_SETTING, 1), users.draw_negatives(_SETTING, 1)
    expected = np.mean(
        [expected_losses(_ITEMS[row], drawn) for row, drawn in zip(rows, negatives, strict=True)]
    )
    metrics = output.metrics["client_work"]["train"]
    assert metrics["num_examples"] == 4 * 21
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_clients_of_stock_tff_are_batches_of_the_same_users():
    cohort = stock_tff.create_cohort(_ITEMS, _SETTING, 2)
    rows, negatives = users.draw_cohort(_SETTING, 2), users.draw_negatives(_SETTING, 2)
    assert len(cohort) == 4
    for data, row, drawn in zip(cohort, rows, negatives, strict=True):
        batches = [features for features, _ in data]
        sizes = [len(features["item_index"]) for features in batches]
        assert sizes == [4, 4, 4, 4, 4, 1]
        seen = np.concatenate([features["item_index"] for features in batches])
        np.testing.assert_array_equal(np.sort(seen), np.sort(_ITEMS[row]))
        for features in batches:
            np.testing.assert_array_equal(features["negatives"], drawn)


def test_a_cohort_of_the_projects_process_is_the_drawn_users():
    population = users.create_population(_SETTING)
    clients = federated_rounds.create_cohort(population, _SETTING, 2).unstack()
    rows, seeds = users.draw_cohort(_SETTING, 2), users.draw_seeds(_SETTING, 2)
    for client, row, seed in zip(clients, rows, seeds, strict=True):
        np.testing.assert_array_equal(client.item_index[:21], _ITEMS[row])
        np.testing.assert_array_equal(client.seed, seed)
        assert client.num_interactions == 21


@pytest.mark.parametrize("is_row_sparse", [False, True])
def test_the_projects_process_is_private_and_of_the_size_asked_for(native, is_row_sparse):
    process = federated_rounds.build_process(_SETTING, is_row_sparse)
    state = process.initialize()
    for found, expected in zip(
        tf.nest.flatten(state.global_model_weights.trainable), tf.nest.flatten(_ARRAYS), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    # Nobody comes: what moves the weights is the noise.
    moved = process.next(state, []).state.global_model_weights.trainable
    assert np.std(moved.items.embedding - _ARRAYS.items.embedding) > 0
