import functools
import logging

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.evaluation import popularity
from fedrec_tff.execution import compiled
from fedrec_tff.learning import client_work, negative_sampling, private_popularity
from fedrec_tff.models import two_tower
from fedrec_tff.privacy import releases

_NUM_ITEMS = 12
_CAP = 4
_WIDE = 20_000
_ROWS = [[3, 5, 3, 8], [0], [1, 2, 6, 7], [11, 11, 11], [], [7, 5, 5, 0, 3] * 4]


@pytest.fixture(scope="module")
def compiled_context():
    options = compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=3)
    return compiled.CompiledContext(options)


@functools.cache
def _computation(num_items=_NUM_ITEMS, noise_multiplier=0.0, cap=_CAP, insecure_noise_seed=None):
    release = releases.PopularityRelease(noise_multiplier, cap)
    return private_popularity.build_private_popularity(num_items, release, insecure_noise_seed)


def _cohort(rows, seed=0):
    population = clients_lib.stack_clients(sequences_lib.from_rows(rows), bucket_lengths=[2, 8, 64])
    draws = keyed_draws.KeyedDraws(np.arange(len(rows)), seed)
    return private_popularity.stack(population, draws)


def _client(items, num_interactions=None, seed=1):
    num_interactions = len(items) if num_interactions is None else num_interactions
    return client_work.ClientData(
        np.array(items, np.int32), np.int32(num_interactions), np.array([7, seed], np.int32)
    )


def _users_per_item(rows):
    return np.sum([np.isin(np.arange(_NUM_ITEMS), row) for row in rows], axis=0)


def _run(context, cohort, **arguments):
    with context.install():
        return _computation(**arguments)(cohort)


@pytest.mark.usefixtures("native")
def test_without_noise_the_counts_are_exact(compiled_context, caplog):
    cohort = _cohort(_ROWS)
    expected = _users_per_item(_ROWS)
    found = _computation()(cohort)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with caplog.at_level(logging.WARNING):
        found = _run(compiled_context, cohort)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # No word about client work that is not compiled.
    assert not [record for record in caplog.records if record.name.startswith("fedrec_tff")]


@pytest.mark.usefixtures("native")
def test_users_count_for_some_of_their_items_by_their_seed(compiled_context):
    rows = [list(range(12)), list(range(12)) * 3, [5, 1, 5, 3, 9, 0, 1]]
    first = _computation()(_cohort(rows))
    assert first.sum() == pytest.approx(3 * _CAP, rel=1e-6)
    assert first.max() <= 3
    np.testing.assert_array_equal(_computation()(_cohort(rows)), first)
    np.testing.assert_array_equal(_run(compiled_context, _cohort(rows)), first)
    others = [_computation()(_cohort(rows, seed)) for seed in range(1, 4)]
    assert any(np.any(other != first) for other in others)


def test_all_items_of_a_user_are_as_likely(compiled_context):
    # The last of them many times, which gives it no better chance.
    rows = [[*range(10), *[9] * 30]] * 3_000
    counts = _run(compiled_context, _cohort(rows))[:10]
    assert counts.sum() == pytest.approx(3_000 * _CAP, rel=1e-5)
    # Each item is chosen with probability 4 / 10; the ten counts have a fixed sum.
    variance = 3_000 * 0.4 * 0.6 * 10 / 9
    statistic = np.sum((counts - 1_200) ** 2) / variance
    assert 1e-4 < stats.chi2.cdf(statistic, 9) < 1 - 1e-4


_ODD_CLIENTS = {
    "one item many times": _client([5] * 50),
    "negative indices": _client([-1, -7, np.iinfo(np.int32).min, 3]),
    "indices beyond the catalogue": _client([12, 13, 10_000, np.iinfo(np.int32).max, 3]),
    "more than there is room for": _client([1, 2], 1_000),
    "fewer than none": _client([1, 2, 3], -5),
    "all items twice": _client([*range(12), *range(12)]),
    "nothing": _client([0, 0, 0], 0),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", _ODD_CLIENTS)
def test_nobody_has_more_influence_than_is_accounted(name, compiled_context):
    client = _ODD_CLIENTS[name]
    for found in (_computation()([client]), _run(compiled_context, [client])):
        assert np.linalg.norm(found) <= np.sqrt(_CAP) * (1 + 1e-6)
        assert np.all((found < 1e-6) | np.isclose(found, 1.0))
        items = client.item_index[: max(int(client.num_interactions), 0)]
        allowed = np.unique(items[(items >= 0) & (items < _NUM_ITEMS)])
        assert set(np.flatnonzero(found)) <= set(allowed)
        assert np.count_nonzero(found) == min(len(allowed), _CAP)


@pytest.mark.usefixtures("native")
def test_noise_has_the_accounted_spread_and_is_new_each_time(compiled_context):
    arguments = {"num_items": _WIDE, "noise_multiplier": 1.5}
    cohort = _cohort(_ROWS)
    exact = np.zeros(_WIDE)
    exact[:_NUM_ITEMS] = _users_per_item(_ROWS)
    noises = [
        _computation(**arguments)(cohort) - exact,
        _computation(**arguments)(cohort) - exact,
        _run(compiled_context, cohort, **arguments) - exact,
        _run(compiled_context, cohort, **arguments) - exact,
    ]
    for noise in noises:
        assert stats.kstest(noise, stats.norm(scale=1.5 * np.sqrt(_CAP)).cdf).pvalue > 1e-4
        assert np.std(noise) == pytest.approx(1.5 * np.sqrt(_CAP), rel=0.03)
    correlations = np.corrcoef(noises) - np.eye(4)
    assert np.abs(correlations).max() < 0.05


def test_insecure_noise_is_a_function_of_the_seed(compiled_context):
    def release(seed):
        return _run(
            compiled_context, _cohort(_ROWS), noise_multiplier=1.5, insecure_noise_seed=seed
        )

    np.testing.assert_array_equal(release(1), release(1))
    assert np.abs(release(1) - release(2)).max() > 0.1


@pytest.mark.usefixtures("native")
def test_an_empty_cohort_is_nothing_but_noise(compiled_context):
    np.testing.assert_array_equal(_computation()([]), np.zeros(_NUM_ITEMS))
    np.testing.assert_array_equal(_run(compiled_context, []), np.zeros(_NUM_ITEMS))


def test_the_cohort_is_everybody_with_a_seed_of_their_own():
    cohort = _cohort(_ROWS)
    clients = cohort.unstack()
    assert len(clients) == len(_ROWS)
    for client, row in zip(clients, _ROWS, strict=True):
        np.testing.assert_array_equal(client.item_index[: client.num_interactions], row)
    assert len({tuple(client.seed) for client in clients}) == len(_ROWS)
    assert clients[0].seed[0] != _cohort(_ROWS, seed=1).unstack()[0].seed[0]


def test_padding_has_no_say_in_which_items_count():
    items = [3, 5, 8, 1, 0, 7]
    counted = [
        private_popularity._count_items(_client([*items, *[0] * padding], len(items)), 12, 3)
        for padding in (0, 1, 10, 1000)
    ]
    for one in counted:
        np.testing.assert_array_equal(one.ids, counted[0].ids)
        np.testing.assert_array_equal(one.value, 1.0)


def test_probabilities_by_hand():
    counts = np.array([30.0, 4.0, 2.0, 0.5, -8.0], np.float32)
    found = private_popularity.create_popularity_probabilities_from_counts(counts, noise_stddev=6.0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.array([30, 4, 3, 3, 3]) / 43, rtol=1e-6)
    # With little noise the floor is one user.
    found = private_popularity.create_popularity_probabilities_from_counts(counts, noise_stddev=0.1)
    np.testing.assert_allclose(found, np.array([30, 4, 2, 1, 1]) / 38, rtol=1e-6)


def test_items_that_nobody_took_come_out_nearly_uniform():
    noise = np.random.default_rng(0).normal(scale=40.0, size=100_000)
    found = private_popularity.create_popularity_probabilities_from_counts(noise, 40.0)
    ratio = found / found.min()
    assert np.mean(ratio == 1.0) == pytest.approx(0.69, abs=0.01)
    assert np.mean(ratio <= 3.3) == pytest.approx(0.95, abs=0.01)


def test_a_sampler_takes_the_probabilities():
    counts = np.array([300.0, 100.0, -50.0, 10.0], np.float32)
    probabilities = private_popularity.create_popularity_probabilities_from_counts(counts, 40.0)
    sampler = negative_sampling.NegativeSampler(4, 20_000, probabilities)
    drawn = sampler.sample(tf.constant([1, 2])).numpy()
    assert stats.chisquare(np.bincount(drawn), probabilities * 20_000).pvalue > 1e-4


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_a_model_with_the_initial_bias_and_no_embeddings_predicts_popularity(temperature):
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    bias = private_popularity.create_initial_bias(probabilities)
    assert bias.dtype == np.float32
    assert bias.mean() == pytest.approx(0.0, abs=1e-6)
    items = two_tower.ItemRows(tf.zeros([4, 3]), tf.constant(bias))
    logits = two_tower.all_logits(tf.ones([1, 3]), items, temperature).numpy()[0]
    np.testing.assert_allclose(special.softmax(logits), probabilities, rtol=1e-5)


def test_the_baseline_ranks_by_noised_counts():
    counts = np.array([3.5, -1.0, 7.25], np.float32)
    baseline = popularity.PopularityRecommender.from_counts(counts)
    scores = baseline.score_fn(sequences_lib.from_rows([[1], []]))
    np.testing.assert_array_equal(scores, [counts] * 2)
    assert scores.dtype == np.float32
