"""Loops over chunks of rows, written in place: the results of TFF's own runtime, and no copy."""

import types

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import forms, native, row_loops

_ROWS = 7
_TABLE = tff.TensorType(np.float32, [_ROWS, 2])
_BIAS = tff.TensorType(np.float32, [_ROWS])
_IDS = tff.TensorType(np.int32, [None])


def _take_steps(table, bias, counts):
    """Three rows at a time: each gets half of itself and of its bias; the bias counts chunks."""

    def move(begin, num_chunks, table, bias):
        end = tf.minimum(begin + 3, _ROWS)
        rows, biases = table[begin:end], tf.gather(bias, tf.range(begin, end))
        moved = tf.cast(counts[begin:end], tf.float32)
        rows += tf.expand_dims(0.5 * (tf.reduce_sum(rows, 1) + biases) * moved, 1)
        ids = tf.range(begin, end)[:, tf.newaxis]
        return (
            end,
            num_chunks + 1,
            tf.tensor_scatter_nd_update(table, ids, rows),
            tf.tensor_scatter_nd_update(bias, ids, biases + tf.cast(num_chunks, tf.float32)),
        )

    _, num_chunks, table, bias = tf.while_loop(
        lambda begin, *_: begin < _ROWS, move, (0, 0, table, bias)
    )
    return table, bias, num_chunks


def _take_steps_that_read_the_old_table(table, bias, counts):
    """The loop carries the bias, and reads the one that came in, too."""

    def move(begin, current):
        ids = tf.range(begin, begin + 1)[:, tf.newaxis]
        row = tf.reduce_sum(bias)[tf.newaxis] + tf.gather(current, [begin])
        return begin + 1, tf.tensor_scatter_nd_update(current, ids, row)

    _, moved = tf.while_loop(lambda begin, _: begin < _ROWS, move, (0, bias))
    return table, moved, tf.reduce_sum(counts)


def _take_steps_that_keep_a_view(table, bias, counts):
    """The loop hands on rows as they were before it wrote them."""

    def move(begin, kept, table):
        ids = tf.range(begin, begin + 1)[:, tf.newaxis]
        rows = table[begin : begin + 1]
        written = tf.tensor_scatter_nd_update(table, ids, rows + 1.0)
        return begin + 1, tf.ensure_shape(rows, [1, 2]), written

    _, kept, table = tf.while_loop(
        lambda begin, *_: begin < _ROWS, move, (0, tf.zeros([1, 2]), table)
    )
    return table, bias + tf.reduce_sum(kept), tf.reduce_sum(counts)


def _take_steps_that_others_wait_for(table, bias, counts):
    moved, new_bias, num_chunks = _take_steps(table, bias, counts)
    return moved, new_bias + tf.reduce_sum(moved), num_chunks


def _build_process(steps):
    @tff.tensorflow.computation(_IDS)
    def mark(ids):
        return tf.scatter_nd(ids[:, tf.newaxis], tf.ones_like(ids), [_ROWS])

    @tff.tensorflow.computation(_TABLE, _BIAS, tff.TensorType(np.int32, [_ROWS]))
    @tf.autograph.experimental.do_not_convert
    def step(table, bias, counts):
        return steps(table, bias, counts)

    @tff.federated_computation(
        tff.FederatedType(_TABLE, tff.SERVER),
        tff.FederatedType(_BIAS, tff.SERVER),
        tff.FederatedType(_IDS, tff.CLIENTS),
    )
    def next_fn(table, bias, ids):
        counts = tff.federated_sum(tff.federated_map(mark, ids))
        return tff.federated_map(step, (table, bias, counts))

    return next_fn


def _run(steps, num_rounds=3):
    next_fn, found = _build_process(steps), []
    table = np.arange(2 * _ROWS, dtype=np.float32).reshape(_ROWS, 2)
    bias = np.linspace(-1.0, 1.0, _ROWS).astype(np.float32)
    addresses = set()
    for number in range(num_rounds):
        clients = [np.array([number, 4], np.int32), np.array([4, 6], np.int32)]
        table, bias, rest = next_fn(table, bias, clients)
        found.append(np.concatenate([np.ravel(table), bias, [rest]]))
        addresses.add(np.asarray(table).__array_interface__["data"][0])
    return np.array(found), addresses


@pytest.fixture(scope="module")
def context():
    return agreement.create_compiled(2, updates_in_place=True)


@pytest.mark.parametrize(
    ("steps", "is_in_place"),
    [
        (_take_steps, True),
        (_take_steps_that_read_the_old_table, False),
        (_take_steps_that_keep_a_view, False),
        (_take_steps_that_others_wait_for, False),
    ],
)
def test_loops_give_what_the_native_runtime_gives(context, steps, is_in_place):
    with native.native_context():
        expected, _ = _run(steps)
    with context.install():
        found, addresses = _run(steps)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if is_in_place:
        assert len(addresses) == 1


def test_a_loop_is_run_in_place_only_where_nothing_else_has_the_table(context):
    def finds_loop(steps):
        return context.create_round(forms.extract(_build_process(steps)))._writing is not None

    assert finds_loop(_take_steps)
    assert not finds_loop(_take_steps_that_read_the_old_table)
    assert not finds_loop(_take_steps_that_keep_a_view)
    assert not finds_loop(_take_steps_that_others_wait_for)


_write = tf.tensor_scatter_nd_update


@pytest.mark.parametrize(
    ("create", "is_write"),
    [
        # By whatever name, and of rows that are read.
        (lambda t, o, r, c, v: [tf.identity(_write(t, r, tf.gather(t, r[:, 0]) + v))], True),
        (lambda t, o, r, c, v: [_write(t, r, t[2:4]), o], True),
        (lambda t, o, r, c, v: [_write(o, r, v), o], False),
        (lambda t, o, r, c, v: [_write(t, c, v[:, 0])], False),
        (lambda t, o, r, c, v: [_write(t, r, v), t], False),
        (lambda t, o, r, c, v: [_write(t, r, v + tf.reduce_sum(t))], False),
        (lambda t, o, r, c, v: [_write(t, r, v), _write(t, r, v)], False),
        (lambda t, o, r, c, v: [t], False),
    ],
)
def test_a_body_writes_rows_of_a_table_of_which_it_reads_rows_alone(create, is_write):
    with tf.Graph().as_default():
        table, other = (tf.compat.v1.placeholder(tf.float32, [6, 2]) for _ in range(2))
        rows, cells = (tf.compat.v1.placeholder(tf.int32, [None, width]) for width in (1, 2))
        values = tf.compat.v1.placeholder(tf.float32, [None, 2])
        named = tf.identity(tf.identity(table))
        assert row_loops.skip_identities(named) is table
        outputs = create(named, other, rows, cells, values)
        body = object.__new__(row_loops._Body)
        body.graph = types.SimpleNamespace(inputs=[table], outputs=outputs)
        assert (body.find_write(0) is not None) == is_write
