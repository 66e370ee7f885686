"""Rounds of `dp_sparse`, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import updates as updates_lib

from fedrec_tff.aggregators import registry
from fedrec_tff.execution import compiled
from fedrec_tff.privacy import mechanisms

_NUM_ITEMS = 12
_CLIP = 2.5
_CLIENTS_PER_ROUND = 40.0
_ROWS_PER_USER = 3
# So little noise that counts are as good as exact.
_MULTIPLIER = 1e-5
_SHARE = 0.5
both_forms = pytest.mark.parametrize("form", ["dense", "row_sparse"])


@pytest.fixture(scope="module", autouse=True)
def context():
    with compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=1)).install():
        yield


def _process(form, least_count, row_selection="round", tower_clip_norm=None):
    count_stddev = _MULTIPLIER / np.sqrt(_SHARE) * np.sqrt(_ROWS_PER_USER)
    mechanism = mechanisms.Mechanism(
        "dp_sparse",
        _MULTIPLIER,
        _CLIP,
        1_000,
        _CLIENTS_PER_ROUND,
        tower_clip_norm=tower_clip_norm,
        histogram_share=_SHARE,
        rows_per_user=_ROWS_PER_USER,
        row_threshold=least_count / count_stddev,
        row_selection=row_selection,
    )
    is_row_sparse = form == "row_sparse"
    context = registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, is_row_sparse, mechanism)
    factory = registry.get("dp_sparse").build_factory(context)
    return factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=is_row_sparse))


def _count(updates):
    """How many users have each row among the three that they change most."""
    counts = np.zeros(_NUM_ITEMS, int)
    for update in updates:
        items = updates_lib.densify(update, _NUM_ITEMS).items
        norms = np.linalg.norm(np.column_stack([items.embedding, items.bias]), axis=1)
        counts[np.argsort(-norms)[:_ROWS_PER_USER]] += 1
    return counts


def _expect(updates, is_chosen):
    """The mean of clipped updates, on the chosen rows and the tower."""
    vectors = [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]
    mean = np.sum([updates_lib.clip(v, _CLIP) for v in vectors], axis=0) / _CLIENTS_PER_ROUND
    return np.where(_spread(is_chosen), mean, 0.0)


def _spread(is_chosen):
    """Which of a model's numbers are in chosen rows, or in the tower."""
    rows = np.concatenate([np.repeat(is_chosen, updates_lib.DIM), is_chosen])
    return np.concatenate([rows, np.ones(np.prod(updates_lib.TOWER_SHAPE), bool)])


def _check(output, updates, is_chosen):
    found = updates_lib.flatten(output.result)
    np.testing.assert_allclose(found, _expect(updates, is_chosen), atol=1e-5)
    np.testing.assert_array_equal(found[~_spread(is_chosen)], 0.0)
    assert output.measurements["dp_query_metrics"]["chosen_rows"] == np.count_nonzero(is_chosen)


@both_forms
def test_a_round_is_the_mean_of_clipped_updates_on_rows_that_enough_users_changed(form):
    updates = updates_lib.create_cohort(_NUM_ITEMS, num_clients=9)
    counts = _count(updates)
    assert set(counts) >= {1, 2, 3}
    process = _process(form, least_count=1.5)
    output = updates_lib.run_round(_NUM_ITEMS, process, form, updates)
    _check(output, updates, counts >= 2)
    # Nobody came: no row is chosen, and nothing fails.
    empty = updates_lib.run_round(_NUM_ITEMS, process, form, [], output.state)
    _check(empty, [], np.zeros(_NUM_ITEMS, bool))


@both_forms
def test_rows_are_chosen_by_the_mean_of_all_histograms_so_far(form):
    updates = updates_lib.create_cohort(_NUM_ITEMS, num_clients=9)
    process, state = _process(form, least_count=1.5, row_selection="run"), None
    total = np.zeros(_NUM_ITEMS)
    for round_number, cohort in enumerate((updates[:5], updates[5:], []), start=1):
        total += _count(cohort)
        output = updates_lib.run_round(_NUM_ITEMS, process, form, cohort, state)
        # The threshold is on the sum of histograms, whose noise grows by the root of their number.
        _check(output, cohort, total >= 1.5 * np.sqrt(round_number))
        state = output.state


def test_towers_may_be_clipped_apart():
    updates = updates_lib.create_cohort(_NUM_ITEMS)
    process = _process("row_sparse", least_count=0.0, tower_clip_norm=0.3)
    found = updates_lib.flatten(updates_lib.run_round(_NUM_ITEMS, process, "", updates).result)
    vectors = [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]
    split = _NUM_ITEMS * (updates_lib.DIM + 1)
    items = sum(updates_lib.clip(v[:split], _CLIP) for v in vectors)
    tower = sum(updates_lib.clip(v[split:], 0.3) for v in vectors)
    is_there = found[:split] != 0.0
    np.testing.assert_allclose(found[split:], tower / _CLIENTS_PER_ROUND, atol=1e-5)
    np.testing.assert_allclose(
        found[:split][is_there], items[is_there] / _CLIENTS_PER_ROUND, atol=1e-5
    )
    assert np.count_nonzero(is_there) > 20


def test_a_saved_state_goes_on_with_the_histograms_and_the_noise_that_it_had():
    mechanism = mechanisms.Mechanism(
        "dp_sparse",
        0.5,
        _CLIP,
        1_000,
        _CLIENTS_PER_ROUND,
        histogram_share=_SHARE,
        rows_per_user=_ROWS_PER_USER,
        row_threshold=0.5,
        row_selection="run",
    )
    context = registry.AggregatorContext(_NUM_ITEMS, _CLIENTS_PER_ROUND, True, mechanism, 3)
    value_type = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=True)
    processes = [registry.get("dp_sparse").build_factory(context).create(value_type) for _ in "12"]
    updates = updates_lib.create_cohort(_NUM_ITEMS)
    first = processes[0].next(processes[0].initialize(), updates)
    saved = tf.nest.map_structure(np.array, first.state)
    found = [
        updates_lib.flatten(process.next(state, updates).result)
        for process, state in zip(processes, (first.state, saved), strict=True)
    ]
    np.testing.assert_array_equal(*found)
    # A new run would choose by one histogram.
    fresh = processes[1].next(processes[1].initialize(), updates)
    assert np.any(updates_lib.flatten(fresh.result) != found[0])
