import functools
import logging

import numpy as np
import numpy_training
import pytest
import tensorflow as tf

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.splits import EvaluationSet
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import ranking
from fedrec_tff.execution import compiled
from fedrec_tff.learning import private_evaluation
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.privacy import releases

_NUM_ITEMS = 30
_KS = (1, 5, 10)
_MODEL = TwoTowerConfig(embedding_dim=4, history_length=3, num_blocks=1, temperature=0.5)
_NAMES = releases.EvaluationRelease(0.0, _KS).metric_names


@pytest.fixture(scope="module")
def compiled_context():
    options = compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=16)
    return compiled.CompiledContext(options)


@functools.cache
def _computation(model=_MODEL, noise_multiplier=0.0, ks=_KS, insecure_noise_seed=None):
    release = releases.EvaluationRelease(noise_multiplier, ks)
    return private_evaluation.build_private_evaluation(
        model, _NUM_ITEMS, release, insecure_noise_seed
    )


def _run(context, weights, cohort, **arguments):
    with context.install():
        return _computation(**arguments)(weights, cohort)


@functools.cache
def _evaluation_set(num_rows=150, longest=24):
    """Histories of 1 to `longest` items, with repetitions; targets that are not in them."""
    rng = np.random.default_rng(3)
    histories, targets = [], []
    for _ in range(num_rows):
        *history, target = rng.permutation(_NUM_ITEMS)[: rng.integers(2, longest + 1)]
        histories.append([*history, *rng.choice(history, rng.integers(0, 3))])
        targets.append([target])
    return EvaluationSet(
        user_index=np.arange(num_rows, dtype=np.int32),
        history=sequences_lib.from_rows(histories),
        targets=sequences_lib.from_rows(targets),
    )


def _weights():
    return numpy_training.create_weights(_NUM_ITEMS, _MODEL.embedding_dim, seed=1)


def _weights_with_ties():
    """Small integers: with a history of two, all scores are exact, and many are equal."""
    rng = np.random.default_rng(4)
    return two_tower.TwoTowerWeights(
        two_tower.ItemRows(
            rng.integers(-1, 2, [_NUM_ITEMS, 4]).astype(np.float32),
            rng.integers(0, 2, _NUM_ITEMS).astype(np.float32),
        ),
        (),
    )


def _means(sums):
    return dict(zip(_NAMES, sums[1:] / sums[0], strict=True))


def _assert_ranks_alike(contexts, model, weights, caplog):
    evaluation_set = _evaluation_set()
    expected = ranking.evaluate(
        scoring.build_score_fn(model, weights), evaluation_set, _NUM_ITEMS, _KS
    )
    cohort = private_evaluation.stack(evaluation_set)
    with caplog.at_level(logging.WARNING):
        results = [_computation(model)(weights, cohort)]
        results += [_run(context, weights, cohort, model=model) for context in contexts]
    for sums in results:
        assert sums.dtype == np.float32
        assert sums[0] == pytest.approx(evaluation_set.num_rows, rel=1e-6)
        found = _means(sums)
        assert found == pytest.approx({name: expected[name] for name in _NAMES}, rel=1e-5)
    # No word about client work that is not compiled.
    assert not [record for record in caplog.records if record.name.startswith("fedrec_tff")]
    return expected


@pytest.mark.usefixtures("native")
def test_without_noise_it_is_the_evaluation_of_the_ranking_module(compiled_context, caplog):
    expected = _assert_ranks_alike([compiled_context], _MODEL, _weights(), caplog)
    # Not a set on which everything or nothing is a hit.
    assert 0.05 < expected["recall@1"] < expected["recall@10"] < 0.95


@pytest.mark.usefixtures("native")
def test_ties_are_as_pessimistic_as_there(compiled_context, caplog):
    model = TwoTowerConfig(embedding_dim=4, history_length=2, num_blocks=0)
    _assert_ranks_alike([compiled_context], model, _weights_with_ties(), caplog)


@pytest.mark.usefixtures("native")
def test_a_model_that_scores_everything_alike_gets_nothing(compiled_context, caplog):
    weights = tf.nest.map_structure(np.zeros_like, _weights())
    expected = _assert_ranks_alike([compiled_context], _MODEL, weights, caplog)
    assert expected["recall@5"] < 0.05


def _client(history, target, num_history=None):
    num_history = len(history) if num_history is None else num_history
    return private_evaluation.EvaluationClient(
        np.array(history, np.int32), np.int32(num_history), np.int32(target)
    )


_ODD_CLIENTS = {
    "a target that is no item": (_client([1, 2, 3], 30), 0),
    "a target below zero": (_client([1, 2, 3], -1), 0),
    "history that is no item": (_client([-5, 30, np.iinfo(np.int32).max, 3], 4), 1),
    "more history than there is room for": (_client([1, 2], 4, 1_000), 1),
    "less history than none": (_client([1, 2, 3], 4, -5), 1),
    "a target in its own history": (_client([1, 4, 3], 4), 1),
    "no candidate but the target": (_client([i for i in range(30) if i != 4], 4), 1),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", _ODD_CLIENTS)
def test_nobody_has_more_influence_than_is_accounted(name, compiled_context):
    client, count = _ODD_CLIENTS[name]
    native_sums = _computation()(_weights(), [client])
    assert native_sums[0] == pytest.approx(count, rel=1e-6)
    assert np.all((native_sums >= 0.0) & (native_sums <= count * (1 + 1e-6)))
    assert np.any(native_sums[1:] > 0.0) == (count > 0)
    found = _run(compiled_context, _weights(), [client])
    np.testing.assert_allclose(found, native_sums, rtol=1e-5)


@pytest.mark.usefixtures("native")
def test_the_largest_contribution_is_not_clipped(compiled_context):
    client, _ = _ODD_CLIENTS["no candidate but the target"]
    np.testing.assert_allclose(_computation()(_weights(), [client]), np.ones(8), rtol=1e-6)
    np.testing.assert_allclose(_run(compiled_context, _weights(), [client]), np.ones(8), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_diverged_gets_nothing(value, compiled_context):
    weights = tf.nest.map_structure(lambda w: np.full_like(w, value), _weights())
    evaluation_set = _evaluation_set()
    sums = _run(compiled_context, weights, private_evaluation.stack(evaluation_set))
    # The target comes after all candidates.
    num_rows = evaluation_set.num_rows
    num_candidates = np.array(
        [_NUM_ITEMS - len(set(evaluation_set.history.row(i))) for i in range(num_rows)]
    )
    found = _means(sums)
    assert sums[0] == pytest.approx(num_rows, rel=1e-6)
    assert found["mrr"] == pytest.approx(np.mean(1 / num_candidates), rel=1e-5)
    assert found["recall@10"] == pytest.approx(np.mean(num_candidates <= 10), rel=1e-5)
    assert found["recall@10"] > 0.0


@pytest.mark.usefixtures("native")
def test_noise_has_the_accounted_spread_and_is_new_each_time(compiled_context):
    # One release has many numbers: 2,000 metrics.
    ks = tuple(range(1, 1_001))
    arguments = {"ks": ks, "noise_multiplier": 2.0}
    release = releases.EvaluationRelease(2.0, ks)
    cohort = private_evaluation.stack(_evaluation_set())
    exact = _computation(ks=ks)(_weights(), cohort)
    noises = [
        _computation(**arguments)(_weights(), cohort) - exact,
        _run(compiled_context, _weights(), cohort, **arguments) - exact,
        _run(compiled_context, _weights(), cohort, **arguments) - exact,
    ]
    for noise in noises:
        assert np.std(noise) == pytest.approx(release.noise_stddev, rel=0.08)
        assert np.abs(np.mean(noise)) < 5 * release.noise_stddev / np.sqrt(len(noise))
    assert np.abs(np.corrcoef(noises) - np.eye(3)).max() < 0.12


def test_insecure_noise_is_a_function_of_the_seed(compiled_context):
    def release(seed):
        cohort = private_evaluation.stack(_evaluation_set())
        return _run(
            compiled_context, _weights(), cohort, noise_multiplier=2.0, insecure_noise_seed=seed
        )

    np.testing.assert_array_equal(release(1), release(1))
    assert np.abs(release(1) - release(2)).max() > 0.1


def test_the_cohort_is_everybody():
    evaluation_set = _evaluation_set()
    clients = private_evaluation.stack(evaluation_set).unstack()
    assert len(clients) == evaluation_set.num_rows
    for row, client in enumerate(clients):
        history = client.history[: client.num_history]
        np.testing.assert_array_equal(history, evaluation_set.history.row(row))
        assert [client.target_index] == list(evaluation_set.targets.row(row))


def _small_set(targets, users=(0, 1)):
    return EvaluationSet(
        user_index=np.array(users, np.int32),
        history=sequences_lib.from_rows([[1, 2], [3]]),
        targets=sequences_lib.from_rows(targets),
    )


def test_sets_that_would_void_the_guarantee_are_refused():
    with pytest.raises(UserError, match="leave_last_out"):
        private_evaluation.stack(_small_set([[4], [5, 6]]))
    with pytest.raises(UserError, match="leave_last_out"):
        private_evaluation.stack(_small_set([[4], []]))
    with pytest.raises(ValueError, match="several rows"):
        private_evaluation.stack(_small_set([[4], [5]], users=(7, 7)))
    with pytest.raises(ValueError, match="own row's history"):
        private_evaluation.stack(_small_set([[4], [3]]))


def test_summary_by_hand():
    release = releases.EvaluationRelease(2.0, ks=(10,))
    assert release.noise_stddev == 4.0
    found = private_evaluation.summarise(np.array([1000, 150, 75, -3], np.float32), release)
    names = [n + end for n in ("recall@10", "ndcg@10", "mrr") for end in ("", "_low", "_high")]
    assert list(found) == [f"private/{name}" for name in ("num_users", *names)]
    assert all(type(value) is float for value in found.values())
    assert found["private/num_users"] == 1000.0
    assert found["private/recall@10"] == pytest.approx(0.15)
    # The delta method: sampling, then noise on sum and count.
    error = np.sqrt(0.15 * 0.85 / 1000 + 16 * (1 + 0.15**2) / 1000**2)
    assert found["private/recall@10_low"] == pytest.approx(0.15 - 1.96 * error, abs=2e-3)
    assert found["private/recall@10_high"] == pytest.approx(0.15 + 1.96 * error, abs=2e-3)
    assert found["private/mrr"] == found["private/mrr_low"] == 0.0
    assert 0.004 < found["private/mrr_high"] < 0.02
    with pytest.raises(ValueError, match="argument 2 is"):
        private_evaluation.summarise(np.ones(3), release)


def test_intervals_hold_the_exact_metrics(compiled_context):
    release = releases.EvaluationRelease(1.0, _KS)
    cohort = private_evaluation.stack(_evaluation_set())
    exact = _means(_run(compiled_context, _weights(), cohort))
    sums = _run(compiled_context, _weights(), cohort, noise_multiplier=1.0, insecure_noise_seed=5)
    summary = private_evaluation.summarise(sums, release)
    for name, value in exact.items():
        assert summary[f"private/{name}_low"] < value < summary[f"private/{name}_high"]
        assert summary[f"private/{name}"] != value
