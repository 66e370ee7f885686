"""Models of one's own in the places that score: against NumPy."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.models import plugin, retrieval_model, scoring, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_ROOT = pathlib.Path(__file__).parents[2]
_BROKEN = _ROOT / "tests/models/broken_towers.py"
_DEEP = f"{_ROOT}/examples/custom_model/deep_candidates.py:build_deep_candidates"
_NUM_ITEMS, _DIM, _LENGTH = 9, 4, 5


def _config(text, parameters=(), **kwargs):
    return TwoTowerConfig(_DIM, _LENGTH, plugin=plugin.parse(text, parameters), **kwargs)


def _weights(config, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(_NUM_ITEMS, _DIM), (_NUM_ITEMS,), *(tensor.shape for tensor in config.tower)]
    embedding, bias, *tower = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return two_tower.TwoTowerWeights(two_tower.ItemRows(embedding, bias), tuple(tower))


def _score_deeply(config, weights, histories):
    """What `deep_candidates` does, in NumPy."""
    direction, kernel, bias, out = weights.tower
    embedding = weights.items.embedding
    queries = np.zeros([len(histories), _DIM])
    for row, history in enumerate(histories):
        if history:
            shares = np.exp(embedding[history] @ direction)
            queries[row] = shares @ embedding[history] / shares.sum()
    candidates = embedding + np.maximum(embedding @ kernel + bias, 0.0) @ out
    return queries @ candidates.T / config.temperature + weights.items.bias


def test_the_shape_is_the_builders():
    config = _config(_DEEP, ("width=3",), temperature=0.5)
    assert [tensor.shape for tensor in config.tower] == [(4,), (4, 3), (3,), (3, 4)]
    assert config.num_weights(10) == 10 * 5 + 4 + 12 + 3 + 12
    assert config.embedding_stddev == 0.5
    assert hash(config) == hash(_config(_DEEP, ("width=3",), temperature=0.5))
    weights = two_tower.create_initial_weights(config, 10, seed=0)
    assert not np.any(weights.tower[0])
    assert np.std(weights.tower[1]) == pytest.approx(0.5, rel=0.5)


def test_a_tower_may_say_what_embeddings_are_drawn_with(tmp_path):
    path = tmp_path / "quiet.py"
    path.write_text(
        "import broken_towers\n\n\n"
        "class Quiet(broken_towers.Sums):\n    embedding_stddev = 0.01\n\n\n"
        "def build(context):\n    return Quiet()\n"
    )
    config = TwoTowerConfig(_DIM, _LENGTH, plugin=plugin.parse(f"{path}:build"))
    embedding = two_tower.create_initial_weights(config, 4000, seed=0).items.embedding
    assert np.std(embedding) == pytest.approx(0.01, rel=0.05)


def test_scores_and_the_keras_model_are_numpys():
    config = _config(_DEEP, ("width=3",), temperature=0.5)
    weights, histories = _weights(config), [[3, 1, 8, 1], [], [0, 1, 2, 3, 4], [7]]
    expected = _score_deeply(config, weights, histories)
    found = scoring.build_score_fn(config, weights)(sequences_lib.from_rows(histories))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    model = retrieval_model.TwoTowerRetrievalModel(config, weights)
    padded = np.array([[*history, *[6] * (_LENGTH - len(history))] for history in histories])
    mask = np.array([[n < len(h) for n in range(_LENGTH)] for h in histories], np.float32)
    features = {
        "history": tf.constant(padded, tf.int32),
        "history_mask": tf.constant(mask),
        "item_index": tf.constant([2, 5, 6, 0]),
    }
    np.testing.assert_allclose(model(features), expected, rtol=1e-4, atol=1e-5)
    # In-batch softmax over the same scores.
    logits = expected[:, [2, 5, 6, 0]]
    losses = np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)
    assert float(model.compute_loss(features)) == pytest.approx(losses.mean(), rel=1e-4)


def test_padding_reaches_a_tower_as_zeros_at_the_end_whatever_it_was():
    config = _config(f"{_BROKEN}:build_mean")
    weights = _weights(config)
    rows = [
        ([4, 8, 2, 2, 2], [1, 1, 0, 0, 0]),
        ([4, 8, 0, 7, 7], [1, 1, 0, 0, 0]),
        ([0, 6, 6, 4, 8], [0, 0, 0, 1, 1]),
    ]
    history, mask = (np.array(column) for column in zip(*rows, strict=True))
    found = tower_encoding.encode_histories(
        config,
        weights.items.embedding,
        weights.tower,
        history.astype(np.int32),
        mask.astype(np.float32),
    )
    mean = weights.items.embedding[[4, 8]].mean(axis=0)
    np.testing.assert_allclose(found, [mean + mean @ weights.tower[0]] * 3, rtol=1e-5)


def test_one_pass_of_a_causal_tower_is_as_many_histories():
    config = _config(f"{_BROKEN}:build_sums")
    embedding = _weights(config).items.embedding
    sequence = [3, 7, 3, 0]
    found = tower_encoding.encode_sequence(config, embedding, (), tf.constant(sequence), None)
    expected = [embedding[sequence[:end]].sum(axis=0) for end in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    history = np.array([[3, 7, 3, 1, 1]], np.int32)
    mask = np.array([[1, 1, 1, 0, 0]], np.float32)
    (last,) = tower_encoding.encode_histories(config, embedding, (), history, mask)
    np.testing.assert_allclose(last, expected[3], rtol=1e-5, atol=1e-6)


def test_builtin_models_score_the_items_as_they_are():
    items = two_tower.ItemRows(tf.ones([2, 4]), tf.zeros([2]))
    assert tower_encoding.encode_candidates(TwoTowerConfig(4), (), items) is items


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("attention", (), "built-in models are chosen by --query_tower"),
        (str(_BROKEN), (), r"name a builder in that file.*build_mean"),
        (f"{_BROKEN}:build_mean", ("width=3",), "--model_param width: unknown"),
        (f"{_BROKEN}:build_moan", (), "defines no function 'build_moan'"),
        ("nowhere/mine.py:build", (), "--model: there is no file nowhere/mine.py"),
        (_DEEP, ("width=wide",), "--model_param width=wide: must be a whole number"),
    ],
)
def test_flags_that_name_nothing_are_told_in_one_line(text, parameters, message):
    with pytest.raises(errors.UserError, match=message) as raised:
        plugin.parse(text, parameters)
    assert "--model" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_a_builder_refuses_is_told_with_its_name():
    config = _config(_DEEP, ("width=0",))
    with pytest.raises(errors.UserError, match=r"^--model=.*:build_deep_candidates: width=0"):
        _ = config.tower
