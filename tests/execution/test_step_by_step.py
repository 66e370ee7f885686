"""Computations that are no round: our contexts return what TFF's own runtime returns."""

import collections

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, exceptions

_ROW = collections.OrderedDict(z=tff.TensorType(np.float32, [None]), a=np.int32)


def _at_clients(type_spec):
    return tff.FederatedType(type_spec, tff.CLIENTS)


def _at_server(type_spec):
    return tff.FederatedType(type_spec, tff.SERVER)


@tff.tensorflow.computation(np.float32, np.float32)
def _squared_difference(value, mean):
    return (value - mean) ** 2


@tff.tensorflow.computation(_ROW)
def _weigh(row):
    return tf.reduce_sum(row["z"]) * tf.cast(row["a"], tf.float32)


@tff.tensorflow.computation
def _draw():
    return tf.random.uniform([4])


# A broadcast of an aggregate.


@tff.federated_computation(_at_clients(np.float32))
def _variance(values):
    mean = tff.federated_broadcast(tff.federated_mean(values))
    return tff.federated_mean(tff.federated_map(_squared_difference, (values, mean)))


def test_a_second_phase(native, contexts):
    values = [1.0, 2.0, 6.0]
    assert agreement.assert_agrees(contexts, _variance, (values,), 1e-6) == pytest.approx(
        np.var(values)
    )


# Values that stay at clients; of a structure, parts that nothing reads.


@tff.federated_computation(_at_server((np.float32, np.str_)), _at_clients((_ROW, np.bool_)))
def _keep_at_clients(server, clients):
    weighed = tff.federated_map(_weigh, clients[0])
    scale = tff.federated_broadcast(server[0])
    return collections.OrderedDict(
        rows=clients[0],
        differences=tff.federated_map(_squared_difference, (weighed, scale)),
        sent=tff.federated_broadcast(server),
        total=tff.federated_sum(weighed),
        server=server,
    )


def test_values_that_stay_at_clients(native, contexts):
    rows = [collections.OrderedDict(z=np.ones(n, np.float32), a=n) for n in (2, 0, 3)]
    arguments = ((1.5, "text"), [(row, True) for row in rows])
    found = agreement.assert_agrees(contexts, _keep_at_clients, arguments, 1e-6)
    assert found["differences"] == [2.5**2, 1.5**2, 7.5**2]
    assert found["total"] == 13
    assert [row["z"].size for row in found["rows"]] == [2, 0, 3]
    assert found["sent"] == (1.5, b"text")


def test_a_dataset_at_clients_is_read_in_two_steps(native, contexts):
    @tff.tensorflow.computation(tff.SequenceType(np.float32))
    def add_up(dataset):
        return dataset.reduce(0.0, lambda total, element: total + element)

    @tff.federated_computation(_at_clients(tff.SequenceType(np.float32)))
    def differences(clients):
        totals = tff.federated_map(add_up, clients)
        mean = tff.federated_broadcast(tff.federated_mean(totals))
        return tff.federated_map(_squared_difference, (totals, mean))

    datasets = [tf.data.Dataset.from_tensor_slices(np.float32(v)) for v in ([1, 2], [7])]
    assert agreement.assert_agrees(contexts, differences, (datasets,)) == [4.0, 4.0]


@tff.tensorflow.computation(
    collections.OrderedDict(a=tff.TensorType(np.int32, [3]), z=np.str_), np.int32
)
def _pick(table, key):
    return collections.OrderedDict(a=table["a"][key], z=table["z"])


@tff.tensorflow.computation(tff.SequenceType(collections.OrderedDict(a=np.int32, z=np.str_)))
def _number_of(slices):
    # Digits in the order of the keys.
    return slices.reduce(0, lambda number, row: 10 * number + row["a"])


@tff.federated_computation(
    _at_clients(tff.TensorType(np.int32, [2])),
    _at_server(np.int32),
    _at_server(collections.OrderedDict(a=tff.TensorType(np.int32, [3]), z=np.str_)),
)
def _select(keys, max_key, table):
    return tff.federated_map(_number_of, tff.federated_select(keys, max_key, table, _pick))


def test_slices_that_clients_select(native, contexts):
    table = collections.OrderedDict(a=np.int32([7, 8, 9]), z="text")
    arguments = ([np.int32([1, 2]), np.int32([2, 0])], 3, table)
    assert agreement.assert_agrees(contexts, _select, arguments) == [89, 97]


def test_an_argument_that_is_not_placed(native, contexts):
    @tff.federated_computation(np.float32, _at_clients(np.float32))
    def differences(value, clients):
        sent = tff.federated_value(value, tff.CLIENTS)
        return tff.federated_sum(tff.federated_map(_squared_difference, (clients, sent)))

    assert agreement.assert_agrees(contexts, differences, (2.0, [1.0, 5.0])) == 10.0


def test_each_client_draws_its_own_numbers(contexts):
    @tff.federated_computation(_at_clients(np.float32))
    def draw(clients):
        return tff.federated_eval(_draw, tff.CLIENTS), tff.federated_sum(clients)

    for name, context in contexts.items():
        with context.install():
            drawn = np.stack([numbers for _ in range(2) for numbers in draw([1.0, 2.0])[0]])
        assert np.unique(drawn).size == drawn.size, name


def test_what_is_wrong_is_said_where(context):
    with context.install():
        with pytest.raises(exceptions.ClientStructureError, match="client 1 of the cohort"):
            _variance([1.0, "text"])
        with pytest.raises(TypeError, match="should have 2 elements"):
            _keep_at_clients((1.5,), [])


def test_noise_that_must_protect_is_not_drawn_so():
    options = compiled.CompiledOptions(has_protective_client_noise=True)
    with (
        compiled.CompiledContext(options).install(),
        pytest.raises(exceptions.UnsupportedComputationError, match="broadcast"),
    ):
        _variance([1.0, 2.0])
