"""Query towers against NumPy and Keras, and what each must not see."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from fedrec_tff.models import dropout, tower_encoding
from fedrec_tff.models.config import QUERY_TOWERS, TwoTowerConfig

_CAUSAL_TOWERS = ("gru", "attention", "attention_and_mean")

_DIM, _LENGTH = 8, 6
_EMBEDDING = np.random.default_rng(0).normal(size=(20, _DIM)).astype(np.float32)


def _config(name, **kwargs):
    return TwoTowerConfig(_DIM, _LENGTH, num_blocks=2, query_tower=name, num_heads=2, **kwargs)


def _weights(config, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(
        rng.normal(scale=0.4, size=tensor.shape).astype(np.float32) for tensor in config.tower
    )


def _encode(config, weights, *histories):
    items = np.zeros([len(histories), _LENGTH], np.int32)
    mask = np.zeros(items.shape, np.float32)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
        mask[row, : len(history)] = 1.0
    return tower_encoding.encode_histories(config, _EMBEDDING, weights, items, mask).numpy()


@pytest.mark.parametrize("name", _CAUSAL_TOWERS)
def test_one_pass_is_as_many_histories(name):
    config = _config(name)
    weights = _weights(config)
    sequence = [3, 7, 3, 19, 0, 5, 2]
    found = tower_encoding.encode_sequence(config, _EMBEDDING, weights, tf.constant(sequence), None)
    expected = _encode(config, weights, *(sequence[:end] for end in range(7)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", QUERY_TOWERS)
def test_what_padding_holds_does_not_matter(name):
    config = _config(name)
    weights = _weights(config)
    mask = np.array([[1, 1, 0, 0, 0, 0]], np.float32)
    zeros = np.array([[4, 9, 0, 0, 0, 0]], np.int32)
    others = np.array([[4, 9, 9, 1, 2, 4]], np.int32)
    first, second = (
        tower_encoding.encode_histories(config, _EMBEDDING, weights, history, mask)
        for history in (zeros, others)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", QUERY_TOWERS)
def test_an_empty_history_has_a_finite_query_and_order_matters_but_to_means(name):
    config = _config(name)
    weights = _weights(config)
    empty, forth, back = _encode(config, weights, [], [1, 2, 3], [3, 2, 1])
    assert np.isfinite(empty).all()
    assert np.allclose(forth, back, atol=1e-4) == (name in ("mean", "set"))


def test_a_set_is_read_without_the_item_itself():
    config = _config("set")
    weights = _weights(config)
    items = np.array([3, 7, 9, 0, 0], np.int32)
    mask = np.array([1, 1, 1, 0, 0], np.float32)
    found = tower_encoding.encode_others(config, _EMBEDDING, weights, items, mask)
    expected = _encode(config, weights, [7, 9], [3, 9], [3, 7], [3, 7, 9])
    np.testing.assert_allclose(found[:4], expected, rtol=1e-4, atol=1e-5)
    twice = np.array([3, 7, 3, 3, 0], np.int32)
    found = tower_encoding.encode_others(config, _EMBEDDING, weights, twice, mask)
    expected = _encode(config, weights, [7], [3, 3], [7], [3, 7, 3])
    np.testing.assert_allclose(found[:4], expected, rtol=1e-4, atol=1e-5)


def _normalize(states, scale, offset):
    deviation = np.sqrt(states.var(axis=-1, keepdims=True) + 1e-6)
    return (states - states.mean(axis=-1, keepdims=True)) / deviation * scale + offset


def test_attention_equals_numpy():
    config = _config("attention")
    weights = _weights(config)
    history = [3, 7, 3, 19]
    positions, *blocks, scale, offset = weights
    states = np.concatenate([np.zeros([1, _DIM]), _EMBEDDING[history] * np.sqrt(_DIM)])
    states = states + positions[:5]
    for first in (0, 10):
        own = blocks[first : first + 10]
        normal = _normalize(states, own[0], own[1])
        attended = np.zeros([5, _DIM])
        for head in range(2):
            columns = slice(4 * head, 4 * head + 4)
            query, key, value = (normal @ part for part in np.split(own[2], 3, axis=1))
            for place in range(5):
                logits = query[place, columns] @ key[: place + 1, columns].T / 2.0
                attended[place, columns] = special.softmax(logits) @ value[: place + 1, columns]
        states = states + attended @ own[3]
        hidden = np.maximum(_normalize(states, own[4], own[5]) @ own[6] + own[7], 0.0)
        states = states + hidden @ own[8] + own[9]
    expected = _normalize(states, scale, offset)[-1]
    np.testing.assert_allclose(_encode(config, weights, history)[0], expected, rtol=1e-4, atol=1e-5)


def test_the_mean_of_a_history_is_added_to_attention_by_its_direction():
    config = _config("attention_and_mean")
    gate, *attention = _weights(config)
    history = [3, 7, 3, 19]
    mean = _EMBEDDING[history].mean(axis=0)
    expected = _encode(_config("attention"), attention, history)[0]
    expected = expected + gate * np.sqrt(_DIM) * mean / np.linalg.norm(mean)
    found = _encode(config, (gate, *attention), history)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_gru_is_kerass():
    config = dataclasses.replace(_config("gru"), num_blocks=0)
    weights = _weights(config)
    layer = tf.keras.layers.GRU(_DIM)
    layer.build((None, 5, _DIM))
    layer.set_weights([*weights[:2], np.stack(weights[2:])])
    history = [3, 7, 3, 19, 4]
    expected = layer(_EMBEDDING[history][np.newaxis])
    np.testing.assert_allclose(_encode(config, weights, history), expected, rtol=1e-4, atol=1e-5)


def test_recency_weighs_by_age_from_the_newest():
    config = dataclasses.replace(_config("recency"), num_blocks=0)
    weights = (np.log([4.0, 2.0, 1.0, 7.0, 7.0, 7.0]).astype(np.float32),)
    (found,) = _encode(config, weights, [5, 6, 8])
    expected = (4 * _EMBEDDING[8] + 2 * _EMBEDDING[6] + _EMBEDDING[5]) / 7
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # As it starts, it is the mean.
    start = (np.zeros(_LENGTH, np.float32),)
    np.testing.assert_allclose(
        _encode(config, start, [5, 6])[0], _EMBEDDING[[5, 6]].mean(axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(3, 5, 8), (101,)])
def test_dropout_keeps_the_mean_and_is_the_same_under_xla(shape):
    values = tf.ones(shape)

    def drop(seed):
        layer = dropout.Dropout(0.25, seed)
        return layer(values), layer(values)

    seeds = [tf.constant([1, number]) for number in range(200)]
    first, second = zip(*map(drop, seeds), strict=True)
    kept = np.stack(first)
    assert set(np.unique(kept)) == {0.0, np.float32(256 / 192)}
    assert abs(kept.mean() - 1.0) < 5 * np.sqrt(1 / 3 / kept.size)
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], first[1])
    for expected, found in zip(
        drop(seeds[0]), tf.function(drop, jit_compile=True, autograph=False)(seeds[0]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert dropout.Dropout(0.25, None)(values) is values
