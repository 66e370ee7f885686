"""Sums that stay row-sparse, against NumPy over the dense form of what clients send."""

import numpy as np
import pytest
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff.aggregators import row_lists, row_sparse
from fedrec_tff.execution import compiled, exceptions

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
