import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from scipy import special

from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import retrieval_model, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 7
_CONFIG = TwoTowerConfig(embedding_dim=3, history_length=4, num_blocks=1, temperature=0.5)


def _random_weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(3, 3), (3,), (3, 3), (3,)]
    return two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            rng.normal(size=(_NUM_ITEMS, 3)).astype(np.float32),
            rng.normal(size=_NUM_ITEMS).astype(np.float32),
        ),
        tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes),
    )


def _features(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "history": rng.integers(_NUM_ITEMS, size=(6, 4)).astype(np.int32),
        "history_mask": (rng.random((6, 4)) < 0.7).astype(np.float32),
        "item_index": np.array([2, 5, 2, 0, 5, 1], np.int32),
    }


def _numpy_scores(weights, features):
    """Scores of each row's query against the whole catalogue."""
    kernel_in, bias_in, kernel_out, bias_out = weights.tower
    mask = features["history_mask"]
    total = (weights.items.embedding[features["history"]] * mask[:, :, np.newaxis]).sum(axis=1)
    query = total / np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    query = query + np.maximum(query @ kernel_in + bias_in, 0.0) @ kernel_out + bias_out
    return query @ weights.items.embedding.T / _CONFIG.temperature + weights.items.bias


def _item_embedding(model):
    (variable,) = [v for v in model.trainable_variables if v.shape == (_NUM_ITEMS, 3)]
    return variable


def test_is_a_tfrs_model_that_scores_the_catalogue():
    weights, features = _random_weights(), _features()
    model = retrieval_model.TwoTowerRetrievalModel(_CONFIG, weights)
    assert isinstance(model, tfrs.Model)
    np.testing.assert_allclose(
        model(features), _numpy_scores(weights, features), rtol=1e-4, atol=1e-5
    )


def test_loss_equals_numpy_in_batch_softmax():
    weights, features = _random_weights(), _features()
    model = retrieval_model.TwoTowerRetrievalModel(_CONFIG, weights)
    items = features["item_index"]
    scores = _numpy_scores(weights, features)[:, items]
    rows = []
    for i, item in enumerate(items):
        # Items 2 and 5 are there twice: another row's equal item is no negative.
        candidates = [scores[i, i]] + [
            s for s, j in zip(scores[i], items, strict=True) if j != item
        ]
        rows.append(special.logsumexp(candidates) - scores[i, i])
    np.testing.assert_allclose(model.compute_loss(features), np.mean(rows), rtol=1e-5)


def test_items_have_what_is_known_of_them():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(5, 4)).astype(np.float32)
    # Two columns: one value each, and up to two.
    values = FeatureValues(
        np.array([[i % 5, (2 * i) % 5, 3 if i % 2 else -1] for i in range(_NUM_ITEMS)], np.int32),
        (1, 2),
    )
    weights, features = _random_weights(), _features()
    config = dataclasses.replace(_CONFIG, item_feature_buckets=5)
    model = retrieval_model.TwoTowerRetrievalModel(
        config, weights._replace(tower=(*weights.tower, table)), values
    )
    added = np.stack(
        [
            table[row[0]] + np.mean([table[value] for value in row[1:] if value >= 0], axis=0)
            for row in values.index
        ]
    )
    embedding, bias = weights.items
    known = two_tower.ItemRows(embedding + added[:, :-1], bias + added[:, -1])
    plain = weights._replace(items=known)
    np.testing.assert_allclose(model(features), _numpy_scores(plain, features), rtol=1e-4)
    expected = retrieval_model.TwoTowerRetrievalModel(_CONFIG, plain).compute_loss(features)
    np.testing.assert_allclose(model.compute_loss(features), expected, rtol=1e-5)

    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    model.fit(tf.data.Dataset.from_tensors(features), verbose=0)
    assert np.abs(model.current_weights.tower[-1] - table).max() > 1e-4


def test_current_weights_round_trip():
    weights = _random_weights()
    model = retrieval_model.TwoTowerRetrievalModel(_CONFIG, weights)
    tf.nest.map_structure(np.testing.assert_array_equal, model.current_weights, weights)
    assert len(model.trainable_variables) == 6
    _item_embedding(model).assign_add(tf.ones([_NUM_ITEMS, 3]))
    again = retrieval_model.TwoTowerRetrievalModel(_CONFIG, model.current_weights)
    np.testing.assert_allclose(
        again.current_weights.items.embedding, weights.items.embedding + 1.0, rtol=1e-6
    )


def test_current_weights_are_a_snapshot():
    model = retrieval_model.TwoTowerRetrievalModel(_CONFIG, _random_weights())
    before = model.current_weights
    _item_embedding(model).assign(tf.zeros([_NUM_ITEMS, 3]))
    np.testing.assert_array_equal(before.items.embedding, _random_weights().items.embedding)


def test_fit_learns_what_comes_next():
    num_items = 12
    config = TwoTowerConfig(embedding_dim=8, history_length=2, num_blocks=1)
    model = retrieval_model.TwoTowerRetrievalModel(
        config, two_tower.create_initial_weights(config, num_items, seed=0)
    )
    # Item i is always followed by item i + 5.
    last = np.arange(num_items, dtype=np.int32)
    features = {
        "history": np.stack([np.zeros_like(last), last], axis=1),
        "history_mask": np.tile(np.array([0.0, 1.0], np.float32), (num_items, 1)),
        "item_index": (last + 5) % num_items,
    }

    def recall_at_1():
        return np.mean(np.argmax(model(features), axis=1) == features["item_index"])

    assert recall_at_1() < 0.5
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05))
    dataset = tf.data.Dataset.from_tensors(features).repeat(60)
    history = model.fit(dataset, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert recall_at_1() == 1.0
