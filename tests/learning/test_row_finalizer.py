"""The server's step on sent rows: that on the whole table, or lazy Adam written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.execution import compiled, native
from fedrec_tff.learning import client_work, optimizers, row_finalizer, scheduled_finalizer
from fedrec_tff.learning.config import OptimizerConfig
from fedrec_tff.models import two_tower

# As many rows as the tower's tensor has, which is none of the table's.
_ROWS, _DIM = 5, 3
_RATE, _TAU = 0.1, 0.01
_ROUNDS = ([0, 3], [3], [1, 3, 4], [], [0])


def _weights(rng, rows=_ROWS):
    return two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            rng.normal(size=(rows, _DIM)).astype(np.float32),
            rng.normal(size=rows).astype(np.float32),
        ),
        (rng.normal(size=(_ROWS, 2)).astype(np.float32),),
    )


def _updates():
    rng = np.random.default_rng(1)
    return [
        row_sparse.RowSparse(np.array(ids, np.int32), _weights(rng, len(ids))) for ids in _ROUNDS
    ]


def _densify(update):
    embedding, bias = np.zeros([_ROWS, _DIM], np.float32), np.zeros([_ROWS], np.float32)
    embedding[update.ids], bias[update.ids] = update.value.items
    return two_tower.TwoTowerWeights(two_tower.ItemRows(embedding, bias), update.value.tower)


def _begin(config, is_row_sparse, *options):
    """A finalizer and the weights that it begins with."""
    start = tff.learning.models.ModelWeights(_weights(np.random.default_rng(0)), ())
    types = tf.nest.map_structure(lambda w: tff.TensorType(np.float32, w.shape), start.trainable)
    weights_type = tff.to_type(tff.learning.models.ModelWeights(types, ()))
    update_type = weights_type.trainable
    if is_row_sparse:
        update_type = client_work.create_row_sparse_type(weights_type)
    finalizer = scheduled_finalizer.build_finalizer(
        optimizers.create_optimizer(config), weights_type, update_type, *options
    )
    return finalizer, start


def _run(config, updates, is_row_sparse, rates=None, moves_all_rows=False):
    """The weights after each round, and the measurements."""
    finalizer, start = _begin(config, is_row_sparse, rates, moves_all_rows)
    state, weights, found, measured = finalizer.initialize(), start, [], []
    for update in updates:
        output = finalizer.next(state, weights, update if is_row_sparse else _densify(update))
        state, weights = output.state, output.result
        found.append(_flatten(weights.trainable))
        measured.append(output.measurements["update_non_finite"])
    return np.array(found), measured


def _flatten(weights):
    return np.concatenate([np.ravel(w) for w in (*weights.items, *weights.tower)])


@pytest.fixture(scope="module", autouse=True)
def context():
    with compiled.CompiledContext(compiled.CompiledOptions(updates_in_place=True)).install():
        yield


@pytest.fixture(autouse=True, params=[2, row_finalizer._ROWS_AT_ONCE])
def rows_at_once(request, monkeypatch):
    monkeypatch.setattr(row_finalizer, "_ROWS_AT_ONCE", request.param)


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
@pytest.mark.parametrize("rates", [None, np.array([0.1, 0.5, 0.2], np.float32)])
def test_an_optimizer_without_memory_of_directions_steps_as_on_the_whole_table(name, rates):
    config = OptimizerConfig(name, _RATE, epsilon=_TAU)
    # A round without rows is nobody's: TFF's finalizer would take a step of zero.
    updates = [update for update in _updates() if len(update.ids)]
    found, _ = _run(config, updates, True, rates)
    expected, _ = _run(config, updates, False, rates)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "yogi", "sgd"])
def test_rows_that_nobody_sent_are_moved_as_on_the_whole_table(name):
    config = OptimizerConfig(name, _RATE, momentum=0.9, epsilon=_TAU)
    updates = _updates()
    updates[1].value.tower[0][0, 0] = np.nan
    found, measured = _run(config, updates, True, moves_all_rows=True)
    expected, expected_measured = _run(config, updates, False)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert measured == expected_measured == [0, 1, 0, 0, 0]


def test_lazy_adam_by_hand():
    """Kingma and Ba 2015, each row's moments in the rounds in which it is sent."""
    weights = _weights(np.random.default_rng(0))
    updates = _updates()
    tensors = [np.array(w, np.float64) for w in (*weights.items, *weights.tower)]
    m, v = [np.zeros_like(t) for t in tensors], [np.zeros_like(t) for t in tensors]
    expected, step = [], 0
    for update in updates:
        gradients = (*update.value.items, *update.value.tower)
        if len(update.ids):
            step += 1
            rate = _RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for index, gradient in enumerate(gradients):
                rows = update.ids if index < 2 else slice(None)
                m[index][rows] = 0.9 * m[index][rows] + 0.1 * gradient
                v[index][rows] = 0.999 * v[index][rows] + 0.001 * np.square(gradient)
                moved = rate * m[index][rows] / (np.sqrt(v[index][rows]) + _TAU)
                tensors[index][rows] -= moved
        expected.append(np.concatenate([t.ravel() for t in tensors]))
    found, measured = _run(OptimizerConfig("lazy_adam", _RATE, epsilon=_TAU), updates, True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert measured == [0, 0, 0, 1, 0]


def test_a_round_that_is_not_finite_changes_nothing():
    good, _, bad, _, last = _updates()
    bad.value.items.bias[1] = np.nan
    config = OptimizerConfig("lazy_adam", _RATE)
    found, measured = _run(config, [good, bad, last], True)
    without, _ = _run(config, [good, last], True)
    assert measured == [0, 1, 0]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], without[1])


def _run_rounds(config, updates, is_row_sparse):
    """What all rounds leave, and where the item table lies after each: rounds with a client."""
    finalizer, start = _begin(config, is_row_sparse)

    @tff.federated_computation(
        *finalizer.next.type_signature.parameter, tff.FederatedType(np.int32, tff.CLIENTS)
    )
    def next_fn(state, weights, update, clients):
        output = finalizer.next(state, weights, update)
        return output.state, output.result, tff.federated_sum(clients)

    state, weights, addresses = finalizer.initialize(), start, []
    for update in updates:
        update = update if is_row_sparse else _densify(update)
        state, weights, _ = next_fn(state, weights, update, [np.int32(1)])
        table = weights.trainable.items.embedding
        addresses.append(np.asarray(table).__array_interface__["data"][0])
    leaves = [*tf.nest.flatten(state), *tf.nest.flatten(weights)]
    return np.concatenate([np.ravel(leaf) for leaf in leaves]), addresses


@pytest.mark.parametrize(
    ("name", "is_row_sparse"),
    [("adagrad", False), ("lazy_adam", True), pytest.param("sgd", True, marks=pytest.mark.slow)],
)
def test_rounds_step_in_place_as_in_the_native_runtime(monkeypatch, name, is_row_sparse):
    monkeypatch.setattr(scheduled_finalizer, "_MANY_NUMBERS", 1)
    config = OptimizerConfig(name, _RATE, epsilon=_TAU)
    updates = _updates()
    updates[2].value.items.bias[0] = np.inf
    found, addresses = _run_rounds(config, updates, is_row_sparse)
    with native.native_context():
        expected, _ = _run_rounds(config, updates, is_row_sparse)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(set(addresses)) == 1
