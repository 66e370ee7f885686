"""Models of one's own in client work, central training and private evaluation."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets import splits
from fedrec_tff.evaluation import ranking
from fedrec_tff.execution import compiled
from fedrec_tff.learning import centralized, client_work, negative_sampling, private_evaluation
from fedrec_tff.learning.config import LOSSES, ClientWorkConfig, OptimizerConfig
from fedrec_tff.models import plugin, scoring, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import releases

_EXAMPLES = pathlib.Path(__file__).parents[2] / "examples/custom_model"
_NUM_ITEMS = 9
_ITEMS = [3, 5, 3, 8, 0]
_SAMPLER = negative_sampling.NegativeSampler(_NUM_ITEMS, 6)


def _model(name, *parameters, **kwargs):
    text = f"{_EXAMPLES / name}.py:build_{name}"
    return TwoTowerConfig(4, 4, plugin=plugin.parse(text, parameters), **kwargs)


_DEEP = _model("deep_candidates", "width=3")
_CAUSAL = _model("causal_convolutions", "width=2")


def _weights(model):
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, seed=1)
    return tf.nest.map_structure(
        lambda t: t + 0.2 * tf.random.stateless_normal(t.shape, [5, t.shape[0]]), weights
    )


def _update(build, model, loss="sampled_softmax"):
    client = client_work.ClientData(
        tf.constant([*_ITEMS, 0, 0, 0]), tf.constant(len(_ITEMS)), tf.constant([1, 2])
    )
    work = ClientWorkConfig(OptimizerConfig("sgd", 0.3), loss, batch_size=0)
    update = build(model, work, _SAMPLER)(_weights(model), client).update
    if isinstance(update, row_sparse.RowSparse):
        ids = update.ids[:, tf.newaxis]
        items = [
            tf.scatter_nd(ids, rows, [_NUM_ITEMS, *rows.shape[1:]]) for rows in update.value.items
        ]
        update = two_tower.TwoTowerWeights(two_tower.ItemRows(*items), update.value.tower)
    return [np.asarray(part) for part in tf.nest.flatten(update)]


def _full_softmax_gradient(model):
    """Of the mean loss over the positions, one history at a time, all items scored."""
    weights = _weights(model)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        total = 0.0
        for position, item in enumerate(_ITEMS):
            history = np.zeros([1, 4], np.int32)
            history[0, :position] = _ITEMS[:position]
            mask = (np.arange(4) < position).astype(np.float32)[np.newaxis]
            embedding = weights.items.embedding
            query = tower_encoding.encode_histories(model, embedding, weights.tower, history, mask)
            if model is _DEEP:
                _, kernel, bias, out = weights.tower
                embedding += tf.nn.relu(embedding @ kernel + bias) @ out
            logits = tf.linalg.matvec(embedding, query[0]) + weights.items.bias
            total += (tf.reduce_logsumexp(logits) - logits[item]) / len(_ITEMS)
    return [tf.convert_to_tensor(g) for g in tape.gradient(total, tf.nest.flatten(weights))]


@pytest.mark.parametrize("model", [_DEEP, _CAUSAL])
def test_a_step_follows_the_gradient_through_both_towers(model):
    update = _update(client_work.build_dense_client_update, model, "full_softmax")
    for found, expected in zip(update, _full_softmax_gradient(model), strict=True):
        assert np.any(found)
        np.testing.assert_allclose(found, 0.3 * expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "full_softmax"])
def test_the_rows_that_a_client_touches_are_enough_for_a_candidate_tower(loss):
    dense = _update(client_work.build_dense_client_update, _DEEP, loss)
    sparse = _update(client_work.build_row_sparse_client_update, _DEEP, loss)
    for left, right in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6)
    # The candidate tower's kernel is trained.
    assert np.any(dense[3])


@pytest.fixture(scope="module")
def split():
    """Users who go round in circles: what comes next is the item after the last one."""
    rng = np.random.default_rng(0)
    rows = [[(start + n) % _NUM_ITEMS for n in range(6)] for start in rng.integers(0, 9, 60)]
    train = sequences_lib.from_rows(rows)
    targets = sequences_lib.from_rows([[(row[-1] + 1) % _NUM_ITEMS] for row in rows])
    users = np.arange(60, dtype=np.int32)
    evaluation = splits.EvaluationSet(users, train, targets)
    return splits.Split(_NUM_ITEMS, users, train, evaluation, evaluation)


def test_central_training_and_private_evaluation_agree_with_the_ranking(split):
    weights = centralized.train(_CAUSAL, split, 15, 64, 0.05, seed=0)
    metrics = ranking.evaluate(
        scoring.build_score_fn(_CAUSAL, weights), split.test, _NUM_ITEMS, (1, 3)
    )
    # The last item tells the next; without the towers, each of nine is as likely.
    assert metrics["recall@1"] > 0.9
    weights = _weights(_DEEP)
    expected = ranking.evaluate(
        scoring.build_score_fn(_DEEP, weights), split.test, _NUM_ITEMS, (1, 3)
    )
    release = releases.EvaluationRelease(0.0, (1, 3))
    computation = private_evaluation.build_private_evaluation(_DEEP, _NUM_ITEMS, release)
    with compiled.CompiledContext().install():
        sums = computation(weights, private_evaluation.stack(split.test))
    found = dict(zip(release.metric_names, sums[1:] / sums[0], strict=True))
    assert 0.0 < expected["recall@1"] < 1.0
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-5)
