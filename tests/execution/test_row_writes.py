"""Tables that rounds write in place: the same results, no copy, no state that changes unseen."""

import types

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, row_writes

_TABLE = tff.TensorType(np.float32, [6, 2])
_IDS = tff.TensorType(np.int32, [None])


def _build_process(keeps_old=False):
    """Adds one to the rows that a client names; the result may have the old table beside it."""

    @tff.tensorflow.computation(_IDS)
    def mark(ids):
        return tf.scatter_nd(ids[:, tf.newaxis], tf.ones_like(ids), [6])

    @tff.tensorflow.computation(_TABLE, tff.TensorType(np.int32, [6]))
    def write(table, counts):
        ids = tf.where(counts > 0)
        return tf.tensor_scatter_nd_update(table, ids, tf.gather_nd(table, ids) + 1.0)

    @tff.federated_computation(
        tff.FederatedType(_TABLE, tff.SERVER), tff.FederatedType(_IDS, tff.CLIENTS)
    )
    def next_fn(table, ids):
        counts = tff.federated_sum(tff.federated_map(mark, ids))
        written = tff.federated_map(write, (table, counts))
        return (written, table) if keeps_old else (written, counts)

    return next_fn


@tff.tensorflow.computation(_TABLE)
def _read(table):
    return table


def _address(array):
    return np.asarray(array).__array_interface__["data"][0]


@pytest.fixture(scope="module")
def context():
    return agreement.create_compiled(2, updates_in_place=True)


@pytest.fixture
def start():
    return np.arange(12, dtype=np.float32).reshape(6, 2)


def test_rows_are_written_where_the_state_lies(context, start):
    next_fn, expected = _build_process(), start.copy()
    with context.install():
        table, _ = next_fn(start, [np.array([1, 4], np.int32), np.array([4], np.int32)])
        address = _address(table)
        expected[[1, 4]] += 1
        np.testing.assert_array_equal(table, expected)
        for ids in ([0], [5, 0], []):
            table, _ = next_fn(table, [np.array(ids, np.int32)])
            expected[ids] += 1
            np.testing.assert_array_equal(table, expected)
            assert _address(table) == address
    # What the first round was given is the caller's.
    np.testing.assert_array_equal(start, np.arange(12).reshape(6, 2))


def test_a_state_that_was_used_up_is_refused(context, start):
    next_fn, client = _build_process(), [np.array([2], np.int32)]
    with context.install():
        first, _ = next_fn(start, client)
        second, _ = next_fn(first, client)
        with pytest.raises(exceptions.UsedUpError, match="go on with what that round returned"):
            next_fn(first, client)
        with pytest.raises(exceptions.UsedUpError, match="copy a state"):
            _read(first)
        third, _ = next_fn(second, client)
    np.testing.assert_array_equal(third[2], start[2] + 3)


def test_what_other_computations_read_of_a_state_stays(context, start):
    next_fn, client = _build_process(), [np.array([3], np.int32)]
    with context.install():
        table, _ = next_fn(start, client)
        read = _read(table)
        before = read.copy()
        next_fn(table, client)
    np.testing.assert_array_equal(read, before)


def test_a_table_that_is_a_result_as_it_was_is_not_written(context, start):
    next_fn = _build_process(keeps_old=True)
    with context.install():
        table, old = next_fn(start, [np.array([3], np.int32)])
        next_fn(table, [np.array([3], np.int32)])
        np.testing.assert_array_equal(table[3], start[3] + 1)
    np.testing.assert_array_equal(old, start)


def test_a_round_that_fails_leaves_the_state_as_it_was(context, start):
    next_fn = _build_process()
    with context.install():
        table, _ = next_fn(start, [np.array([1], np.int32)])
        before = table.copy()
        with pytest.raises(exceptions.ClientStructureError):
            next_fn(table, [np.array([1.5], np.float32)])
        np.testing.assert_array_equal(table, before)
        after, _ = next_fn(table, [np.array([0], np.int32)])
    before[0] += 1
    np.testing.assert_array_equal(after, before)


def test_a_first_state_is_written_where_it_lies_and_made_anew_as_it_was(context):
    @tff.tensorflow.computation
    def create():
        zeros = tf.zeros([6, 2])
        return zeros, zeros

    next_fn = _build_process()
    with context.install():
        first, other = create()
        address = _address(first)
        table, _ = next_fn(first, [np.array([1], np.int32)])
        assert _address(table) == address
        np.testing.assert_array_equal(other, 0.0)
        np.testing.assert_array_equal(create()[0], 0.0)


def test_only_whole_rows_of_tables_that_may_be_written_are_told_apart():
    with tf.Graph().as_default():
        table, other = (tf.compat.v1.placeholder(tf.float32, [6, 2]) for _ in range(2))
        shapes = ([None, 1], [None, 2], [None, 1, 1])
        rows, cells, deep = (tf.compat.v1.placeholder(tf.int32, shape) for shape in shapes)
        values = tf.compat.v1.placeholder(tf.float32, [None, 2])
        write = tf.tensor_scatter_nd_update
        for outputs, expected in (
            ([write(table, rows, values)], [(0, 0)]),
            ([table, write(other, rows, values)], [(1, 1)]),
            ([write(table, cells, values[:, 0])], []),
            ([write(table, deep, values[:, tf.newaxis])], []),
            ([write(tf.zeros([6, 2]), rows, values)], []),
            ([write(table, rows, values), table], []),
            ([write(table, rows, values), write(table, rows, values)], []),
        ):
            function = types.SimpleNamespace(inputs=[table, other, rows], outputs=outputs)
            found = row_writes.find(function, 2, 0)
            assert [(one.input_index, one.output_index) for one in found] == expected
        function = types.SimpleNamespace(
            inputs=[table, other], outputs=[write(other, rows, values)]
        )
        assert row_writes.find(function, 1, 0) == ()


@pytest.mark.parametrize("num_rows", [12, 13, 28])
@pytest.mark.parametrize(
    "ids",
    [[4, 5, 6, 7], [0, 1, 2, 3, 4, 5], [11], [8, 9, 10, 11], [3, 4, 5], [2, 4, 6], [0, 2], [5, 4]],
)
def test_stretches_and_single_rows_are_written_where_they_belong(ids, num_rows):
    rng = np.random.default_rng(0)
    table, rows = rng.normal(size=[num_rows, 3]), rng.normal(size=[len(ids), 3])
    expected = table.copy()
    expected[ids] = rows
    written = tf.constant(table)
    address = row_writes._address(written)
    row_writes._write(written, tf.constant(ids)[:, tf.newaxis], tf.constant(rows))
    np.testing.assert_array_equal(written.numpy(), expected)
    assert row_writes._address(written) == address


def test_results_that_share_a_part_of_their_memory_are_adopted_apart():
    whole = tf.reshape(tf.range(1600, dtype=tf.float32), [100, 16])
    middle, end, begin = whole[40:60], whole[50:], whole[:48]
    for results in ([whole, end], [end, whole], [begin, middle], [middle, begin], [middle, end]):
        assert np.shares_memory(*map(np.asarray, results))
        adopted = row_writes.Tables().adopt(results)
        assert not np.shares_memory(*map(np.asarray, adopted))
        for found, expected in zip(adopted, results, strict=True):
            np.testing.assert_array_equal(found, expected)
