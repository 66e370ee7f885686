"""Sums that stay row-sparse, against NumPy over the dense form of what clients send."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff.aggregators import registry, row_lists, row_sparse
from fedrec_tff.execution import compiled, exceptions, native
from fedrec_tff.privacy import mechanisms, sampling

_NUM_ITEMS = 30
_TYPE = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=True)


@pytest.fixture(scope="module", autouse=True)
def context():
    options = compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=2)
    with compiled.CompiledContext(options).install():
        yield


def _updates():
    """Clients of other numbers of rows, which overlap."""
    rng = np.random.default_rng(0)
    rows = ((8, 2), (5, 0), (1, 7), (8, 2), (3, 3))
    return [updates_lib.create_row_sparse(rng, _NUM_ITEMS, n, p) for n, p in rows]


def _sum(updates, max_sent_rows):
    factory = row_lists.RowListSumFactory(_NUM_ITEMS, max_sent_rows)
    process = factory.create(_TYPE)
    return process.next(process.initialize(), updates).result


def test_sum_has_each_sent_row_once_and_equals_numpy():
    updates = _updates()
    total = _sum(updates, max_sent_rows=25)
    sent = sorted(set(np.concatenate([u.ids for u in updates])))
    np.testing.assert_array_equal(total.ids, sent)
    dense = [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]
    found = updates_lib.flatten(updates_lib.densify(total, _NUM_ITEMS))
    np.testing.assert_allclose(found, np.sum(dense, axis=0), rtol=1e-5, atol=1e-6)


def test_more_rows_than_there_is_room_for_fail_the_round():
    with pytest.raises(exceptions.ExecutionError, match="more_table_rows_than_there_is_room_for"):
        _sum(_updates(), max_sent_rows=24)


def test_nobody_sends_nothing():
    total = _sum([], max_sent_rows=5)
    assert total.ids.shape == (0,)
    assert total.value.items.embedding.shape == (0, updates_lib.DIM)
    np.testing.assert_array_equal(total.value.tower[0], 0.0)


def test_rows_of_ids_that_repeat_or_descend_do_not_count():
    """As in the dense sum: what a client sends is not taken on trust."""
    rng = np.random.default_rng(1)
    good = updates_lib.create_row_sparse(rng, _NUM_ITEMS, 4, 0)
    repeated = good._replace(ids=np.array([2, 2, 7, 9], np.int32))
    descending = good._replace(ids=np.array([9, 7, 2, 1], np.int32))
    total = _sum([repeated, descending], max_sent_rows=20)
    expected = np.zeros([_NUM_ITEMS, updates_lib.DIM], np.float32)
    expected[[2, 7, 9]] = good.value.items.embedding[[0, 2, 3]]
    found = updates_lib.densify(total, _NUM_ITEMS).items.embedding
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_weighted_mean_divides_rows_and_rest():
    updates, weights = _updates(), [1.0, 2.0, 0.5, 0.0, 4.0]
    sums = row_lists.RowListSumFactory(_NUM_ITEMS, 25)
    factory = row_sparse.RowSparseWeightedMeanFactory(_NUM_ITEMS, sums)
    process = factory.create(_TYPE, tff.TensorType(np.float32))
    mean = process.next(process.initialize(), updates, weights).result
    dense = [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]
    found = updates_lib.flatten(updates_lib.densify(mean, _NUM_ITEMS))
    np.testing.assert_allclose(
        found, np.average(dense, axis=0, weights=weights), rtol=1e-5, atol=1e-6
    )


def test_integers_that_clients_send_in_few_bits_are_summed_in_many():
    most = np.iinfo(np.int32).max
    rows = row_sparse.RowSparse(
        tff.TensorType(np.int32, [None]), tff.TensorType(np.int64, [None, 2])
    )
    factory = row_lists.RowListSumFactory(_NUM_ITEMS, 8, tf.int32)
    process = factory.create(tff.to_type(rows))
    client = row_sparse.RowSparse(np.array([3, 5], np.int32), np.array([[most, -most], [1, 2]]))
    total = process.next(process.initialize(), [client] * 4).result
    np.testing.assert_array_equal(total.ids, [3, 5])
    assert total.value.dtype == np.int64
    np.testing.assert_array_equal(total.value, [[4 * most, -4 * most], [4, 8]])


def _run_private_mean(max_sent_rows, noise_multiplier, tower_clip_norm, cohorts):
    mechanism = mechanisms.Mechanism(
        name="dp_gaussian",
        noise_multiplier=noise_multiplier,
        clip_norm=0.7,
        num_clients=100,
        clients_per_round=5,
        sampling=sampling.POISSON,
        tower_clip_norm=tower_clip_norm,
    )
    context = registry.AggregatorContext(
        _NUM_ITEMS,
        5.0,
        True,
        mechanism,
        insecure_noise_seed=3,
        max_sent_rows=max_sent_rows,
    )
    process = registry.get("dp_gaussian").build_factory(context).create(_TYPE)
    state, means = process.initialize(), []
    for cohort in cohorts:
        output = process.next(state, cohort)
        state = output.state
        means.append(updates_lib.flatten(output.result))
    return np.array(means)


_OTHER_CASES = [(0.0, None, False), (0.0, 0.3, True), (1.3, 0.3, False), (1.3, None, True)]


@pytest.mark.parametrize(
    ("noise_multiplier", "tower_clip_norm", "is_native"),
    [
        (1.3, 0.3, True),
        pytest.param(1.3, None, False, marks=pytest.mark.slow),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in _OTHER_CASES),
    ],
)
def test_a_noised_mean_of_lists_is_that_of_whole_tables(
    noise_multiplier, tower_clip_norm, is_native
):
    """To the bit, from round to round, for empty cohorts and for clients that cheat."""
    rng = np.random.default_rng(1)
    good = updates_lib.create_row_sparse(rng, _NUM_ITEMS, 4, 0)
    repeated = good._replace(ids=np.array([2, 2, 7, 9], np.int32))
    descending = good._replace(ids=np.array([9, 7, 2, 1], np.int32))
    cohorts = [_updates(), [], [repeated, good, descending], _updates()]
    arguments = noise_multiplier, tower_clip_norm, cohorts
    expected = _run_private_mean(None, *arguments)
    if is_native:
        with native.native_context():
            found = _run_private_mean(25, *arguments)
    else:
        found = _run_private_mean(25, *arguments)
    np.testing.assert_array_equal(found, expected)
    assert np.any(found[0] != found[3]) == (noise_multiplier > 0.0)
