import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp
import updates as updates_lib

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.models import two_tower

_NUM_ITEMS = 12
_TYPE = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=True)
_WEIGHT_TYPE = tff.TensorType(np.float32)


def _updates(num_clients=4):
    """Rows overlap between the clients: four of them with 8 of 12 items."""
    rng = np.random.default_rng(0)
    return [updates_lib.create_row_sparse(rng, _NUM_ITEMS, num_rows=8) for _ in range(num_clients)]


def _dense_vectors(updates):
    return [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in updates]


@pytest.mark.usefixtures("native")
def test_sum_equals_numpy():
    process = row_sparse.RowSparseSumFactory(_NUM_ITEMS).create(_TYPE)
    updates = _updates()
    output = process.next(process.initialize(), updates)
    assert output.result.items.embedding.shape == (_NUM_ITEMS, updates_lib.DIM)
    np.testing.assert_allclose(
        updates_lib.flatten(output.result),
        np.sum(_dense_vectors(updates), axis=0),
        rtol=1e-5,
        atol=1e-6,
    )
    empty = process.next(process.initialize(), [])
    np.testing.assert_array_equal(updates_lib.flatten(empty.result), 0.0)


@pytest.mark.usefixtures("native")
def test_clients_may_send_different_numbers_of_rows():
    rng = np.random.default_rng(1)
    updates = [
        updates_lib.create_row_sparse(rng, _NUM_ITEMS, n, p) for n, p in ((1, 0), (9, 4), (0, 1))
    ]
    process = row_sparse.RowSparseSumFactory(_NUM_ITEMS).create(_TYPE)
    np.testing.assert_allclose(
        updates_lib.flatten(process.next(process.initialize(), updates).result),
        np.sum(_dense_vectors(updates), axis=0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.usefixtures("native")
def test_mean_equals_tffs_own_over_dense_values():
    updates = _updates()
    process = row_sparse.RowSparseMeanFactory(_NUM_ITEMS).create(_TYPE)
    found = updates_lib.flatten(process.next(process.initialize(), updates).result)
    stock = tff.aggregators.UnweightedMeanFactory().create(
        updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False)
    )
    dense = [updates_lib.densify(u, _NUM_ITEMS) for u in updates]
    expected = updates_lib.flatten(stock.next(stock.initialize(), dense).result)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found, np.mean(_dense_vectors(updates), axis=0), rtol=1e-5, atol=1e-6
    )
    empty = process.next(process.initialize(), [])
    # As TFF's own; the finalizer rejects it.
    assert np.isnan(updates_lib.flatten(empty.result)).all()


@pytest.mark.usefixtures("native")
def test_weighted_mean_equals_numpy():
    updates = _updates()
    process = row_sparse.RowSparseWeightedMeanFactory(_NUM_ITEMS).create(_TYPE, _WEIGHT_TYPE)

    def mean(updates, weights):
        output = process.next(process.initialize(), updates, [np.float32(w) for w in weights])
        return updates_lib.flatten(output.result)

    weights = [3.0, 0.0, 1.5, 0.5]
    np.testing.assert_allclose(
        mean(updates, weights),
        np.average(_dense_vectors(updates), axis=0, weights=weights),
        rtol=1e-5,
        atol=1e-6,
    )
    # As TFF's own; the finalizer rejects it.
    assert np.isnan(mean(updates, [0.0] * 4)).all()
    assert np.isnan(mean([], [])).all()


@pytest.mark.parametrize(
    "create",
    [
        lambda value_type: row_sparse.RowSparseSumFactory(_NUM_ITEMS).create(value_type),
        lambda value_type: row_sparse.RowSparseMeanFactory(_NUM_ITEMS).create(value_type),
        lambda value_type: row_sparse.RowSparseWeightedMeanFactory(_NUM_ITEMS).create(
            value_type, _WEIGHT_TYPE
        ),
    ],
    ids=["sum", "mean", "weighted_mean"],
)
@pytest.mark.parametrize(
    "value_type",
    [
        updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False),
        tff.TensorType(np.float32, [3]),
        tff.StructType([("ids", np.int32), ("value", np.float32)]),
    ],
    ids=["dense", "tensor", "struct"],
)
def test_other_types_are_refused(create, value_type):
    with pytest.raises(TypeError, match="RowSparse"):
        create(value_type)


def test_no_choice_of_ids_makes_a_sum_longer_than_the_rows_that_count():
    """All short lists of ids in and beside a table of three rows, each against its definition."""

    # As in an aggregation: how many rows there are is not known when the graph is built.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 2])])
    def keep(ids, rows):
        value = (rows, rows[:, 0], tf.constant([7.0]))
        return row_sparse.keep_distinct(row_sparse.RowSparse(ids, value), 3)

    for length in range(4):
        rows = np.arange(1, 2 * length + 1, dtype=np.float32).reshape(length, 2)
        for ids in itertools.product(range(-1, 4), repeat=length):
            found = keep(np.array(ids, np.int32), rows)
            is_ascending = all(later >= earlier for earlier, later in itertools.pairwise(ids))
            counts = [
                is_ascending and 0 <= row < 3 and row not in ids[:place]
                for place, row in enumerate(ids)
            ]
            expected = np.where(np.reshape(counts, (length, 1)), rows, 0.0)
            np.testing.assert_array_equal(found.value[0], expected)
            np.testing.assert_array_equal(found.value[1], expected[:, 0])
            assert found.value[2].numpy().tolist() == [7.0]
            assert found.ids.numpy().tolist() == np.clip(ids, 0, 2).tolist()
    other = (tf.constant([1.0]),)
    assert row_sparse.keep_distinct(other, 3) is other


@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 100.0])
def test_query_clips_as_the_dense_query_does(clip_norm):
    inner = tfp.GaussianSumQuery(clip_norm, 0.0)
    query = row_sparse.RowSparseQuery(inner, _NUM_ITEMS)
    params = query.derive_sample_params(query.initial_global_state())
    for update in _updates(2):
        tensors = tf.nest.map_structure(tf.constant, update)
        record = query.preprocess_record(params, tensors)
        np.testing.assert_array_equal(record.ids, update.ids)
        dense = tf.nest.map_structure(tf.constant, updates_lib.densify(update, _NUM_ITEMS))
        expected = inner.preprocess_record(params, dense)
        record = tf.nest.map_structure(lambda t: t.numpy(), record)
        found = updates_lib.flatten(updates_lib.densify(record, _NUM_ITEMS))
        np.testing.assert_allclose(found, updates_lib.flatten(expected), rtol=1e-5, atol=1e-7)
        vector = updates_lib.flatten(updates_lib.densify(update, _NUM_ITEMS))
        np.testing.assert_allclose(found, updates_lib.clip(vector, clip_norm), rtol=1e-5, atol=1e-7)
        assert np.linalg.norm(found) <= clip_norm * (1 + 1e-5)


def test_adaptive_query_counts_by_the_norm_of_the_whole_update():
    (update,) = _updates(1)
    norm = np.linalg.norm(_dense_vectors([update])[0])
    for clip_norm, expected in ((0.99 * norm, -0.5), (1.01 * norm, 0.5)):
        inner = tfp.QuantileAdaptiveClipSumQuery(clip_norm, 1.0, 0.5, 0.2, 1.0, 10.0)
        query = row_sparse.RowSparseQuery(inner, _NUM_ITEMS)
        params = query.derive_sample_params(query.initial_global_state())
        record = query.preprocess_record(params, tf.nest.map_structure(tf.constant, update))
        assert record.value.quantile_estimator_state == expected


def test_query_starts_from_dense_zeros():
    query = row_sparse.RowSparseQuery(tfp.GaussianSumQuery(1.0, 1.0), _NUM_ITEMS)
    template = tff.types.type_to_tf_tensor_specs(_TYPE)
    state = query.initial_sample_state(template)
    assert isinstance(state, two_tower.TwoTowerWeights)
    assert state.items.embedding.shape == (_NUM_ITEMS, updates_lib.DIM)
    assert state.items.bias.shape == (_NUM_ITEMS,)
    assert state.tower[0].shape == updates_lib.TOWER_SHAPE
    assert all(not np.any(t) for t in tf.nest.flatten(state))


def test_query_of_sums_that_are_rows_starts_from_none():
    inner = tfp.GaussianSumQuery(1.0, 1.0)
    query = row_sparse.RowSparseQuery(inner, _NUM_ITEMS, sums_are_rows=True)
    ids, state = query.initial_sample_state(tff.types.type_to_tf_tensor_specs(_TYPE))
    assert (ids.dtype, ids.shape) == (tf.int32, (0,))
    assert state.items.embedding.shape == (0, updates_lib.DIM)
    assert state.items.bias.shape == (0,)
    assert state.tower[0].shape == updates_lib.TOWER_SHAPE
    assert all(not np.any(t) for t in tf.nest.flatten(state))
