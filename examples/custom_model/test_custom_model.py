"""The examples against NumPy, found and built as --model finds and builds them."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models import plugin, tower_contract
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.query_tower import Dropout

_FOLDER = pathlib.Path(__file__).parent
_CAUSAL = f"{_FOLDER / 'causal_convolutions.py'}:build_causal_convolutions"
_DEEP = f"{_FOLDER / 'deep_candidates.py'}:build_deep_candidates"
_DIM, _LENGTH = 4, 9


def _build(text, *parameters):
    config = TwoTowerConfig(_DIM, _LENGTH, plugin=plugin.parse(text, parameters))
    tower = plugin.load_tower(config.plugin, config.context)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=t.shape).astype(np.float32) for t in tower.tensors]
    return config, tower, weights, rng.normal(size=[1, _LENGTH, _DIM]).astype(np.float32)


@pytest.mark.parametrize("text", [_CAUSAL, _DEEP])
def test_both_keep_the_contract(text):
    tower_contract.check(_build(text)[0])


def test_causal_convolutions_are_loops_over_positions():
    _, tower, weights, items = _build(_CAUSAL, "width=2", "num_blocks=2")
    start, *blocks = weights
    states = np.concatenate([start[np.newaxis], items[0]])
    for block, distance in enumerate((1, 2)):
        scale, offset, kernel, bias = blocks[4 * block : 4 * block + 4]
        deviation = np.sqrt(states.var(axis=1, keepdims=True) + 1e-6)
        normal = (states - states.mean(axis=1, keepdims=True)) / deviation * scale + offset
        seen = normal @ kernel[0]
        for place in range(distance, len(states)):
            seen[place] += normal[place - distance] @ kernel[1]
        states = states + np.maximum(seen + bias, 0.0)
    found = tower.encode_sequence(weights, tf.constant(items), Dropout(0.0, None))
    np.testing.assert_allclose(found[0], states, rtol=1e-4, atol=1e-5)


def test_causal_convolutions_see_as_far_as_they_say():
    _, tower, weights, items = _build(_CAUSAL, "width=3", "num_blocks=2")

    def last_query(changed):
        others = items.copy()
        # Of one number: layers normalise what is added to all away.
        others[0, changed, 0] += 1.0
        return tower.encode_sequence(weights, tf.constant(others), Dropout(0.0, None))[0, -1]

    before = last_query([])
    np.testing.assert_array_equal(last_query([_LENGTH - 8]), before)
    assert np.abs(last_query([_LENGTH - 7]) - before).max() > 1e-3


def test_deep_candidates_start_as_plain_embeddings_and_a_mean():
    _, tower, weights, items = _build(_DEEP, "width=5")
    start = [np.zeros_like(weights[0]), *weights[1:3], np.zeros_like(weights[3])]
    np.testing.assert_array_equal(tower.encode_candidates(start, tf.constant(items[0])), items[0])
    mask = (np.arange(_LENGTH) < 3).astype(np.float32)[np.newaxis]
    query = tower.encode_histories(start, tf.constant(items), mask)
    np.testing.assert_allclose(query[0], items[0, :3].mean(axis=0), rtol=1e-5)
    _, kernel, bias, out = weights
    expected = items[0] + np.maximum(items[0] @ kernel + bias, 0.0) @ out
    found = tower.encode_candidates(weights, tf.constant(items[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("text", "parameter"), [(_CAUSAL, "width=0"), (_DEEP, "width=-1")])
def test_a_width_of_nothing_is_refused(text, parameter):
    with pytest.raises(errors.UserError, match=rf"--model=.*{parameter}"):
        _build(text, parameter)
