"""Models that learn from a model, on histories that nobody has, or that users have."""

import dataclasses

import numpy as np
import pytest
import shipped_models
import tensorflow as tf

import fedrec_tff
from fedrec_tff.datasets import sequences
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.serving import made_up_histories
from fedrec_tff.serving.compression import (
    chain,
    compact_model,
    following,
    history_source,
    score_functions,
    tuning,
)
from fedrec_tff.serving.compression.method import Inputs

_HISTORIES = sequences.from_rows([[3, 9, 3, 1], [5], [5, 6, 7, 8, 9, 10, 11, 12], [56, 2]])


def _divergence(one, other):
    """Of the softmax of one model's scores from another's, by NumPy, where the first would be."""
    score_fns = [score_functions.create(model) for model in (one, other)]
    histories = made_up_histories.sample(score_fns[0], 57, 300, 5, seed=99)
    scores = [np.asarray(score_fn(histories), np.float64) for score_fn in score_fns]
    scores = [s - s.max(axis=1, keepdims=True) for s in scores]
    logs = [s - np.log(np.exp(s).sum(axis=1, keepdims=True)) for s in scores]
    return float((np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=1).mean())


def _apply(model, text, **inputs):
    given = Inputs(**{"full": model, **inputs})
    for step in chain.parse(text)[text].steps:
        model = step.method.apply(model, given)
    return model


@pytest.fixture(name="model", scope="module")
def _model():
    config = TwoTowerConfig(embedding_dim=8, history_length=5, num_blocks=1)
    model = shipped_models.create_model(config)
    rng = np.random.default_rng(0)
    # Most of it in four directions.
    table = rng.normal(size=[57, 4]) @ rng.normal(size=[4, 8]) + 0.3 * rng.normal(size=[57, 8])
    return compact_model.wrap(
        dataclasses.replace(model, embedding=(0.5 * table).astype(np.float32))
    )


@pytest.fixture(name="few", autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(history_source, "_NUM_HISTORIES", 3000)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_what_is_trained_scores_as_the_model_does(similarity):
    config = TwoTowerConfig(
        embedding_dim=8, history_length=5, similarity=similarity, temperature=0.4
    )
    model = compact_model.wrap(shipped_models.create_model(config))
    weights = shipped_models.create_weights(config)
    padded, lengths = _HISTORIES.to_padded(8)
    candidates = np.array([4, 0, 50], np.int32)
    found = following._score(
        score_functions.to_shaped(model), *map(tf.constant, (padded, lengths, candidates))
    )
    expected = scoring.build_score_fn(config, weights)(_HISTORIES)[:, candidates]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        score_functions.create(model)(_HISTORIES)[:, candidates], expected, atol=1e-5
    )


def test_a_student_comes_near_its_teacher(model):
    student = _apply(model, "distil dim=4 steps=150 learning_rate=0.01")
    assert student.embedding.dimensions == (57, 4)
    assert student.config.embedding_dim == 4
    shapes = [tuple(tensor.shape) for tensor in student.config.query_tensors]
    assert [part.dimensions for part in student.tower] == shapes
    assert student.embedding.of_items
    first = _apply(model, "distil dim=4 steps=1 learning_rate=0.000001")
    assert _divergence(model, student) < 0.3 * _divergence(model, first)


def test_the_loss_is_the_divergence(model):
    student = _apply(model, "low_rank rank=4")
    variables = {id(p): tf.Variable(p.decode()) for p in student.list_plain()}
    losses = following.train(
        score_functions.to_shaped(model),
        score_functions.to_shaped(student, lambda p: tf.convert_to_tensor(variables[id(p)])),
        list(variables.values()),
        made_up_histories.sample(score_functions.create(model), 57, 300, 5, seed=99),
        20,
        1e-9,
        seed=0,
    )
    assert np.mean(losses) == pytest.approx(_divergence(model, student), rel=0.05)


@pytest.mark.parametrize(
    "coded", ["prune share=0.6", "low_rank rank=3", "pq bits=3 subvectors=2 weighting=none"]
)
def test_tuning_changes_what_is_plain_and_nothing_else(model, coded):
    before = _apply(model, coded)
    after = _apply(model, f"{coded} | tune steps=100 learning_rate=0.01")
    assert _divergence(model, after) < 0.7 * _divergence(model, before)
    assert type(after.embedding) is type(before.embedding)
    for field in dataclasses.fields(before.embedding):
        one, other = (getattr(m.embedding, field.name) for m in (before, after))
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)


def test_tuning_for_few_bits_helps_where_there_are_few(model):
    rounded = _apply(model, "quantize bits=2")
    aware = _apply(model, "tune bits=2 steps=200 learning_rate=0.01 | quantize bits=2")
    assert _divergence(model, aware) < 0.7 * _divergence(model, rounded)


def test_numbers_are_rounded_and_their_gradient_is_not():
    values = tf.constant([[3.0, -1.4, 0.6]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = tuning._round_through(values, 3)
        total = tf.reduce_sum(found * [[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(found, [[3.0, -1.0, 1.0]])
    np.testing.assert_allclose(tape.gradient(total, values), [[1.0, 2.0, 3.0]])


def test_a_large_catalogue_is_sampled(model, monkeypatch):
    monkeypatch.setattr(following, "_MOST_CANDIDATES", 20)
    student = _apply(model, "distil dim=4 steps=150 learning_rate=0.01")
    first = _apply(model, "distil dim=4 steps=1 learning_rate=0.000001")
    assert _divergence(model, student) < 0.5 * _divergence(model, first)


def test_training_histories_are_what_users_had_taken(model):
    training = sequences.from_rows([[1, 2, 3, 4, 5, 6, 7], [9], []])
    inputs = Inputs(training=training)
    teacher = dataclasses.replace(model, config=dataclasses.replace(model.config, history_length=3))
    found = history_source.find("training", inputs, teacher)
    rows = {tuple(map(int, found.row(i))) for i in range(found.num_rows)}
    expected = {(1,), (1, 2), *((n, n + 1, n + 2) for n in range(1, 6)), (9,)}
    assert rows == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distil dim=9", "have 8 numbers, so choose from 1 to 8"),
        ("distil blocks=2", "has 1 blocks, so choose from 0 to 1"),
    ],
)
def test_what_is_larger_than_the_model_is_refused(model, text, message):
    with pytest.raises(fedrec_tff.UserError, match=message):
        _apply(model, text)


def test_heads_must_divide_the_width():
    config = TwoTowerConfig(embedding_dim=8, history_length=5, query_tower="attention", num_heads=2)
    model = compact_model.wrap(shipped_models.create_model(config))
    with pytest.raises(fedrec_tff.UserError, match="a multiple of 2"):
        _apply(model, "distil dim=3")


def test_weights_begin_as_those_of_a_run_do(model):
    weights = two_tower.create_initial_weights(
        dataclasses.replace(model.config, embedding_dim=4), 57, 0
    )
    student = _apply(model, "distil dim=4 steps=1 learning_rate=0.0000001")
    for part, expected in zip(student.tower, weights.tower, strict=True):
        np.testing.assert_allclose(part.decode(), expected, atol=1e-5)


def test_rounding_in_training_is_that_of_tensorflow_model_optimization():
    import tensorflow_model_optimization as tfmot

    values = tf.constant(np.random.default_rng(0).normal(size=[12, 7]).astype(np.float32))
    quantizer = tfmot.quantization.keras.quantizers.LastValueQuantizer(
        num_bits=8, per_axis=True, symmetric=True, narrow_range=True
    )
    weights = quantizer.build(tf.TensorShape([7, 12]), "rows", tf.keras.layers.Layer())
    # Its axis is the last one, ours the first.
    expected = tf.transpose(quantizer(tf.transpose(values), training=True, weights=weights))
    np.testing.assert_allclose(tuning._round_through(values, 8), expected, atol=1e-5)
