import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.datasets import feature_values, sequences
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.learning import client_work, negative_sampling
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import scoring, side_features, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 6
_MODEL = TwoTowerConfig(4, 3, 0, item_feature_buckets=5, user_feature_buckets=3)
# Two columns: one of up to two values, one of one.
_ITEMS = FeatureValues(
    np.array([[0, 1, 4], [1, -1, -1], [-1, -1, 4], [2, 3, 4], [-1, -1, -1], [0, -1, 4]], np.int32),
    (2, 1),
)
_USERS = FeatureValues(np.array([[0, 2], [1, -1]], np.int32), (1, 1))


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return tf.nest.map_structure(
        lambda w: tf.constant(rng.normal(size=w.shape), tf.float32),
        two_tower.create_initial_weights(_MODEL, _NUM_ITEMS, 0),
    )


def _add_by_hand(weights):
    """Every item's embedding and bias, as one array [items, dim + 1], item by item."""
    table = weights.tower[-2].numpy()
    own = np.concatenate([weights.items.embedding, weights.items.bias[:, None]], axis=1)
    return own + [
        sum(
            (table[column[column >= 0]].mean(axis=0) if (column >= 0).any() else np.zeros(5))
            for column in (row[:2], row[2:])
        )
        for row in _ITEMS.index
    ]


def test_an_item_is_its_own_row_and_the_mean_of_each_column(weights):
    rows = side_features.add_item_features(_MODEL, weights, _ITEMS.index, _ITEMS.widths)
    by_hand = _add_by_hand(weights)
    np.testing.assert_allclose(rows.embedding, by_hand[:, :-1], rtol=1e-5)
    np.testing.assert_allclose(rows.bias, by_hand[:, -1], rtol=1e-5)


def test_baked_weights_score_as_features_and_users_say(weights):
    history = sequences.from_rows([[0, 3], [5]])
    history = sequences.Sequences(history.items, history.offsets, np.array([1, 0]))
    scores = scoring.build_score_fn(_MODEL, weights, _ITEMS, _USERS)(history)
    items, users = _add_by_hand(weights), weights.tower[-1].numpy()
    queries = np.stack(
        [items[[0, 3], :-1].mean(axis=0) + users[1], items[5, :-1] + users[0] + users[2]]
    )
    np.testing.assert_allclose(scores, queries @ items[:, :-1].T + items[:, -1], rtol=1e-4)


def test_an_unknown_user_is_scored_without_features(weights):
    history = sequences.from_rows([[0, 3]])
    items = _add_by_hand(weights)
    scores = scoring.build_score_fn(_MODEL, weights, _ITEMS, _USERS)(history)
    query = items[[0, 3], :-1].mean(axis=0)
    np.testing.assert_allclose(scores[0], items[:, :-1] @ query + items[:, -1], rtol=1e-4)


def test_a_new_item_lies_where_its_features_do(weights):
    new = FeatureValues(np.array([[2, 3, 4]], np.int32), (2, 1))
    rows = side_features.embed_new_items(_MODEL, weights, new)
    table = weights.tower[-2].numpy()
    expected = table[[2, 3]].mean(axis=0) + table[4]
    np.testing.assert_allclose(rows.embedding[0], expected[:-1], rtol=1e-5)
    median = np.median(weights.items.bias)
    np.testing.assert_allclose(rows.bias[0], median + expected[-1], rtol=1e-5)


def _build_updates(loss="sampled_softmax"):
    work = ClientWorkConfig(OptimizerConfig("sgd", 0.5), loss=loss, batch_size=2)
    arguments = _MODEL, work, negative_sampling.NegativeSampler(_NUM_ITEMS, 3), _ITEMS
    return (
        tf.function(client_work.build_dense_client_update(*arguments), autograph=False),
        tf.function(
            client_work.build_row_sparse_client_update(*arguments),
            jit_compile=True,
            autograph=False,
        ),
    )


def test_rows_alone_train_as_the_whole_table_does_and_reach_all_tables(weights):
    client = client_work.ClientData(
        tf.constant([1, 3, 5, 0, 0]), tf.constant(3), tf.constant([1, 2]), tf.constant([0, -1])
    )
    dense, sparse = (update(weights, client).update for update in _build_updates())
    for ours, other in zip(sparse.value.tower, dense.tower, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=1e-6)
    scattered = tf.scatter_nd(
        sparse.ids[:, tf.newaxis], sparse.value.items.embedding, [_NUM_ITEMS, 4]
    )
    np.testing.assert_allclose(scattered, dense.items.embedding, rtol=1e-4, atol=1e-6)
    users = np.abs(dense.tower[-1].numpy()).sum(axis=1)
    assert users[0] > 0.0
    assert not users[1:].any()


def test_a_user_without_features_sends_nothing_for_them(weights):
    client = client_work.ClientData(
        tf.constant([1, 3, 5]), tf.constant(3), tf.constant([1, 2]), tf.constant([-1, -1])
    )
    update = _build_updates()[0](weights, client).update
    assert not update.tower[-1].numpy().any()


# Items of which an embedding is made in another way.

_MADE = {
    "low_rank": TwoTowerConfig(4, 3, 0, item_embedding="low_rank", item_rank=2),
    "projection": TwoTowerConfig(4, 3, 0, item_embedding="projection"),
    "features": TwoTowerConfig(4, 3, 0, item_feature_buckets=5, item_embedding="features"),
    "hashed": TwoTowerConfig(
        4, 3, 0, item_feature_buckets=7, user_feature_buckets=3, item_embedding="hashed"
    ),
}
_HASHES = feature_values.hash_ids([f"item {i}" for i in range(_NUM_ITEMS)], 7)


def _create_made(name):
    """Random weights, the features to hand over, and each item's embedding and bias by hand."""
    model, rng = _MADE[name], np.random.default_rng(1)
    weights = tf.nest.map_structure(
        lambda w: tf.constant(rng.normal(size=w.shape), tf.float32),
        two_tower.create_initial_weights(model, _NUM_ITEMS, 0),
    )
    (own, bias), tower = (np.asarray(part) for part in weights.items), weights.tower
    if name in ("low_rank", "projection"):
        return model, weights, None, np.column_stack([own @ tower[0].numpy(), bias])
    values, table = (_HASHES, tower[-2]) if name == "hashed" else (_ITEMS, tower[-1])
    columns = [(0,), (1,)] if name == "hashed" else [(0, 1), (2,)]
    expected = np.zeros([_NUM_ITEMS, 5])
    expected[:, -1] = bias
    for item, row in enumerate(values.index):
        for column in columns:
            there = [row[slot] for slot in column if row[slot] >= 0]
            expected[item] += table.numpy()[there].mean(axis=0) if there else 0.0
    return model, weights, values, expected


@pytest.mark.parametrize(
    ("name", "num_weights"),
    [
        ("low_rank", 6 * 3 + 2 * 4),
        ("projection", 6 * 5 + 4 * 4),
        ("features", 6 + 5 * 5),
        ("hashed", 6 + 7 * 5 + 3 * 4),
    ],
)
def test_items_are_made_of_what_the_shape_says(name, num_weights):
    model, weights, values, by_hand = _create_made(name)
    assert model.num_weights(_NUM_ITEMS) == num_weights
    assert sum(tf.size(w).numpy() for w in tf.nest.flatten(weights)) == num_weights
    index, widths = (None, ()) if values is None else (values.index, values.widths)
    rows = side_features.add_item_features(model, weights, index, widths)
    np.testing.assert_allclose(np.column_stack(rows), by_hand, rtol=1e-4, atol=1e-6)
    baked = side_features.bake(model, weights, values)
    np.testing.assert_allclose(np.column_stack(baked.items), by_hand, rtol=1e-4, atol=1e-6)
    expected = two_tower.create_initial_weights(model.baked, _NUM_ITEMS, 0)
    assert [w.shape for w in tf.nest.flatten(baked)] == [w.shape for w in tf.nest.flatten(expected)]
    scores = scoring.build_score_fn(model, weights, values)(sequences.from_rows([[0, 3]]))
    query = by_hand[[0, 3], :-1].mean(axis=0)
    np.testing.assert_allclose(scores[0], by_hand[:, :-1] @ query + by_hand[:, -1], rtol=1e-4)


@pytest.mark.parametrize("name", _MADE)
def test_untrained_items_differ_from_one_another(name):
    """Or no gradient would ever tell them apart."""
    model = _MADE[name]
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, 0)
    values = _HASHES if name == "hashed" else _ITEMS
    made = side_features.bake(model, weights, values).items.embedding.numpy()
    # The last item has no features at all.
    rows = made[:-1] if name == "features" else made
    assert np.linalg.norm(rows - rows[::-1], axis=1)[:2].min() > 0.05


@pytest.mark.parametrize(
    "name",
    [
        "hashed",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("low_rank", "projection", "features")
        ),
    ],
)
def test_clients_send_the_same_in_both_forms_and_nothing_of_frozen_items(name):
    model, weights, values, _ = _create_made(name)
    work = ClientWorkConfig(OptimizerConfig("sgd", 0.5), batch_size=2)
    arguments = model, work, negative_sampling.NegativeSampler(_NUM_ITEMS, 3), values
    client = client_work.ClientData(
        tf.constant([3, 1, 4, 1, 0, 0]),
        tf.constant(4),
        tf.constant([5, 6]),
        tf.constant([2]) if model.user_feature_buckets else (),
    )
    dense = tf.function(client_work.build_dense_client_update(*arguments))(weights, client).update
    sparse = tf.function(client_work.build_row_sparse_client_update(*arguments), jit_compile=True)(
        weights, client
    ).update
    for first, second in zip(dense.tower, sparse.value.tower, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
        assert np.abs(first).max() > 1e-3
    found = np.zeros([_NUM_ITEMS, model.table_width + 1])
    np.add.at(found, sparse.ids.numpy(), np.column_stack(sparse.value.items))
    np.testing.assert_allclose(np.column_stack(dense.items), found, rtol=1e-4, atol=1e-5)
    assert np.any(found) == (name == "low_rank")


def test_the_matrix_has_the_gradient_of_finite_differences():
    """One step over all examples, so that the update is the gradient."""
    model, weights, *_ = _create_made("low_rank")
    work = ClientWorkConfig(OptimizerConfig("sgd", 1.0), batch_size=0)
    sampler = negative_sampling.NegativeSampler(_NUM_ITEMS, 3)
    update_fn = tf.function(client_work.build_dense_client_update(model, work, sampler))
    client = client_work.ClientData(tf.constant([3, 1, 4]), tf.constant(3), tf.constant([5, 6]))
    found = update_fn(weights, client).update.tower[0].numpy()

    def loss(matrix):
        moved = weights._replace(tower=(tf.constant(matrix, tf.float32),))
        metrics = update_fn(moved, client).metrics
        return metrics.loss_sum.numpy() / metrics.num_examples.numpy()

    matrix, step = weights.tower[0].numpy(), 1e-2
    for place in [(0, 0), (1, 3)]:
        change = np.zeros_like(matrix)
        change[place] = step
        slope = (loss(matrix + change) - loss(matrix - change)) / (2 * step)
        assert found[place] == pytest.approx(slope, rel=2e-2, abs=1e-3)
