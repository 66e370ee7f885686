import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.datasets import sequences
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
