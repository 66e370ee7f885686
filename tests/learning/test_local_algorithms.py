"""FedProx, caps on local steps, normalised updates and weighting, on one client."""

import itertools

import numpy as np
import numpy_training
import pytest
import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_work, negative_sampling
from fedrec_tff.learning.algorithms import registry
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 9
_MODEL = TwoTowerConfig(embedding_dim=3, history_length=2, num_blocks=1)
_WEIGHTS = numpy_training.create_weights(_NUM_ITEMS, 3, seed=0)
_TENSORS = tf.nest.map_structure(tf.constant, _WEIGHTS)
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 4)
_ITEMS = [3, 5, 3, 8, 0, 5, 1]
_RATE = 0.3
_SGD = OptimizerConfig("sgd", _RATE)
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}
both_forms = pytest.mark.parametrize("form", list(_BUILDERS))


def client(items, num_padding=0):
    return client_work.ClientData(
        tf.constant([*items, *[0] * num_padding], tf.int32),
        tf.constant(len(items)),
        tf.constant((1, 2)),
    )


def train(form, data, optimizer=_SGD, **work):
    update_fn = _BUILDERS[form](_MODEL, ClientWorkConfig(optimizer, **work), _SAMPLER)
    return update_fn(_TENSORS, data)


def flatten(update):
    """The dense form of an update, as one vector."""
    if isinstance(update, row_sparse.RowSparse):
        items = two_tower.ItemRows(
            tf.scatter_nd(update.ids[:, tf.newaxis], update.value.items.embedding, [_NUM_ITEMS, 3]),
            tf.scatter_nd(update.ids[:, tf.newaxis], update.value.items.bias, [_NUM_ITEMS]),
        )
        update = two_tower.TwoTowerWeights(items, update.value.tower)
    return numpy_training.flatten(update)


@both_forms
def test_fedprox_descends_the_loss_and_the_distance_to_the_broadcast_model(form):
    mu, start = 0.8, numpy_training.flatten(_WEIGHTS)
    vector = start
    for _ in range(3):
        gradient = numpy_training.gradient(
            _MODEL,
            "in_batch_softmax",
            numpy_training.unflatten(vector, _WEIGHTS),
            np.array(_ITEMS),
            np.arange(len(_ITEMS)),
            None,
            np.full(_NUM_ITEMS, -np.log(_NUM_ITEMS)),
        )
        vector = vector - _RATE * (gradient + mu * (vector - start))
    shape = {"loss": "in_batch_softmax", "batch_size": 0, "local_epochs": 3}
    found = train(form, client(_ITEMS, 2), proximal_weight=mu, **shape)
    np.testing.assert_allclose(flatten(found.update), start - vector, rtol=1e-4, atol=1e-5)
    plain = flatten(train(form, client(_ITEMS, 2), **shape).update)
    assert np.abs(flatten(found.update) - plain).max() > 1e-2


def test_a_cap_ends_local_work_after_that_many_steps():
    data = client(_ITEMS, 1)
    # Four batches of at most two make an epoch.
    one_epoch = train("row_sparse", data, batch_size=2, local_epochs=1)
    capped = train("row_sparse", data, batch_size=2, local_epochs=3, max_local_steps=4)
    np.testing.assert_array_equal(flatten(capped.update), flatten(one_epoch.update))
    for cap, seen in ((1, 2), (3, 6), (4, 7), (5, 9), (8, 14), (50, 21)):
        found = train("row_sparse", data, batch_size=2, local_epochs=3, max_local_steps=cap)
        assert found.metrics.num_examples == seen
        assert found.weight == 7.0
    for items in ([4], []):
        few = train("row_sparse", client(items, 2), batch_size=2, max_local_steps=3)
        all_steps = train("row_sparse", client(items, 2), batch_size=2)
        np.testing.assert_array_equal(flatten(few.update), flatten(all_steps.update))
        assert few.metrics.num_examples == len(items)


@both_forms
def test_a_normalised_update_is_that_of_one_step(form):
    for items, num_steps in ((_ITEMS, 8), ([4], 2), ([], 1)):
        data = client(items, 1)
        shape = {"batch_size": 2, "local_epochs": 2}
        plain = flatten(train(form, data, **shape).update)
        found = flatten(train(form, data, normalizes_update=True, **shape).update)
        np.testing.assert_allclose(found, plain / num_steps, rtol=1e-6)


@pytest.mark.parametrize(
    ("momentum", "mu", "num_steps"), itertools.product([0.0, 0.9], [0.0, 0.5], [1, 2, 30])
)
def test_effective_steps_have_the_closed_forms_of_the_paper(momentum, mu, num_steps):
    optimizer = OptimizerConfig("sgd", _RATE, momentum)
    work = ClientWorkConfig(optimizer, proximal_weight=mu, normalizes_update=True)
    algorithm = registry.create_algorithm(work)
    found = algorithm.count_effective_steps(tf.constant(num_steps), tf.constant(_RATE))
    if momentum and mu:
        # No closed form there; the recurrence as a matrix, of what was moved and the velocity.
        step = np.array([[1 - mu * _RATE, momentum], [-mu * _RATE, momentum]])
        expected = sum(np.linalg.matrix_power(step, k) @ [1.0, 1.0] for k in range(num_steps))[0]
    elif momentum:
        rest = momentum * (1 - momentum**num_steps) / (1 - momentum)
        expected = (num_steps - rest) / (1 - momentum)
    elif mu:
        expected = (1 - (1 - mu * _RATE) ** num_steps) / (mu * _RATE)
    else:
        expected = num_steps
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [
        ("num_examples", [0.0, 1.0, 7.0]),
        ("sqrt_num_examples", [0.0, 1.0, np.sqrt(7.0)]),
        ("log_num_examples", [0.0, np.log(2.0), np.log(8.0)]),
        ("uniform", [1.0, 1.0, 1.0]),
    ],
)
def test_a_client_weighs_what_the_rule_says(weighting, weights):
    found = [
        train("row_sparse", client(items, 2), weighting=weighting, local_epochs=2).weight
        for items in ([], [4], _ITEMS)
    ]
    np.testing.assert_allclose(found, weights, rtol=1e-6)


def test_a_client_that_diverged_has_no_weight():
    for weighting in ("num_examples", "uniform"):
        result = train("dense", client(_ITEMS), OptimizerConfig("sgd", 1e38), weighting=weighting)
        assert client_work.reject_non_finite(result).weight == 0.0
