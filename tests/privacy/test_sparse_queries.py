"""Noise on chosen rows alone: its law, its bounds, and whether its claim can be contradicted."""

import math
from typing import NamedTuple

import dp_accounting
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.errors import UserError
from fedrec_tff.privacy import accounting, mechanisms, queries, sparse_queries
from fedrec_tff.privacy.audit import divergence
from fedrec_tff.privacy.mechanisms import sparse

_CLIP = 0.5
_DIM = 2


class _Record(NamedTuple):
    items: tuple
    tower: tuple


def _mechanism(**fields):
    numbers = {
        "noise_multiplier": 1.0,
        "histogram_share": 0.5,
        "rows_per_user": 1,
        "row_threshold": 1.0,
        "row_selection": "round",
    }
    return mechanisms.Mechanism(
        "dp_sparse", clip_norm=_CLIP, num_clients=100, clients_per_round=100, **(numbers | fields)
    )


def _create_query(mechanism, num_rows, kind=sparse_queries.SparseGaussianSumQuery):
    histogram = sparse_queries.Histogram(
        num_rows=num_rows,
        noise_multiplier=sparse.split_noise(mechanism)[0],
        rows_per_user=mechanism.rows_per_user,
        threshold=mechanism.row_threshold,
        remembers=mechanism.row_selection == "run",
    )
    stddev = mechanism.kind.added_noise_stddev(mechanism)
    return kind(queries.GaussianSumQuery(_CLIP, stddev), histogram)


def _create_record(table, bias=None, tower=(0.0,)):
    table = np.asarray(table, np.float32)
    bias = np.zeros(len(table)) if bias is None else bias
    return _Record((tf.constant(table), tf.constant(bias, tf.float32)), (tf.constant(tower),))


def _preprocess(query, record):
    return query.preprocess_record(query.derive_sample_params(query.initial_global_state()), record)


def _release(query, sums, state=None):
    state = query.initial_global_state() if state is None else state
    result, state, _ = query.get_noised_result(sums, state)
    return np.concatenate([result.items[0], result.items[1][:, None]], axis=1), result, state


def _step(mechanism):
    return _create_query(mechanism, 1)._histogram.step


# What a user may count.


@pytest.mark.parametrize("value", [1.0, 1e30, np.inf, np.nan])
def test_a_user_counts_in_the_rows_that_it_changes_most_and_in_no_more(value):
    mechanism = _mechanism(rows_per_user=3)
    query = _create_query(mechanism, 8)
    table = np.zeros([8, _DIM])
    table[[1, 2, 5, 6], 0] = np.array([0.3, -0.9, 0.5, 0.6]) * value
    counts = _preprocess(query, _create_record(table)).counts.numpy()
    expected = np.zeros(8)
    if np.isfinite(value):
        expected[[2, 5, 6]] = _step(mechanism)
    np.testing.assert_array_equal(counts, expected)


def test_equal_rows_and_all_rows_count_no_more_and_biases_are_parts_of_rows():
    query = _create_query(_mechanism(rows_per_user=4), 9)
    counts = _preprocess(query, _create_record(np.ones([9, _DIM]))).counts.numpy()
    assert np.count_nonzero(counts) == 4
    # On the grid, the norm of all counts is within what noise is accounted for.
    assert np.sum(counts.astype(object) ** 2) <= query._histogram.grid.max_norm**2
    bias = np.eye(9)[7]
    counts = _preprocess(query, _create_record(np.zeros([9, _DIM]), bias)).counts.numpy()
    np.testing.assert_array_equal(np.flatnonzero(counts), [7])


def test_of_equal_rows_the_first_count_and_rows_of_one_step_do():
    found = sparse_queries._find_largest(tf.constant([1.0, 0.0, 3.0, 1.0, 3.0]), 3)
    np.testing.assert_array_equal(found, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(sparse_queries._find_largest(tf.constant([1.0, 0.0]), 2), [1, 0])


def test_releases_are_counted_from_zero():
    query = _create_query(_mechanism(), 3)
    state = query.initial_global_state()
    for times in range(3):
        assert int(state.num_releases) == times
        *_, state = _release(query, _sums(0, 1, 3), state)


@pytest.mark.parametrize("ids", [[3, 3, 3], [5, 4, 3], [1, 99, 100], [-4, -3, 2], [0, 0, 1]])
def test_ids_that_cheat_count_no_more(ids):
    mechanism = _mechanism(rows_per_user=2)
    query = row_sparse.RowSparseQuery(_create_query(mechanism, 9), 9)
    record = row_sparse.RowSparse(tf.constant(ids, tf.int32), _create_record(np.ones([3, _DIM])))
    # Row tensors say so by their type, as they do where TFF traces.
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), record)
    specs = specs._replace(value=specs.value._replace(tower=(tf.TensorSpec([1]),)))
    preprocess = tf.function(lambda r: _preprocess(query, r), input_signature=[specs])
    found = preprocess(record)
    histogram = np.zeros(9)
    np.add.at(histogram, found.ids.numpy(), found.value.counts.numpy())
    assert np.max(histogram) <= _step(mechanism)
    assert np.count_nonzero(histogram) <= 2


@pytest.mark.parametrize("rows_per_user", [1, 7, 50, 1_000_000])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_noise_fits_the_grid_up_to_the_limit_and_no_further(rows_per_user, share):
    fields = {"rows_per_user": rows_per_user, "histogram_share": share}
    limit = mechanisms.noise_multiplier_limit(_mechanism(**fields))
    near = _create_query(_mechanism(noise_multiplier=limit * (1 - 1e-9), **fields), 3)
    assert near._histogram.step >= 1
    with pytest.raises(UserError):
        _create_query(_mechanism(noise_multiplier=limit * 2.01, **fields), 3)


# The law of the noise.

_ROWS = 40_000


def _sums(counts, step, num_rows=_ROWS, moved=0.0):
    zeros = np.zeros([num_rows, _DIM], np.int64)
    zeros[:, 0] += np.int64(moved)
    items = (tf.constant(zeros), tf.zeros([num_rows], tf.int64))
    value = _Record(items, (tf.zeros([1], tf.int64),))
    counted = tf.fill([num_rows], tf.constant(counts * step, tf.int64))
    return sparse_queries.Counted(value, counted)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_row_is_chosen_as_often_as_its_noised_count_passes(count):
    mechanism = _mechanism(rows_per_user=4, row_threshold=1.5)
    query = _create_query(mechanism, _ROWS)
    rows, _, state = _release(query, _sums(count, _step(mechanism)))
    is_chosen = np.any(rows != 0.0, axis=1)
    # Standard deviation of a count: sqrt(1 / 0.5) sqrt(4).
    expected = stats.norm.sf(1.5 - count / math.sqrt(8.0))
    if count == 0:
        assert mechanism.kind.needless_probability(mechanism) == pytest.approx(expected)
    # Fails by chance once in a million times.
    assert stats.binomtest(int(is_chosen.sum()), _ROWS, expected).pvalue > 1e-6
    assert int(state.num_chosen) == is_chosen.sum()
    assert query.derive_metrics(state)["chosen_rows"] == state.num_chosen
    assert query.derive_metrics(query.initial_global_state())["chosen_rows"] == 0


def test_noise_is_on_all_of_a_chosen_row_and_on_nothing_of_another():
    mechanism = _mechanism(noise_multiplier=1.5, histogram_share=0.36, row_threshold=0.5)
    query = _create_query(mechanism, _ROWS)
    rows, result, _ = _release(query, _sums(0, 1))
    is_chosen = np.any(rows != 0.0, axis=1)
    noise = rows[is_chosen]
    # A number is 0 by chance once in 2.6 million.
    assert np.count_nonzero(noise == 0.0) < 4
    assert np.all(rows[~is_chosen] == 0.0)
    assert np.all(result.tower[0] != 0.0)
    # 1.5 / sqrt(1 - 0.36), by hand. 5 standard deviations of the estimates.
    expected = 1.875 * _CLIP
    np.testing.assert_allclose(noise.std(axis=0), expected, rtol=5 / np.sqrt(2 * len(noise)))
    assert np.all(np.abs(noise.mean(axis=0)) < 5 * expected / np.sqrt(len(noise)))
    correlations = np.corrcoef(np.column_stack([noise, np.roll(noise, 1, axis=0)]).T)
    assert np.abs(correlations - np.eye(6)).max() < 5 / np.sqrt(len(noise))


def test_a_histogram_that_is_remembered_wears_its_noise_off():
    mechanism = _mechanism(rows_per_user=4, row_threshold=2.0, row_selection="run")
    query, state = _create_query(mechanism, _ROWS), None
    for round_number in range(1, 5):
        rows, _, state = _release(query, _sums(1, _step(mechanism)), state)
        # Of the mean: a count of 1, noise of sqrt(8 / rounds).
        expected = stats.norm.sf(2.0 - math.sqrt(round_number / 8.0))
        num_chosen = np.count_nonzero(np.any(rows != 0.0, axis=1))
        assert stats.binomtest(int(num_chosen), _ROWS, expected).pvalue > 1e-6
    mean = state.history.numpy() / _step(mechanism) / 4
    assert mean.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2.0 / _ROWS))
    assert mean.std() == pytest.approx(math.sqrt(2.0), rel=5 / np.sqrt(2 * _ROWS))


def test_secret_noise_is_new_in_each_release_from_the_same_state():
    query = _create_query(_mechanism(row_threshold=0.0), 200)
    (first, *_), (second, *_) = (_release(query, _sums(0, 1, 200)) for _ in range(2))
    # Half of the rows each: others.
    assert np.any((first != 0.0) != (second != 0.0))
    in_both = (first != 0.0) & (second != 0.0)
    assert np.all(first[in_both] != second[in_both])


# What both releases are worth together.


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_both_events_are_worth_the_noise_multiplier(share):
    """Two Gaussians on one sample, composed by `dp_accounting`'s own accountant, cost as much."""
    mechanism = _mechanism(noise_multiplier=0.9, histogram_share=share, rows_per_user=9)
    query = _create_query(mechanism, 5)
    *_, event = query.get_noised_result(_sums(0, 1, 5), query.initial_global_state())
    parts = [float(part.noise_multiplier) for part in event.events]
    assert len(parts) == 2
    assert parts[0] == pytest.approx(0.9 / math.sqrt(share))
    unit = mechanisms.unit_event(_mechanism(noise_multiplier=0.9, histogram_share=share)).event
    orders = [1.5, 2.0, 4.0, 8.0, 32.0]
    composed, alone = (dp_accounting.rdp.RdpAccountant(orders) for _ in range(2))
    for part in parts:
        composed.compose(
            dp_accounting.PoissonSampledDpEvent(1.0, dp_accounting.GaussianDpEvent(part)), 7
        )
    alone.compose(dp_accounting.PoissonSampledDpEvent(1.0, unit), 7)
    assert composed.get_epsilon(1e-5) == pytest.approx(alone.get_epsilon(1e-5), rel=1e-6)


# Monte Carlo. With one row for each user to count in, every row of a release is a mechanism of its
# own over a table of one row: 40,000 independent releases. One neighbour has nothing, the other a
# user who counts in the row and moves it by the clip.


def _scores(query, mechanism, is_present):
    """The best attack there is: the logarithm of the likelihood ratio of each row."""
    count = 1 if is_present else 0
    moved = count * query._sum_query.grid.max_norm
    rows, *_ = _release(query, _sums(count, _step(mechanism), moved=moved))
    is_chosen = np.any(rows != 0.0, axis=1)
    counted = sparse.split_noise(mechanism)[0]
    passes = stats.norm.sf(mechanism.row_threshold - np.array([0.0, 1.0]) / counted)
    stddev = mechanism.kind.added_noise_stddev(mechanism)
    gain = rows[:, 0] * _CLIP / stddev**2 - _CLIP**2 / (2.0 * stddev**2)
    chosen, not_chosen = np.log(passes[1] / passes[0]), np.log((1 - passes[1]) / (1 - passes[0]))
    return np.where(is_chosen, chosen + gain, not_chosen)


def _find(mechanism, kind=sparse_queries.SparseGaussianSumQuery, claimed=None):
    relation = accounting.NeighbouringRelation.ADD_OR_REMOVE_ONE
    event = mechanisms.unit_event(claimed or mechanism)
    assert event.sampling_probability == 1.0
    claims = [(accounting.epsilon([(event, 1)], delta, relation), delta) for delta in (0.2, 0.05)]
    query = _create_query(mechanism, _ROWS, kind)
    found = (_scores(query, mechanism, is_present) for is_present in (True, False))
    return divergence.find_contradiction(*found, claims, 1.0 - 1e-6)


class _NoiseOnTouchedRows(sparse_queries.SparseGaussianSumQuery):
    """Spares rows that nobody touched: that one is there tells that somebody did."""

    def _choose(self, counts, global_state):
        chosen, history = super()._choose(counts, global_state)
        return tf.boolean_mask(chosen, tf.gather(counts, chosen) > 0), history


class _ExactChoice(sparse_queries.SparseGaussianSumQuery):
    """Chooses what somebody touched, without any noise."""

    def _choose(self, counts, global_state):
        return tf.where(counts > 0)[:, 0], super()._choose(counts, global_state)[1]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("threshold", [0.3, 1.0])
def test_the_best_attack_contradicts_no_claim(share, threshold):
    assert _find(_mechanism(histogram_share=share, row_threshold=threshold)) is None


@pytest.mark.parametrize("kind", [_NoiseOnTouchedRows, _ExactChoice])
def test_noise_on_touched_rows_alone_is_found(kind):
    assert _find(_mechanism(row_threshold=0.3), kind) is not None


def test_an_attack_finds_half_of_the_noise_and_a_histogram_that_is_not_accounted():
    claimed = _mechanism(row_threshold=0.3)
    half = _mechanism(row_threshold=0.3, noise_multiplier=0.5)
    assert _find(half, claimed=claimed) is not None
    # As if the updates had all of the budget, and the histogram as much again.
    both = _mechanism(row_threshold=0.3, noise_multiplier=1.0 / math.sqrt(2.0))
    assert _find(both, claimed=claimed) is not None
