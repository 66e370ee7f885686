"""Rounds on a worker against the compiled context, NumPy and closed forms."""

import collections
import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.execution import compiled, exceptions, stacking

_SIZE = 3
_CLIENT = collections.OrderedDict(
    x=tff.TensorType(np.float32, [None]), rows=tff.TensorType(np.int32, [2]), steps=np.int32
)
_CLIENT_TYPE = tff.to_type(_CLIENT)
_NUM_ROWS = 5


@tff.tensorflow.computation(_CLIENT_TYPE, tff.TensorType(np.float32, [_NUM_ROWS]))
def _descend(client, table):
    """Steps of gradient descent from rows of a table: as many as the client says."""
    start = tf.gather(table, client["rows"])
    target = tf.reduce_sum(client["x"])
    _, final = tf.while_loop(
        lambda i, _: i < client["steps"],
        lambda i, v: (i + 1, v - 0.1 * (v - target)),
        (0, start),
    )
    return collections.OrderedDict(
        update=tf.tensor_scatter_nd_add(
            tf.zeros([_NUM_ROWS]), client["rows"][:, tf.newaxis], final - start
        ),
        largest=tf.reduce_max(final),
        count=tf.reduce_sum(tf.cast(client["rows"], tf.int64)),
    )


@tff.federated_computation(
    tff.FederatedType(tff.TensorType(np.float32, [_NUM_ROWS]), tff.SERVER),
    tff.FederatedType(_CLIENT_TYPE, tff.CLIENTS),
)
def _train(table, clients):
    results = tff.federated_map(_descend, (clients, tff.federated_broadcast(table)))
    return collections.OrderedDict(
        total=tff.federated_sum(results["update"]),
        mean=tff.federated_mean(results["update"]),
        largest=tff.federated_max(results["largest"]),
        count=tff.federated_secure_sum_bitwidth(results["count"], 8),
        modular=tff.backends.mapreduce.federated_secure_modular_sum(results["count"], 7),
    )


def _make_clients(steps):
    rng = np.random.default_rng(1)
    return [
        collections.OrderedDict(
            x=rng.normal(size=2 + index % 2).astype(np.float32),
            rows=rng.choice(_NUM_ROWS, 2, replace=False).astype(np.int32),
            steps=np.int32(number),
        )
        for index, number in enumerate(steps)
    ]


def _expect_updates(table, clients):
    """Of each client, in closed form: the distance to the target shrinks to 0.9 in a step."""
    updates = np.zeros([len(clients), _NUM_ROWS])
    for update, client in zip(updates, clients, strict=True):
        start = table[client["rows"]].astype(np.float64)
        target = float(np.sum(client["x"]))
        update[client["rows"]] = (0.9 ** int(client["steps"]) - 1.0) * (start - target)
    return updates


@pytest.mark.parametrize("kind", ["batching", "looping"])
def test_rounds_are_what_closed_forms_say_with_one_long_client_among_short_ones(kind, request):
    context = request.getfixturevalue(kind)
    table = np.linspace(-1, 1, _NUM_ROWS).astype(np.float32)
    clients = _make_clients([0, 200, 1, 0, 2, 0, 0, 1, 3, 0, 1])
    updates = _expect_updates(table, clients)

    with context.install():
        found = _train(table, clients)

    np.testing.assert_allclose(found["total"], np.sum(updates, 0), 1e-4, 1e-5)
    np.testing.assert_allclose(found["mean"], np.mean(updates, 0), 1e-4, 1e-5)
    counts = [int(np.sum(client["rows"])) for client in clients]
    assert found["count"] == sum(counts)
    assert found["modular"] == sum(counts) % 7


def test_clients_of_no_steps_do_not_move_whatever_the_others_of_their_block_do(batching):
    table = np.linspace(-1, 1, _NUM_ROWS).astype(np.float32)
    still, moving = _make_clients([0, 0, 0]), _make_clients([0, 0, 0, 500])[3:]
    with batching.install():
        alone = _train(table, moving)
        together = _train(table, [*still, *moving])

    np.testing.assert_array_equal(together["total"], alone["total"])


def test_nan_stays_its_own_clients(batching, looping):
    @tff.tensorflow.computation(tff.TensorType(np.float32, [2]))
    def clip(x):
        norm = tf.norm(x)
        kept = tf.where(tf.math.is_finite(norm), tf.clip_by_norm(x, 1.0), tf.zeros_like(x))
        _, looped = tf.while_loop(
            lambda i, _: i < 2, lambda i, v: (i + 1, tf.minimum(v, 3.0)), (0, x)
        )
        return kept, tf.cast(tf.math.is_nan(looped), tf.int32), tf.maximum(x, 0.0)

    @tff.federated_computation(tff.FederatedType(tff.TensorType(np.float32, [2]), tff.CLIENTS))
    def computation(clients):
        kept, is_nan, positive = tff.federated_map(clip, clients)
        return tff.federated_sum(kept), tff.federated_sum(is_nan), tff.federated_max(positive)

    clients = [np.float32([3, 4]), np.float32([np.nan, 1]), np.float32([0.3, 0.4])]
    for context in (batching, looping):
        with context.install():
            kept, is_nan, positive = computation(clients)

        np.testing.assert_allclose(kept, [0.9, 1.2], 1e-6)
        np.testing.assert_array_equal(is_nan, [1, 0])
        # NaN is larger than anything, as in NumPy's maximum, and in TensorFlow's.
        np.testing.assert_array_equal(positive, [np.nan, 4])


def test_an_input_out_of_bounds_names_its_client(batching, looping):
    clients = [
        collections.OrderedDict(client, rows=np.int32([0, 1])) for client in _make_clients([1] * 6)
    ]
    clients[4]["rows"] = np.int32([200, 100])
    for context in (batching, looping):
        with (
            context.install(),
            pytest.raises(exceptions.ExecutionError, match="client 4 of the cohort"),
        ):
            _train(np.zeros(_NUM_ROWS, np.float32), clients)


def test_what_is_no_sum_is_added_up_one_by_one_with_the_reason(batching, looping, caplog):
    """Clients' numbers as digits: of another order, another number."""

    @tff.tensorflow.computation(np.int64, np.int64)
    def append(total, digit):
        return 10 * total + digit

    @tff.federated_computation(tff.FederatedType(np.int64, tff.CLIENTS))
    def computation(clients):
        return tff.federated_aggregate(
            clients,
            tff.tensorflow.computation(lambda: np.int64(0))(),
            append,
            tff.tensorflow.computation(lambda a, b: a + b, (np.int64, np.int64)),
            tff.tensorflow.computation(lambda a: a, np.int64),
        )

    for context in (batching, looping):
        with context.install(), caplog.at_level(logging.WARNING, "fedrec_tff"):
            # Of three devices, each has a share of two.
            assert computation([1, 2, 3, 4, 5, 6]) == 12 + 34 + 56
    (record,) = caplog.records
    assert "one after the other: an accumulator goes through mul" in record.getMessage()


def test_what_needs_values_to_compile_runs_in_this_process_with_the_reason(batching, caplog):
    @tff.tensorflow.computation(tff.TensorType(np.float32, [6]), np.int32)
    def cut(x, n):
        return tf.slice(x, [n], [2])

    @tff.federated_computation(
        tff.FederatedType((tff.TensorType(np.float32, [6]), np.int32), tff.CLIENTS)
    )
    def computation(clients):
        return tff.federated_sum(tff.federated_map(cut, clients))

    clients = [(np.arange(6, dtype=np.float32), np.int32(start)) for start in range(4)]
    with batching.install(), caplog.at_level(logging.WARNING, "fedrec_tff"):
        np.testing.assert_array_equal(computation(clients), [6, 10])
    (record,) = caplog.records
    assert "in this process" in record.getMessage()
    assert "bounds of a slice" in record.getMessage()


def test_random_numbers_are_the_compiled_contexts_own(environment):
    """The same seed gives the same integers, client by client, and floats up to rounding."""

    @tff.tensorflow.computation(np.float32)
    def draw(x):
        return (
            tf.random.uniform([4], 0, 1000, tf.int32),
            x + tf.random.uniform([2]) + tf.random.normal([2]),
        )

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def computation(clients):
        drawn = tff.federated_map(draw, clients)
        return tff.federated_sum(drawn[0]), tff.federated_sum(drawn[1])

    options = compiled.CompiledOptions(random_seed=5, clients_per_block=4)
    clients = list(np.float32([1, 2, 3, 4, 5]))
    with compiled.CompiledContext(options).install():
        expected = computation(clients)
    context = pjrt_context.PjrtContext(options, pjrt_context.PjrtOptions(is_batched=True))
    try:
        with context.install():
            found = computation(clients)
    finally:
        context.close()

    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], 1e-5)


def test_rows_of_tables_are_read_where_they_lie(batching):
    table = np.arange(40, dtype=np.float32).reshape(20, 2)
    sizes = np.arange(20, dtype=np.int32)

    @tff.tensorflow.computation(tff.TensorType(np.float32, [2]), np.int32)
    def work(x, n):
        return x * tf.cast(n, tf.float32)

    @tff.federated_computation(
        tff.FederatedType((tff.TensorType(np.float32, [2]), np.int32), tff.CLIENTS)
    )
    def computation(clients):
        return tff.federated_sum(tff.federated_map(work, clients))

    for rows in ([3, 19, 0, 7, 8], [1, 2, 4]):
        rows = np.array(rows)
        leaves = (stacking.StoredRows(table, rows), stacking.StoredRows(sizes, rows))
        part = stacking.StackedClients(leaves, np.arange(len(rows)))
        with batching.install():
            found = computation(stacking.StackedCohort((part,)))
        np.testing.assert_array_equal(found, np.sum(table[rows] * sizes[rows, np.newaxis], 0))


class _Recorder:
    """A protocol that sums in the clear and remembers who sent what."""

    def __init__(self):
        self.sent = {}

    def start(self, slots, num_clients):
        del slots, num_clients
        self.sent.clear()
        return self

    def add(self, values, positions):
        for row, position in enumerate(positions):
            self.sent[int(position)] = [value[row] for value in values]

    def finish(self):
        return [np.sum(column, axis=0) for column in zip(*self.sent.values(), strict=True)]


def test_a_secure_sum_gets_each_clients_own_integers(environment):
    protocol = _Recorder()
    context = pjrt_context.PjrtContext(
        compiled.CompiledOptions(secure_sum=protocol, clients_per_block=4),
        pjrt_context.PjrtOptions(num_cpu_devices=2, is_batched=True),
    )

    @tff.tensorflow.computation(np.int32)
    def double(x):
        return tf.stack([x, 2 * x])

    @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
    def computation(clients):
        return tff.federated_secure_sum_bitwidth(tff.federated_map(double, clients), 8)

    try:
        with context.install():
            found = computation(list(range(11)))
    finally:
        context.close()

    np.testing.assert_array_equal(found, [55, 110])
    assert sorted(protocol.sent) == list(range(11))
    for position, (integers,) in protocol.sent.items():
        np.testing.assert_array_equal(integers, [position, 2 * position])
