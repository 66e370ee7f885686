import itertools

import fixed_negatives
import numpy as np
import numpy_training
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_work, negative_sampling
from fedrec_tff.learning.algorithms import fedavg
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 9
_DIM = 3
_MODEL = TwoTowerConfig(embedding_dim=_DIM, history_length=2, num_blocks=1, temperature=0.7)
_WEIGHTS = numpy_training.create_weights(_NUM_ITEMS, _DIM, seed=0)
_TENSORS = tf.nest.map_structure(tf.constant, _WEIGHTS)
_TOWER_SIZE = 2 * _DIM * _DIM + 2 * _DIM
_POPULARITY = np.arange(1.0, _NUM_ITEMS + 1) / 45.0
_SGD = OptimizerConfig("sgd", 0.3)

_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}
both_forms = pytest.mark.parametrize("form", list(_BUILDERS))


def _fix_negatives(negatives):
    return fixed_negatives.FixedNegatives(negatives, _POPULARITY)


def _client(items, num_padding=0, seed=(1, 2), pad=0):
    return client_work.ClientData(
        tf.constant([*items, *[pad] * num_padding], tf.int32),
        tf.constant(len(items)),
        tf.constant(seed),
    )


def _densify(update):
    """The dense form of an update, by a loop over its rows."""
    if not isinstance(update, row_sparse.RowSparse):
        return tf.nest.map_structure(np.asarray, update)
    embedding, bias = np.zeros((_NUM_ITEMS, _DIM)), np.zeros(_NUM_ITEMS)
    for i, row in enumerate(update.ids.numpy()):
        embedding[row] += update.value.items.embedding[i].numpy()
        bias[row] += update.value.items.bias[i].numpy()
    tower = tuple(t.numpy() for t in update.value.tower)
    return two_tower.TwoTowerWeights(two_tower.ItemRows(embedding, bias), tower)


def _assert_close(left, right, tolerance=1e-5):
    np.testing.assert_allclose(
        numpy_training.flatten(_densify(left)),
        numpy_training.flatten(_densify(right)),
        rtol=tolerance,
        atol=tolerance,
    )


_CLIENTS = {
    "repeats": _client([3, 5, 3, 3, 8, 0, 5], num_padding=4),
    "one": _client([4], num_padding=2),
    "no_padding": _client([1, 2, 6]),
    "nothing": _client([], num_padding=3),
}


_CASES = [
    *itertools.product(
        ["sampled_softmax", "in_batch_softmax"],
        ["uniform", "popularity"],
        [(0, 1), (0, 3), (3, 1), (3, 3), (16, 2)],
    ),
    *itertools.product(["bce", "bpr", "hinge"], ["uniform"], [(3, 2)]),
]


@pytest.mark.parametrize(("loss", "sampling", "shape"), _CASES)
def test_row_sparse_equals_dense(loss, sampling, shape):
    batch_size, epochs = shape
    sampler = negative_sampling.NegativeSampler(
        _NUM_ITEMS, 6, _POPULARITY if sampling == "popularity" else None
    )
    work = ClientWorkConfig(_SGD, loss, batch_size, epochs)
    dense, sparse = (build(_MODEL, work, sampler) for build in _BUILDERS.values())
    for name, client in _CLIENTS.items():
        expected, found = dense(_TENSORS, client), sparse(_TENSORS, client)
        _assert_close(expected.update, found.update)
        np.testing.assert_allclose(found.weight, expected.weight)
        for field in ("loss_sum", "num_examples", "num_clients", "num_rejected_clients"):
            np.testing.assert_allclose(
                getattr(found.metrics, field), getattr(expected.metrics, field), rtol=1e-4
            )
        size = np.abs(numpy_training.flatten(_densify(expected.update))).max()
        assert (size > 1e-3) == (
            name != "nothing" and not (name == "one" and loss == "in_batch_softmax")
        )


_FORMS = [
    *itertools.product(_BUILDERS, ["sampled_softmax", "in_batch_softmax"], [0, 1]),
    *itertools.product(_BUILDERS, ["bce", "bpr", "hinge"], [0]),
    ("dense", "full_softmax", 0),
]


@pytest.mark.parametrize(("form", "loss", "num_blocks"), _FORMS)
def test_full_batch_steps_equal_gradient_descent_by_finite_differences(form, loss, num_blocks):
    model = TwoTowerConfig(_DIM, history_length=2, num_blocks=num_blocks, temperature=0.7)
    weights = numpy_training.create_weights(_NUM_ITEMS, _DIM, seed=3, num_blocks=num_blocks)
    items, negatives = np.array([3, 5, 3, 8, 0]), np.array([5, 1, 7, 1])
    sampler = _fix_negatives(negatives)
    for epochs in (1, 2):
        work = ClientWorkConfig(_SGD, loss, batch_size=0, local_epochs=epochs)
        result = _BUILDERS[form](model, work, sampler)(
            tf.nest.map_structure(tf.constant, weights), _client(items, num_padding=2)
        )
        vector = numpy_training.flatten(weights)
        for _ in range(epochs):
            vector = vector - 0.3 * numpy_training.gradient(
                model,
                loss,
                numpy_training.unflatten(vector, weights),
                items,
                np.arange(5),
                negatives,
                sampler.log_probabilities,
            )
        np.testing.assert_allclose(
            numpy_training.flatten(_densify(result.update)),
            numpy_training.flatten(weights) - vector,
            rtol=1e-4,
            atol=1e-5,
        )


@both_forms
def test_mini_batches_are_a_pass_in_some_order(form):
    """Three examples in batches of two: one of three ways to leave an example to the end."""
    items, negatives = np.array([3, 5, 8]), np.array([1, 7])
    sampler = _fix_negatives(negatives)
    work = ClientWorkConfig(_SGD, "sampled_softmax", batch_size=2)
    candidates = []
    for last in range(3):
        vector = numpy_training.flatten(_WEIGHTS)
        for batch in (np.delete(np.arange(3), last), np.array([last])):
            vector = vector - 0.3 * numpy_training.gradient(
                _MODEL,
                work.loss,
                numpy_training.unflatten(vector, _WEIGHTS),
                items,
                batch,
                negatives,
                sampler.log_probabilities,
            )
        candidates.append(numpy_training.flatten(_WEIGHTS) - vector)
    client_update = _BUILDERS[form](_MODEL, work, sampler)
    seen = set()
    for seed in range(20):
        client = _client(items, num_padding=1, seed=(seed, 7))
        update = numpy_training.flatten(_densify(client_update(_TENSORS, client).update))
        distances = [np.abs(update - candidate).max() for candidate in candidates]
        assert min(distances) < 1e-5
        seen.add(int(np.argmin(distances)))
    assert seen == {0, 1, 2}


class _CountingOptimizer(tff.learning.optimizers.Optimizer):
    """Leaves the weights as they are and counts."""

    def __init__(self):
        self.num_steps = 0

    def initialize(self, specs):
        return ()

    def next(self, state, weights, gradients):
        self.num_steps += 1
        return state, tf.nest.map_structure(tf.identity, weights)


@both_forms
@pytest.mark.parametrize(("batch_size", "epochs"), itertools.product([0, 1, 2, 5, 16], [1, 3]))
def test_steps_and_loss_sum_without_learning(form, batch_size, epochs, monkeypatch):
    items, negatives = np.array([3, 5, 3, 8, 0]), np.array([5, 1, 7, 1])
    sampler = _fix_negatives(negatives)
    optimizer = _CountingOptimizer()
    monkeypatch.setattr(fedavg.optimizers, "create_optimizer", lambda config: optimizer)
    work = ClientWorkConfig(_SGD, "sampled_softmax", batch_size, epochs)
    result = _BUILDERS[form](_MODEL, work, sampler)(_TENSORS, _client(items, num_padding=3))
    assert optimizer.num_steps == epochs * int(np.ceil(5 / (batch_size or 5)))
    losses = numpy_training.example_losses(
        _MODEL, work.loss, _WEIGHTS, items, np.arange(5), negatives, sampler.log_probabilities
    )
    np.testing.assert_allclose(result.metrics.loss_sum, epochs * losses.sum(), rtol=1e-5)
    assert result.metrics.num_examples == 5.0 * epochs
    assert result.metrics.num_clients == 1.0
    assert result.metrics.num_rejected_clients == 0.0
    assert result.weight == 5.0


@both_forms
def test_what_padding_holds_does_not_matter(form):
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 4)
    for loss, batch_size in (("sampled_softmax", 0), ("in_batch_softmax", 3)):
        client_update = _BUILDERS[form](_MODEL, ClientWorkConfig(_SGD, loss, batch_size), sampler)
        zeros = client_update(_TENSORS, _client([3, 5, 8, 2], num_padding=3, pad=0))
        others = client_update(_TENSORS, _client([3, 5, 8, 2], num_padding=3, pad=7))
        _assert_close(zeros.update, others.update, tolerance=1e-6)


@both_forms
def test_only_touched_rows_change(form):
    work = ClientWorkConfig(_SGD, batch_size=2, local_epochs=2)
    client_update = _BUILDERS[form](_MODEL, work, _fix_negatives([1, 7, 1]))
    update = _densify(client_update(_TENSORS, _client([3, 5, 3], num_padding=2)).update)
    touched = np.flatnonzero(np.abs(update.items.embedding).max(axis=1))
    np.testing.assert_array_equal(touched, [1, 3, 5, 7])
    np.testing.assert_array_equal(np.flatnonzero(update.items.bias), [1, 3, 5, 7])


@both_forms
def test_upload_bytes_by_hand(form):
    client_update = _BUILDERS[form](_MODEL, ClientWorkConfig(_SGD), _fix_negatives([1, 7, 1, 3]))
    result = client_update(_TENSORS, _client([3, 5, 3, 0], num_padding=5))
    # Rows 0, 1, 3, 5 and 7, each an id, an embedding of three and a bias; and the tower.
    expected = {
        "dense": 4 * (_NUM_ITEMS * (_DIM + 1) + _TOWER_SIZE),
        "row_sparse": 5 * 4 * (_DIM + 2) + 4 * _TOWER_SIZE,
    }
    assert result.metrics.upload_bytes == expected[form]


def _spoil(value, where):
    """The weights with one tower weight or one item's bias replaced."""
    spoiled = tf.nest.map_structure(np.copy, _WEIGHTS)
    target = spoiled.tower[1] if where == "tower" else spoiled.items.bias
    target[0] = value
    return tf.nest.map_structure(tf.constant, spoiled)


@both_forms
@pytest.mark.parametrize("where", ["tower", "item"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_replaced_by_zero(form, where, value):
    work = ClientWorkConfig(_SGD, batch_size=2)
    client_update = _BUILDERS[form](_MODEL, work, _fix_negatives([0, 1]))
    sent = client_update(_spoil(value, where), _client([3, 0, 4], num_padding=1))
    result = client_work.reject_non_finite(sent)
    np.testing.assert_array_equal(numpy_training.flatten(_densify(result.update)), 0.0)
    assert result.weight == 0.0
    assert result.metrics.num_rejected_clients == 1.0
    assert result.metrics.num_clients == 1.0
    assert result.metrics.num_examples == 0.0
    assert result.metrics.loss_sum == 0.0


@both_forms
def test_a_finite_update_whose_norm_overflows_is_replaced_by_zero(form):
    """Its squared norm is infinite in float32, and clipping by it would make NaN of the sum."""
    work = ClientWorkConfig(OptimizerConfig("sgd", 1e25), batch_size=0)
    client_update = _BUILDERS[form](_MODEL, work, _fix_negatives([0, 1]))
    result = client_work.reject_non_finite(client_update(_TENSORS, _client([3, 0, 4])))
    np.testing.assert_array_equal(numpy_training.flatten(_densify(result.update)), 0.0)
    assert result.metrics.num_rejected_clients == 1.0
    # A large one is kept: clipping is the aggregator's business.
    work = ClientWorkConfig(OptimizerConfig("sgd", 1e12), batch_size=0)
    client_update = _BUILDERS[form](_MODEL, work, _fix_negatives([0, 1]))
    result = client_work.reject_non_finite(client_update(_TENSORS, _client([3, 0, 4])))
    assert np.abs(numpy_training.flatten(_densify(result.update))).max() > 1e9
    assert result.metrics.num_rejected_clients == 0.0


@both_forms
@pytest.mark.parametrize("batch_size", [0, 2])
def test_updates_are_a_function_of_the_seed(form, batch_size):
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 4)
    client_update = _BUILDERS[form](_MODEL, ClientWorkConfig(_SGD, batch_size=batch_size), sampler)

    def train(seed):
        client = _client([3, 5, 8, 2, 6], num_padding=1, seed=seed)
        return numpy_training.flatten(_densify(client_update(_TENSORS, client).update))

    first = train((1, 2))
    np.testing.assert_array_equal(first, train((1, 2)))
    for other in ((1, 3), (2, 2)):
        assert np.abs(first - train(other)).max() > 1e-3


@pytest.mark.parametrize(
    ("form", "loss"),
    [
        ("row_sparse", "sampled_softmax"),
        ("row_sparse", "in_batch_softmax"),
        pytest.param("dense", "sampled_softmax", marks=pytest.mark.slow),
    ],
)
def test_xla_equals_tensorflow(form, loss):
    """The random draws too: popular negatives and the shuffle."""
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 6, _POPULARITY)
    work = ClientWorkConfig(_SGD, loss, batch_size=3, local_epochs=2)
    client_update = _BUILDERS[form](_MODEL, work, sampler)
    compiled = tf.function(client_update, jit_compile=True, autograph=False)
    for seed in ((1, 2), (3, 4)):
        client = _client([3, 5, 3, 3, 8, 0, 5], num_padding=4, seed=seed)
        plain, fast = client_update(_TENSORS, client), compiled(_TENSORS, client)
        _assert_close(plain.update, fast.update)
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain.metrics, fast.metrics
        )


@pytest.mark.parametrize(
    ("config", "keras"),
    [
        (OptimizerConfig("sgd", 0.1, momentum=0.9), tf.keras.optimizers.SGD(0.1, momentum=0.9)),
        (OptimizerConfig("adam", 0.1, epsilon=0.01), tf.keras.optimizers.Adam(0.1, epsilon=0.01)),
    ],
    ids=["momentum", "adam"],
)
def test_client_optimizers_with_a_state_equal_keras(config, keras):
    items, negatives = np.array([3, 5, 8]), np.array([1, 7])
    sampler = _fix_negatives(negatives)
    work = ClientWorkConfig(config, batch_size=0, local_epochs=3)
    client_update = client_work.build_dense_client_update(_MODEL, work, sampler)
    update = client_update(_TENSORS, _client(items, num_padding=1)).update

    variable = tf.Variable(numpy_training.flatten(_WEIGHTS))
    for _ in range(3):
        gradient = numpy_training.gradient(
            _MODEL,
            work.loss,
            numpy_training.unflatten(variable.numpy(), _WEIGHTS),
            items,
            np.arange(3),
            negatives,
            sampler.log_probabilities,
        )
        keras.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(
        numpy_training.flatten(update),
        numpy_training.flatten(_WEIGHTS) - variable.numpy(),
        rtol=1e-3,
        atol=1e-5,
    )
