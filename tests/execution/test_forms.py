"""Computations taken apart."""

import collections
import gc

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, forms, graph_functions, values


def _at_clients(type_spec):
    return tff.FederatedType(type_spec, tff.CLIENTS)


def _at_server(type_spec):
    return tff.FederatedType(type_spec, tff.SERVER)


@tff.tensorflow.computation(np.float32, np.float32)
def _multiply(a, b):
    return a * b


@tff.federated_computation(
    _at_clients(np.int32),
    collections.OrderedDict(z=_at_server(np.float32), a=_at_clients(np.float32)),
    _at_server(np.int64),
)
def _scattered(counts, named, number):
    products = tff.federated_map(_multiply, (tff.federated_broadcast(named["z"]), named["a"]))
    return tff.federated_sum(products), tff.federated_sum(counts), number


@pytest.fixture(scope="module")
def form():
    return forms.extract(_scattered)


def test_arguments_are_gathered_by_placement(form):
    argument = ([1, 2], {"a": [0.5, 0.25], "z": 3.0}, 7)
    server, clients = form.split_argument(argument)
    assert server == [3.0, 7]
    assert clients == [(1, 0.5), (2, 0.25)]
    assert form.num_server_leaves == 2
    assert [t.dtype.type for t in values.leaf_types(form.client_type)] == [np.int32, np.float32]


def test_the_parts_make_a_round(form):
    server = [tf.constant(3.0), tf.constant(7, tf.int64)]
    prepared = form.prepare(server)
    accumulators = []
    for clients in ([(1, 0.5), (2, 0.25)], [(4, 2.0)]):
        accumulator = form.zero([])
        for client in clients:
            update = form.work([*map(tf.constant, client), *prepared])
            accumulator = form.accumulate([*accumulator, *update])
        accumulators.append(accumulator)
    reported = form.report(form.merge(accumulators[0] + accumulators[1]))
    results = form.update([*server, *reported])
    assert [r.numpy() for r in results] == [3.0, 7, 3.0 * 2.75, 7, 7]
    assert len(form.accumulator_types) == len(accumulators[0])


def test_arguments_of_another_structure(form):
    with pytest.raises(TypeError, match="the argument should have 3 elements"):
        form.split_argument(([1], {"a": [0.5], "z": 3.0}))
    with pytest.raises(TypeError, match="different numbers of clients"):
        form.split_argument(([1, 2], {"a": [0.5], "z": 3.0}, 7))


def test_without_clients_there_is_one_function():
    @tff.federated_computation(_at_server(np.float32))
    def double(value):
        return tff.federated_map(_multiply, (value, value))

    form = forms.extract(double)
    assert isinstance(form, forms.LocalForm)
    assert form.function([tf.constant(3.0)])[0].numpy() == 9.0


def test_a_secure_sum_of_too_many_bits_is_refused():
    @tff.federated_computation(_at_clients(np.int64))
    def add(clients):
        return tff.federated_secure_sum_bitwidth(clients, 63)

    with pytest.raises(exceptions.UnsupportedComputationError, match="62"):
        forms.extract(add)


def test_a_secure_sum_of_unknown_shape_is_refused():
    @tff.federated_computation(_at_clients(tff.TensorType(np.int64, [None])))
    def add(clients):
        return tff.federated_secure_sum_bitwidth(clients, 8)

    with pytest.raises(exceptions.UnsupportedComputationError):
        forms.extract(add)


def test_functions_of_two_computations_do_not_meet():
    """Library functions of graphs from different processes often have the same names."""

    @tff.tensorflow.computation(np.float32)
    def scale(value):
        return tf.cond(value > 0, lambda: value * 2.0, lambda: value - 2.0)

    proto = tff.framework.serialize_computation(scale)
    graph_def = tf.compat.v1.GraphDef()
    proto.tensorflow.graph_def.Unpack(graph_def)
    for function in graph_def.library.function:
        for node in function.node_def:
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(10.0))
    proto.tensorflow.graph_def.Pack(graph_def)
    proto.tensorflow.ClearField("cache_key")
    other = tff.framework.deserialize_computation(proto)
    first, second = (graph_functions.GraphFunction(c) for c in (scale, other))

    @tf.function
    def both(value):
        return first([value]) + second([value])

    assert [tensor.numpy() for tensor in both(tf.constant(3.0))] == [6.0, 30.0]
    assert [tensor.numpy() for tensor in both(tf.constant(-3.0))] == [-5.0, -13.0]


def test_only_plain_tensorflow_is_a_graph_function():
    with pytest.raises(TypeError, match="plain TensorFlow"):
        graph_functions.GraphFunction(_scattered)


def test_variables_are_freed_with_their_graph():
    """TensorFlow itself keeps them, under their names, until the process ends."""

    @tff.tensorflow.computation(np.float32)
    def keep(x):
        return tf.Variable(tf.fill([3], x)).read_value()

    function = graph_functions.GraphFunction(keep)
    (variable,) = (
        op for op in function.inputs[0].graph.get_operations() if op.type == "VarHandleOp"
    )
    handle = tf.raw_ops.VarHandleOp(
        dtype=tf.float32,
        shape=[3],
        container=variable.get_attr("container").decode(),
        shared_name=variable.get_attr("shared_name").decode(),
    )
    function.initialize([2.0])
    np.testing.assert_array_equal(function([tf.constant(2.0)])[0], [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32), 2.0)
    del function, variable
    gc.collect()
    with pytest.raises(tf.errors.FailedPreconditionError, match="does not exist"):
        tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
