"""Client work with other query towers than the mean, against one history after the other."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_work, negative_sampling
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import formulas

_CAUSAL_TOWERS = ("gru", "attention", "attention_and_mean")

_NUM_ITEMS = 9
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 6)
_ITEMS = [3, 5, 3, 8, 0, 1, 7]
_BUILDERS = (
    client_work.build_dense_client_update,
    client_work.build_row_sparse_client_update,
)


def _model(name, history_length=4, dropout=0.0):
    return TwoTowerConfig(
        4,
        history_length,
        num_blocks=1,
        query_tower=name,
        num_heads=2 if name.startswith("attention") else 1,
        dropout=dropout,
    )


def _weights(model):
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, seed=1)
    return tf.nest.map_structure(
        lambda t: t + 0.1 * tf.random.stateless_normal(t.shape, [5, t.shape[0]]), weights
    )


def _client(items, num_padding=3, seed=(1, 2)):
    padded = tf.constant([*items, *[0] * num_padding], tf.int32)
    return client_work.ClientData(padded, tf.constant(len(items)), tf.constant(seed))


def _densify(update):
    if not isinstance(update, row_sparse.RowSparse):
        return update
    items = two_tower.ItemRows(
        *(
            tf.scatter_nd(update.ids[:, tf.newaxis], rows, [_NUM_ITEMS, *rows.shape[1:]])
            for rows in update.value.items
        )
    )
    return two_tower.TwoTowerWeights(items, update.value.tower)


def _update(build, model, client, epochs=1, loss="sampled_softmax", rate=0.3):
    work = ClientWorkConfig(OptimizerConfig("sgd", rate), loss, 0, epochs)
    result = build(model, work, _SAMPLER)(_weights(model), client)
    return result, [t.numpy() for t in tf.nest.flatten(_densify(result.update))]


def _gradient(model, client, items, first=0):
    """Of the mean loss over the positions, each encoded by itself from what came before."""
    weights = _weights(model)
    negatives = _SAMPLER.sample(
        tf.random.experimental.stateless_fold_in(client.seed, 0, alg="philox")
    )
    length = model.history_length
    with tf.GradientTape() as tape:
        tape.watch(weights)
        total = 0.0
        for position in range(first, len(items)):
            history = items[max(0, position - length) : position]
            padded = np.array([[*history, *[0] * (length - len(history))]], np.int32)
            mask = (np.arange(length) < len(history)).astype(np.float32)[np.newaxis]
            query = tower_encoding.encode_histories(
                model, weights.items.embedding, weights.tower, padded, mask
            )
            own = tf.constant([items[position]])
            loss = formulas.sampled_softmax(
                two_tower.pair_logits(query, two_tower.gather_items(weights.items, own), 1.0),
                two_tower.all_logits(query, two_tower.gather_items(weights.items, negatives), 1.0),
                own,
                negatives,
                tf.zeros([1]),
                tf.zeros([len(negatives)]),
            )
            total += loss[0] / (len(items) - first)
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, tf.nest.flatten(weights))]


def test_a_set_predicts_each_item_from_all_others():
    model = TwoTowerConfig(4, 5, 1, temperature=0.5, query_tower="set", similarity="cosine")
    items = _ITEMS[:5]
    client, weights = _client(items), _weights(model)
    negatives = _SAMPLER.sample(
        tf.random.experimental.stateless_fold_in(client.seed, 0, alg="philox")
    )
    with tf.GradientTape() as tape:
        tape.watch(weights)
        total = 0.0
        for own in items:
            others = [item for item in items if item != own]
            padded = np.zeros([1, model.history_length], np.int32)
            padded[0, : len(others)] = others
            mask = (np.arange(model.history_length) < len(others)).astype(np.float32)[np.newaxis]
            query = tower_encoding.encode_histories(
                model, weights.items.embedding, weights.tower, padded, mask
            )
            rows = tf.math.l2_normalize(weights.items.embedding, axis=1)
            scores = tf.linalg.matvec(rows, tf.math.l2_normalize(query, axis=1)[0])
            logits = scores / model.temperature + weights.items.bias
            kept = [own, *(int(n) for n in negatives if int(n) != own)]
            total += (tf.reduce_logsumexp(tf.gather(logits, kept)) - logits[own]) / len(items)
    expected = [
        tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, tf.nest.flatten(weights))
    ]
    for build in _BUILDERS:
        _, update = _update(build, model, client)
        for found, gradient in zip(update, expected, strict=True):
            np.testing.assert_allclose(found, 0.3 * gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("build", _BUILDERS)
@pytest.mark.parametrize("name", ["recency", *_CAUSAL_TOWERS])
def test_one_step_follows_the_gradient_over_all_positions(name, build):
    model, client = _model(name), _client(_ITEMS[:5])
    result, update = _update(build, model, client)
    for found, expected in zip(update, _gradient(model, client, _ITEMS[:5]), strict=True):
        np.testing.assert_allclose(found, 0.3 * expected, rtol=1e-3, atol=1e-5)
    assert result.weight == result.metrics.num_examples == 5.0


@pytest.mark.parametrize(
    ("name", "build"),
    [
        (_CAUSAL_TOWERS[1], _BUILDERS[1]),
        pytest.param(_CAUSAL_TOWERS[0], _BUILDERS[0], marks=pytest.mark.slow),
    ],
)
def test_a_long_sequence_gives_a_stretch_of_it_whose_beginning_is_no_example(name, build):
    model, seen = _model(name), set()
    # Five of seven items: three places to begin, and only the first has a known beginning.
    stretches = {start: _ITEMS[start : start + 5] for start in range(3)}
    for number in range(6):
        client = _client(_ITEMS, num_padding=2, seed=(number, 2))
        result, update = _update(build, model, client)
        distances = []
        for start, items in stretches.items():
            expected = _gradient(model, client, items, first=int(start > 0))
            gaps = [np.abs(u - 0.3 * e).max() for u, e in zip(update, expected, strict=True)]
            distances.append(max(gaps))
        assert min(distances) < 1e-5
        start = int(np.argmin(distances))
        assert result.weight == (5.0 if start == 0 else 4.0)
        seen.add(start)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("name", _CAUSAL_TOWERS)
def test_row_sparse_and_dense_drop_the_same_activations(name):
    model, client = _model(name, dropout=0.5), _client(_ITEMS[:5])
    dense, sparse = (_update(build, model, client, epochs=3)[1] for build in _BUILDERS)
    plain = _update(_BUILDERS[0], _model(name), client, epochs=3)[1]
    for left, right in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(dense, plain, strict=True)) > 1e-3
