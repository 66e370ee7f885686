import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from fedrec_tff.privacy import distributed, distributed_queries, mechanisms, noise_tables

_NAMES = ["ddp_discrete_gaussian", "ddp_skellam"]
both_names = pytest.mark.parametrize("name", _NAMES)
_LEAST_P_VALUE = 1e-5


@pytest.fixture(autouse=True)
def _same_draws_in_each_run():
    tf.random.set_seed(20)
    yield
    tf.random.set_seed(None)


def _noise(name="ddp_skellam", multiplier=1.0, num_weights=2_000, bits=18, num_clients=20):
    mechanism = mechanisms.Mechanism(
        name,
        multiplier,
        clip_norm=0.5,
        num_clients=100,
        clients_per_round=num_clients,
        sampling="shuffled_epochs",
        num_weights=num_weights,
        modulus_bits=bits,
    )
    return distributed.create_distributed_noise(mechanism)


def _vector(noise, norm, seed=0):
    vector = np.random.default_rng(seed).normal(size=noise.num_weights)
    return (norm * vector / np.linalg.norm(vector)).astype(np.float32)


def _encode(query, vector):
    return query.preprocess_record((), tf.constant(vector)).numpy()


def _decode(query, total):
    result, _, _ = query.get_noised_result(tf.constant(total, tf.int64), ())
    return result.numpy().astype(np.float64)


# Draws from tables.


def _assert_distributed(draws, probability_fn):
    """A chi-square test; values that are rare are one cell at each end."""
    low, high = np.quantile(draws, [0.001, 0.999]).astype(int)
    inside = np.arange(low + 1, high)
    all_values = np.arange(-5 * (high + 20), 5 * (high + 20) + 1)
    probabilities = probability_fn(all_values.astype(np.float64))
    cells = np.clip(all_values, low, high) - low
    expected = np.bincount(cells, probabilities) * draws.size
    found = np.bincount(np.clip(draws, low, high) - low, minlength=len(inside) + 2)
    # Neighbouring cells together, so that each has enough.
    groups = (np.cumsum(expected) // 25).astype(int)
    _, groups = np.unique(groups, return_inverse=True)
    expected, found = np.bincount(groups, expected), np.bincount(groups, found)
    expected *= draws.size / expected.sum()
    assert len(expected) > 2
    assert stats.chisquare(found, expected).pvalue > _LEAST_P_VALUE


def _gaussian_probabilities(values, variance):
    weights = np.exp(-np.square(values) / (2 * variance))
    return weights / weights.sum()


@pytest.mark.parametrize("variance", [0.3, 7.0, 900.0])
@pytest.mark.parametrize("kind", ["discrete_gaussian", "skellam"])
def test_draws_have_the_tables_distribution(kind, variance):
    noise = dataclasses.replace(_noise(), distribution=kind, local_variance=variance)
    table = distributed_queries.create_table(noise)
    draws = distributed_queries.draw_from_table(table, 300_000).numpy()
    assert draws.dtype == np.int64
    if kind == "skellam":
        _assert_distributed(draws, lambda v: special.ive(np.abs(v), variance))
        expected_variance = variance
    else:
        _assert_distributed(draws, lambda v: _gaussian_probabilities(v, variance))
        values = np.arange(-1000, 1001.0)
        expected_variance = np.square(values) @ _gaussian_probabilities(values, variance)
    # Five standard deviations of the estimates; kurtosis is at most 3 + 1 / variance.
    error = 5 * math.sqrt((2 + 1 / variance) / draws.size)
    np.testing.assert_allclose(np.var(draws), expected_variance, rtol=error)
    assert abs(draws.mean()) < 5 * math.sqrt(expected_variance / draws.size)
    for lag in (1, draws.size // 2):
        assert abs(np.corrcoef(draws, np.roll(draws, lag))[0, 1]) < 5 / math.sqrt(draws.size)


def test_a_draw_is_the_tables_own_look_up(monkeypatch):
    """Both words count, the second where the first one is a tie."""
    table = noise_tables.create_skellam_table(2.0)
    shift = noise_tables.WORD_BITS - table.column_bits
    words, expected = [], []
    for column, alias in enumerate(table.aliases):
        high, low = int(table.high_thresholds[column]), int(table.low_thresholds[column])
        for d_high, d_low in [(-1, 0), (0, -1), (0, 0), (1, 0)]:
            pair = high + d_high, low + d_low
            if 0 <= pair[0] < 2**shift and 0 <= pair[1] < 2**62:
                words.append(((column << shift) + pair[0], pair[1]))
                expected.append((column if pair < (high, low) else alias) - table.radius)
    both_words = iter(np.array(words, np.int64).T)
    monkeypatch.setattr(
        distributed_queries, "_draw_words", lambda num: tf.constant(next(both_words))
    )
    found = distributed_queries.draw_from_table(table, len(words)).numpy()
    np.testing.assert_array_equal(found, expected)


# Rounding.


def test_rounding_has_no_bias_and_errs_by_less_than_a_step():
    noise = _noise(num_weights=300)
    vector = _vector(noise, 0.4)
    scaled = vector.astype(np.float64) / noise.granularity
    draws = np.stack(
        [distributed_queries.round_to_grid(tf.constant(vector), noise).numpy() for _ in range(700)]
    )
    assert np.abs(draws - scaled).max() < 1.0
    errors = draws - scaled
    fractions = scaled - np.floor(scaled)
    deviation = np.sqrt(fractions * (1 - fractions) / len(draws))
    assert np.all(np.abs(errors.mean(axis=0)) <= 5 * deviation + 1e-9)
    np.testing.assert_allclose(
        errors.var(axis=0).sum(), (fractions * (1 - fractions)).sum(), rtol=0.02
    )
    # Coordinates are rounded independently.
    correlations = np.corrcoef(draws[:, fractions * (1 - fractions) > 0.1].T)
    np.fill_diagonal(correlations, 0.0)
    assert np.abs(correlations).max() < 6 / math.sqrt(len(draws))


_ADVERSARIES = {
    "long": lambda n: _vector(n, 1e6),
    "longer than float32 squares": lambda n: _vector(n, 1e30),
    "the longest": lambda n: np.full(n.num_weights, 3.4e38, np.float32),
    "one huge weight": lambda n: np.eye(1, n.num_weights, 7, dtype=np.float32)[0] * 3e38,
    "just at the clip": lambda n: _vector(n, 0.5),
    "halves": lambda n: np.full(
        n.num_weights,
        (math.floor(n.scaled_clip_norm / n.num_weights**0.5) - 0.5) * n.granularity,
        np.float32,
    ),
    "nan": lambda n: np.where(np.arange(n.num_weights) == 3, math.nan, _vector(n, 0.1)),
    "inf": lambda n: np.where(np.arange(n.num_weights) == 3, math.inf, _vector(n, 0.1)),
    "both infinities": lambda n: np.array([math.inf, -math.inf] * (n.num_weights // 2)),
    "subnormal": lambda n: np.full(n.num_weights, 1e-44, np.float32),
}


@pytest.mark.parametrize("bits", [12, 18, 40])
@pytest.mark.parametrize("adversary", _ADVERSARIES)
def test_no_record_is_longer_than_the_bound(adversary, bits):
    noise = _noise(bits=bits)
    vector = _ADVERSARIES[adversary](noise).astype(np.float32)
    for _ in range(20):
        found = distributed_queries.round_to_grid(tf.constant(vector), noise).numpy()
        assert sum(int(value) ** 2 for value in found) <= noise.max_squared_norm
        assert np.abs(found).sum() <= noise.l1_sensitivity / 2
    if adversary in ("nan", "inf", "both infinities"):
        np.testing.assert_array_equal(found, 0)
    if adversary.startswith("long"):
        # Clipped, no more.
        assert np.linalg.norm(found) > 0.99 * noise.scaled_clip_norm


def test_what_random_rounding_makes_too_long_is_rounded_towards_zero():
    noise = _noise(num_weights=400)
    vector = np.full(400, 0.5 * noise.granularity, np.float32) * np.where(np.arange(400) % 2, 3, -3)
    towards_zero = np.where(np.arange(400) % 2, 1, -1)
    strict = dataclasses.replace(noise, max_squared_norm=400)
    found = distributed_queries.round_to_grid(tf.constant(vector), strict)
    np.testing.assert_array_equal(found, towards_zero)
    # What is too long even so is nothing.
    stricter = dataclasses.replace(noise, max_squared_norm=399)
    np.testing.assert_array_equal(
        distributed_queries.round_to_grid(tf.constant(vector), stricter), 0
    )
    # With the true bound random rounding is what happens.
    usual = distributed_queries.round_to_grid(tf.constant(vector), noise).numpy()
    assert set(np.abs(usual)) == {1, 2}


# All of it.


@both_names
def test_zeros_and_what_is_not_finite_get_their_share_of_noise(name):
    noise = _noise(name, num_weights=50_000)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    for vector in (np.zeros(50_000, np.float32), np.full(50_000, math.nan, np.float32)):
        encoded = _encode(query, vector)
        assert encoded.min() >= 0
        assert encoded.max() < noise.modulus
        centred = np.where(encoded >= noise.modulus // 2, encoded - noise.modulus, encoded)
        np.testing.assert_allclose(
            centred.var(), noise.local_variance, rtol=5 * math.sqrt(2 / 50_000)
        )
    if name == "ddp_skellam":
        _assert_distributed(centred, lambda v: special.ive(np.abs(v), noise.local_variance))
    else:
        _assert_distributed(centred, lambda v: _gaussian_probabilities(v, noise.local_variance))


@both_names
def test_shares_of_less_than_a_step_are_added_too(name):
    noise = dataclasses.replace(_noise(name, num_weights=10_000), local_variance=0.3)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    encoded = _encode(query, np.zeros(10_000, np.float32))
    assert 0.1 < np.mean(encoded != 0) < 0.5


@both_names
def test_the_sum_of_a_cohort_has_the_noise_that_was_planned(name):
    noise = _noise(name, multiplier=3.0)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    vectors = [_vector(noise, 0.1 * (i + 1), seed=i) for i in range(20)]
    total = sum(_encode(query, vector) for vector in vectors) % noise.modulus
    clipped = [v * min(1.0, 0.5 / np.linalg.norm(v)) for v in vectors]
    error = _decode(query, total) - np.sum(clipped, axis=0)
    # 3 times the clip, and what rounding adds: at most 1/4 of a squared step for each client.
    least = 3.0 * 0.5
    most = math.sqrt(least**2 + 20 / 4 * noise.granularity**2)
    tolerance = 5 / math.sqrt(2 * noise.num_weights)
    assert least * (1 - tolerance) < error.std() < most * (1 + tolerance)
    assert abs(error.mean()) < 5 * most / math.sqrt(noise.num_weights)


def test_sums_are_read_around_zero():
    noise = _noise(num_weights=5)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    half = noise.modulus // 2
    sums = np.array([0, 1, -1, half - 1, -half])
    for wrapped in (sums, sums % noise.modulus, sums + 3 * noise.modulus):
        np.testing.assert_allclose(_decode(query, wrapped), sums * noise.granularity, rtol=1e-6)
    # One more goes round.
    np.testing.assert_allclose(_decode(query, np.full(5, half)), -half * noise.granularity)


@pytest.mark.parametrize("bits", [18, 32])
def test_without_noise_the_largest_cohort_does_not_go_round(bits):
    noise = _noise(multiplier=0.0, bits=bits, num_weights=50)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    vector = np.zeros(50, np.float32)
    vector[7] = -10.0
    total = sum(_encode(query, vector) for _ in range(20)) % noise.modulus
    np.testing.assert_allclose(
        _decode(query, total), 20 * 0.05 * vector, atol=20 * noise.granularity
    )


def test_the_least_grid_still_sums_right():
    """Few bits, so few steps to the clip: noise and rounding, but no bias."""
    noise = _noise(num_weights=4_000, bits=12)
    assert noise.scaled_clip_norm < 100
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    vector = np.full(4_000, 0.4 / math.sqrt(4_000), np.float32)
    total = sum(_encode(query, vector) for _ in range(20)) % noise.modulus
    error = _decode(query, total) - 20 * vector
    deviation = math.sqrt(0.5**2 + 20 / 4 * noise.granularity**2)
    assert abs(error.mean()) < 5 * deviation / math.sqrt(4_000)


def test_the_state_of_a_sum_is_integers():
    noise = _noise(num_weights=6)
    query = distributed_queries.DistributedNoiseSumQuery(noise)
    state = query.initial_sample_state(tf.zeros(6))
    assert (state.dtype, state.shape) == (tf.int64, [6])
    record = query.preprocess_record((), tf.zeros(6))
    summed = query.merge_sample_states(query.accumulate_preprocessed_record(state, record), state)
    np.testing.assert_array_equal(summed, record)


def test_words_have_all_of_their_bits_and_no_more(monkeypatch):
    asked = []
    monkeypatch.setattr(tf.random, "uniform", lambda *args: asked.append(args))
    distributed_queries._draw_words(3)
    assert asked == [([3], 0, 2**62, tf.int64)]
