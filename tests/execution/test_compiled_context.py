"""Computations by other hands: our contexts return what TFF's own runtime returns."""

import collections
import concurrent.futures
from typing import NamedTuple

import agreement
import attr
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, stacking

_PAIR = tff.TensorType(np.float32, [2])
_VECTOR = tff.TensorType(np.float32, [None])
_STATE = tff.TensorType(np.float32, [1000])
_RTOL = 1e-6


def _at_clients(type_spec):
    return tff.FederatedType(type_spec, tff.CLIENTS)


def _at_server(type_spec):
    return tff.FederatedType(type_spec, tff.SERVER)


def _f32(*values):
    return np.array(values, np.float32)


# Several aggregates of several arguments placed at clients.


@tff.tensorflow.computation(np.int32)
def _to_float(value):
    return tf.cast(value, tf.float32)


@tff.tensorflow.computation(np.float32)
def _halve(value):
    return value / 2


@tff.federated_computation(
    (_at_server(np.float32), _at_clients(np.int32)), _at_clients(_PAIR), _at_clients(np.float32)
)
def _summarize(nested, pairs, values):
    scale, counts = nested
    return collections.OrderedDict(
        total=tff.federated_sum(pairs),
        counted=tff.federated_sum(counts),
        mean=tff.federated_mean(pairs),
        weighted_mean=tff.federated_mean(values, tff.federated_map(_to_float, counts)),
        least=tff.federated_min(pairs),
        most=tff.federated_max(counts),
        scale=tff.federated_map(_halve, scale),
    )


def test_several_aggregates_of_several_arguments(native, contexts):
    counts, values = [2, 1, 4, 1, 2], [0.5, -3.0, 2.0, 8.0, 1.0]
    pairs = [_f32(k, -k * k) for k in (3, 1, 4, 1, 5)]
    arguments = ((5.0, counts), pairs, values)
    expected = agreement.assert_agrees(contexts, _summarize, arguments, _RTOL)
    np.testing.assert_allclose(expected["total"], np.sum(pairs, axis=0))
    np.testing.assert_allclose(expected["weighted_mean"], np.average(values, weights=counts))
    np.testing.assert_array_equal(expected["least"], [1, -25])
    assert expected["most"] == 4


def test_a_vectorised_step_changes_nothing(native, caplog):
    vectorised = {"vectorised": agreement.create_compiled(2, clients_per_step=2)}
    pairs = [_f32(k, -k) for k in range(5)]
    arguments = ((1.0, [1, 2, 3, 4, 5]), pairs, [0.5] * 5)
    agreement.assert_agrees(vectorised, _summarize, arguments, _RTOL)
    # It was indeed vectorised.
    assert not agreement.warnings_of(caplog)


def test_an_empty_cohort_gives_what_there_is_of_nothing(native, contexts):
    expected = agreement.assert_agrees(contexts, _summarize, ((5.0, []), [], []))
    assert np.isnan(expected["mean"]).all()
    np.testing.assert_array_equal(expected["total"], [0, 0])
    assert expected["most"] == np.iinfo(np.int32).min


def test_arguments_by_name(native, contexts):
    def call(pairs, values):
        return _summarize(values=values, pairs=pairs, nested=(2.0, [1, 2, 3]))

    agreement.assert_agrees(contexts, call, ([_f32(1, 2)] * 3, [1.0, 2.0, 3.0]), _RTOL)


def test_cohorts_of_different_sizes_are_refused(context):
    with context.install(), pytest.raises(TypeError, match="different numbers of clients"):
        _summarize((5.0, [1, 2]), [_f32(1, 2)] * 3, [0.5] * 3)


# A structure whose names are not in alphabetical order, of mixed dtypes.

_MIXED = collections.OrderedDict(
    [
        ("zeta", tff.TensorType(np.int64, [3])),
        (
            "alpha",
            collections.OrderedDict(
                [("y", np.float32), ("b", (np.int32, tff.TensorType(np.float64, [2])))]
            ),
        ),
        ("mid", np.bool_),
    ]
)


@tff.tensorflow.computation(_MIXED, _MIXED)
def _combine(sent, own):
    return collections.OrderedDict(
        z=sent["zeta"] * own["zeta"],
        a=sent["alpha"]["y"] - own["alpha"]["y"],
        b=sent["alpha"]["b"][0] - own["alpha"]["b"][0],
        c=sent["alpha"]["b"][1] / own["alpha"]["b"][1],
        is_different=tf.cast(tf.not_equal(sent["mid"], own["mid"]), tf.int32),
    )


@tff.federated_computation(_at_server(_MIXED), _at_clients(_MIXED))
def _broadcast(sent, clients):
    combined = tff.federated_map(_combine, (tff.federated_broadcast(sent), clients))
    return tff.federated_sum(combined), sent


def _create_mixed(k):
    return collections.OrderedDict(
        zeta=np.array([k, 10 * k, 2**40 + k]),
        alpha=collections.OrderedDict(y=k / 2, b=(7 - k, np.array([1.0 + k, 2.0]))),
        mid=k % 2 == 0,
    )


def test_names_out_of_alphabetical_order_with_mixed_dtypes(native, contexts):
    clients = [_create_mixed(k) for k in (1, 2, 3, 4)]
    arguments = (_create_mixed(8), clients)
    result, sent = agreement.assert_agrees(contexts, _broadcast, arguments, 1e-15)
    np.testing.assert_array_equal(result["z"][:2], [80, 8000])
    assert result["b"] == sum(-1 - (7 - k) for k in (1, 2, 3, 4))
    assert result["is_different"] == 2
    assert list(sent) == ["zeta", "alpha", "mid"]


def test_plain_dicts_are_matched_by_name(context):
    client = _create_mixed(3)
    shuffled = {"mid": client["mid"], "zeta": client["zeta"], "alpha": dict(client["alpha"])}
    with context.install():
        agreement.assert_same(
            _broadcast(_create_mixed(8), [shuffled]), _broadcast(_create_mixed(8), [client])
        )


# A custom aggregation: an accumulator of three parts that are not merged by adding them.

_MOMENTS = collections.OrderedDict(count=np.float32, mean=np.float32, spread=np.float32)


@tff.tensorflow.computation
def _no_moments():
    return collections.OrderedDict(count=0.0, mean=0.0, spread=0.0)


@tff.tensorflow.computation(_MOMENTS, np.float32)
def _add_value(moments, value):
    count = moments["count"] + 1
    step = value - moments["mean"]
    mean = moments["mean"] + step / count
    spread = moments["spread"] + step * (value - mean)
    return collections.OrderedDict(count=count, mean=mean, spread=spread)


@tff.tensorflow.computation(_MOMENTS, _MOMENTS)
def _merge_moments(a, b):
    count = a["count"] + b["count"]
    step = b["mean"] - a["mean"]
    return collections.OrderedDict(
        count=count,
        mean=a["mean"] + step * b["count"] / count,
        spread=a["spread"] + b["spread"] + step**2 * a["count"] * b["count"] / count,
    )


@tff.tensorflow.computation(_MOMENTS)
def _report_variance(moments):
    return moments["mean"], moments["spread"] / moments["count"]


@tff.federated_computation(_at_clients(np.float32))
def _variance(values):
    return tff.federated_aggregate(
        values, _no_moments(), _add_value, _merge_moments, _report_variance
    )


@pytest.mark.parametrize("num_clients", [1, 2, 7])
def test_a_custom_accumulator_is_merged_as_it_says(native, contexts, num_clients):
    values = [float(v) for v in np.random.default_rng(0).normal(3.0, 2.0, num_clients)]
    _, variance = agreement.assert_agrees(contexts, _variance, (values,), 1e-5)
    np.testing.assert_allclose(variance, np.var(values), rtol=1e-5, atol=1e-6)


def test_a_custom_aggregation_of_nobody(native, contexts):
    agreement.assert_agrees(contexts, _variance, ([],))


# A zero that needs something: random numbers that cancel, a variable.


def _aggregate_from(zero):
    @tff.tensorflow.computation(np.float32, np.float32)
    def add(a, b):
        return a + b

    @tff.tensorflow.computation(np.float32)
    def identity(a):
        return tf.identity(a)

    @tff.federated_computation(_at_clients(np.float32))
    def aggregate(values):
        return tff.federated_aggregate(values, zero(), add, add, identity)

    return aggregate


@tff.tensorflow.computation
def _random_zero():
    return tf.random.uniform([]) * 0.0


@tff.tensorflow.computation
def _variable_zero():
    return tf.Variable(0.0).read_value()


@pytest.mark.parametrize("zero", [_random_zero, _variable_zero], ids=["random", "variable"])
def test_a_zero_that_is_no_constant(native, contexts, zero):
    agreement.assert_agrees(contexts, _aggregate_from(zero), ([1.0, 2.0, 4.0],))


# Clients of different shapes, as lists and stacked.


@tff.tensorflow.computation(collections.OrderedDict(b=_VECTOR, a=np.int32))
def _weigh(client):
    return tf.reduce_sum(client["b"]) * tf.cast(client["a"], tf.float32), tf.size(client["b"])


@tff.federated_computation(_at_clients(collections.OrderedDict(b=_VECTOR, a=np.int32)))
def _weigh_all(clients):
    return tff.federated_sum(tff.federated_map(_weigh, clients))


def _stack(values, factors, positions):
    structure = collections.OrderedDict(b=np.asarray(values, np.float32), a=np.int32(factors))
    return stacking.StackedClients(structure, np.asarray(positions))


def test_clients_of_different_shapes(native, contexts):
    sizes = (3, 0, 5, 3, 3, 5, 1)
    clients = [{"b": np.arange(n, dtype=np.float32), "a": n - 2} for n in sizes]
    # TFF's own runtime wants the type's order of names.
    ordered = [collections.OrderedDict(b=c["b"], a=c["a"]) for c in clients]
    total, count = agreement.assert_agrees(contexts, _weigh_all, (ordered,), _RTOL)
    assert total == sum(n * (n - 1) / 2 * (n - 2) for n in sizes)
    assert count == sum(sizes)


def test_a_stacked_cohort_is_a_list_of_clients(native, contexts):
    parts = (_stack([[1, 2], [3, 4], [5, 6]], [1, 10, 100], [0, 3, 2]), _stack([[7]], [-1], [1]))
    cohort = stacking.StackedCohort(parts)
    total, count = agreement.assert_agrees(contexts, _weigh_all, (cohort,), _RTOL)
    assert (total, count) == (3 + 70 + 1100 - 7, 7)
    empty = stacking.StackedCohort(())
    assert agreement.assert_agrees(contexts, _weigh_all, (empty,)) == (0, 0)


# Without clients.


@tff.federated_computation
def _initialize():
    return tff.federated_value(collections.OrderedDict(z=1.5, a=(3, True)), tff.SERVER)


@tff.tensorflow.computation
def _initialize_tensors():
    return collections.OrderedDict(z=tf.ones([2, 3]), a=(tf.constant("text"), tf.constant(7)))


@tff.federated_computation
def _initialize_placed():
    return tff.federated_eval(_initialize_tensors, tff.SERVER)


@tff.federated_computation(_at_server(np.float32), _at_server(np.int32))
def _at_the_server(a, b):
    return tff.federated_map(_halve, a), b


@tff.federated_computation(np.int32)
def _unplaced(value):
    return value, [_to_float(value), value]


@tff.tensorflow.computation(np.int32)
def _with_variable(value):
    total = tf.Variable(5)
    with tf.control_dependencies([total.assign_add(value)]):
        return total.read_value()


@tff.tensorflow.computation(np.str_)
def _with_table(word):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), default_value=-1
    )
    return table.lookup(word)


@tff.tensorflow.computation(tff.TensorType(np.str_, [None]))
def _join(words):
    return tf.strings.reduce_join(words), tf.reverse(words, [0])


@tff.tensorflow.computation(tff.TensorType(np.uint8), tff.TensorType(np.float64, [None, 2]))
def _of_other_dtypes(byte, matrix):
    return byte + 1, tf.reduce_sum(matrix, axis=0), tf.cast(byte, tf.complex64)


@pytest.mark.parametrize(
    ("computation", "arguments"),
    [
        (_initialize, ()),
        (_initialize_placed, ()),
        (_at_the_server, (3.0, 4)),
        (_unplaced, (3,)),
        (_with_variable, (2,)),
        (_with_variable, (3,)),
        (_with_table, ("b",)),
        (_with_table, ("elsewhere",)),
        (_join, (np.array(["ab", "c"], object),)),
        (_of_other_dtypes, (np.uint8(254), np.ones([3, 2]))),
        (_of_other_dtypes, (np.uint8(0), np.ones([0, 2]))),
    ],
)
def test_computations_without_clients(native, contexts, computation, arguments):
    agreement.assert_agrees(contexts, computation, arguments)


def test_a_variable_begins_anew_at_each_call(context):
    with context.install():
        assert [_with_variable(2), _with_variable(2)] == [7, 7]


# Resources are found by their names, which graphs that know nothing of each other share.


@tff.tensorflow.computation(np.int32)
def _total_of_integers(value):
    total = tf.Variable(1, name="total")
    with tf.control_dependencies([total.assign_add(value)]):
        return total.read_value()


@tff.tensorflow.computation(np.int32)
def _total_of_floats(value):
    total = tf.Variable([0.5, 2.0], name="total")
    with tf.control_dependencies([total.assign_add(tf.fill([2], tf.cast(value, tf.float32)))]):
        return total.read_value()


@tff.federated_computation(_at_clients(np.int32))
def _total_of_totals(values):
    total = tff.federated_sum(tff.federated_map(_total_of_integers, values))
    return tff.federated_map(_total_of_floats, total)


def test_variables_of_one_name_in_client_work_and_at_the_server(native, contexts):
    total = agreement.assert_agrees(contexts, _total_of_totals, ([1, 2, 3],))
    assert total.tolist() == [9.5, 11.0]


@tff.tensorflow.computation(np.int32)
def _from_the_argument(value):
    total = tf.Variable(value)
    with tf.control_dependencies([total.assign_add(value)]):
        return total.read_value()


@tff.federated_computation(_at_clients(np.int32))
def _doubled_twice(values):
    total = tff.federated_sum(tff.federated_map(_from_the_argument, values))
    return tff.federated_map(_from_the_argument, total)


def test_variables_that_begin_at_an_argument(native, contexts):
    assert agreement.assert_agrees(contexts, _doubled_twice, ([1, 2, 5],)) == 32


def test_a_variable_that_begins_at_random(contexts):
    @tff.tensorflow.computation(np.float32)
    def draw(value):
        return tf.Variable(tf.random.uniform([100])).read_value() + value

    for name, context in contexts.items():
        with context.install():
            drawn = np.stack([draw(1.0), draw(1.0)])
        assert np.unique(drawn).size > 190, name
        assert ((drawn >= 1) & (drawn < 2)).all(), name


def _queue_of(capacity):
    @tff.tensorflow.computation(np.int32)
    def pass_on(value):
        queue = tf.queue.FIFOQueue(capacity, tf.int32, shapes=[()], name="queue")
        with tf.control_dependencies([queue.enqueue(value)]):
            return queue.dequeue()

    return pass_on


def test_queues_of_one_name(native, contexts):
    def run(value):
        return _queue_of(3)(value), _queue_of(4)(value)

    assert agreement.assert_agrees(contexts, run, (7,)) == (7, 7)


# Numbers of Python take the dtype of the type where they fit it, and only there.


@tff.tensorflow.computation(np.int32)
def _add_one(value):
    return value + 1


@tff.federated_computation(_at_clients(np.uint8))
def _sum_bytes(values):
    return tff.federated_sum(values)


def test_small_numbers_of_python_fit_unsigned_types(native, contexts):
    assert agreement.assert_agrees(contexts, _sum_bytes, ([1, 5, 200],)) == 206


@pytest.mark.parametrize(
    ("computation", "argument"),
    [(_add_one, 2**40), (_add_one, 1.5), (_sum_bytes, [1, -1]), (_sum_bytes, [256, 1])],
)
def test_numbers_of_python_that_do_not_fit_are_refused(native, context, computation, argument):
    with pytest.raises(TypeError):
        computation(argument)
    with context.install(), pytest.raises(TypeError, match=r"expected u?int"):
        computation(argument)


# Sequences.

_ELEMENT = collections.OrderedDict([("z", np.int32), ("a", np.float32)])


@tff.tensorflow.computation(tff.SequenceType(_ELEMENT))
def _reduce_named(dataset):
    return dataset.reduce(
        collections.OrderedDict(z=0, a=0.0),
        lambda sums, e: collections.OrderedDict(z=sums["z"] + e["z"], a=sums["a"] - e["a"]),
    )


@tff.tensorflow.computation(tff.SequenceType((np.int32, (np.float32, _PAIR))))
def _reduce_nested(dataset):
    return dataset.reduce(
        tf.zeros([2]), lambda total, e: total + tf.cast(e[0], tf.float32) * e[1][0] + e[1][1]
    )


@tff.tensorflow.computation(tff.SequenceType(tff.TensorType(np.float32, [None, 2])))
def _reduce_batches(dataset):
    return dataset.reduce(0.0, lambda total, e: total + tf.reduce_sum(e))


@tff.tensorflow.computation(tff.SequenceType((np.int32,)))
def _reduce_tuples_of_one(dataset):
    return dataset.reduce(0, lambda total, e: total + e[0])


@tff.tensorflow.computation(tff.SequenceType(np.str_))
def _reduce_words(dataset):
    return dataset.reduce("", lambda total, e: total + e)


@tff.tensorflow.computation(np.int32)
def _count_up(limit):
    numbers = tf.data.Dataset.range(tf.cast(limit, tf.int64))
    return numbers.map(lambda i: collections.OrderedDict(z=i, a=tf.cast(i, tf.float32) / 2))


_ELEMENTS = [collections.OrderedDict(z=1, a=0.5), collections.OrderedDict(z=2, a=0.25)]


@pytest.mark.parametrize(
    ("computation", "argument"),
    [
        (_reduce_named, _ELEMENTS),
        (_reduce_named, []),
        (_reduce_nested, [(1, (2.0, _f32(3, 4))), (5, (6.0, _f32(7, 8)))]),
        (_reduce_batches, [np.ones([3, 2], np.float32), np.ones([1, 2], np.float32)]),
        (_reduce_batches, []),
        (_reduce_tuples_of_one, [(1,), (2,)]),
        (_reduce_words, ["a", "bc"]),
        (_count_up, 3),
    ],
)
def test_sequences(native, contexts, computation, argument):
    agreement.assert_agrees(contexts, computation, (argument,), _RTOL)


def test_a_dataset_is_a_sequence(native, contexts):
    dataset = tf.data.Dataset.from_tensor_slices(collections.OrderedDict(z=[1, 2], a=[0.5, 0.25]))
    assert agreement.assert_agrees(contexts, _reduce_named, (dataset,))["z"] == 3


@tff.federated_computation(_at_clients(tff.SequenceType(_ELEMENT)))
def _reduce_clients(clients):
    return tff.federated_sum(tff.federated_map(_reduce_named, clients))


@pytest.mark.parametrize("kind", ["lists", "datasets"])
def test_clients_that_are_sequences_of_named_elements(native, contexts, kind):
    clients = [_ELEMENTS, [], _ELEMENTS[1:]]
    if kind == "datasets":
        columns = [
            collections.OrderedDict(z=np.int32([e["z"] for e in c]), a=_f32(*(e["a"] for e in c)))
            for c in clients
        ]
        clients = [tf.data.Dataset.from_tensor_slices(c) for c in columns]
    result = agreement.assert_agrees(contexts, _reduce_clients, (clients,))
    assert result == collections.OrderedDict(z=5, a=-1.0)


@tff.tensorflow.computation(np.str_, np.str_)
def _longer(a, b):
    return tf.where(tf.strings.length(a) < tf.strings.length(b), b, a)


@tff.tensorflow.computation
def _no_word():
    return tf.constant("")


@tff.tensorflow.computation(np.str_)
def _same_word(word):
    return tf.identity(word)


@tff.federated_computation(_at_clients(np.str_))
def _longest(words):
    return tff.federated_aggregate(words, _no_word(), _longer, _longer, _same_word)


def test_clients_that_are_strings(native, contexts):
    words = ["one", "seventeen", "two"]
    assert agreement.assert_agrees(contexts, _longest, (words,)) == b"seventeen"


def test_clients_of_bfloat16(native, contexts):
    bfloat16 = tf.bfloat16.as_numpy_dtype

    @tff.federated_computation(_at_clients(tff.TensorType(bfloat16, [2])))
    def add(clients):
        return tff.federated_sum(clients)

    agreement.assert_agrees(contexts, add, ([np.array([1.5, k], bfloat16) for k in range(3)],))


# Results: containers, state, memory.


class _Weights(NamedTuple):
    z: object
    a: object


@attr.s(auto_attribs=True)
class _Output:
    second: object
    first: object


@tff.tensorflow.computation(np.float32)
def _contain(value):
    return _Output(second=_Weights(z=[value, 2 * value], a=tf.constant([b"x"])), first=())


@tff.federated_computation(_at_clients(np.float32))
def _contained(values):
    return tff.federated_map(_contain, tff.federated_sum(values))


def test_results_have_the_containers_of_their_type(native, contexts):
    result = agreement.assert_agrees(contexts, _contained, ([1.0, 2.0],))
    assert isinstance(result.second, _Weights)
    assert result.second.z == [3.0, 6.0]


@tff.federated_computation(_at_server(_STATE), _at_clients(_STATE))
def _add_to_state(state, clients):
    total = tff.federated_sum(clients)

    @tff.tensorflow.computation(_STATE, _STATE)
    def add(a, b):
        return a + b

    return tff.federated_map(add, (state, total)), total, state


def _three_rounds(state, clients):
    outputs = []
    for _ in range(3):
        outputs.append(_add_to_state(state, clients))
        state = outputs[-1][0]
    return outputs


def _create_states(*values):
    return [np.full(_STATE.shape, value, np.float32) for value in values]


def test_state_goes_from_round_to_round(native, contexts):
    outputs = agreement.assert_agrees(
        contexts, _three_rounds, (*_create_states(1), _create_states(2, 3, 5))
    )
    assert [state[0] for state, *_ in outputs] == [11, 21, 31]


def test_a_result_stays_what_it_is(context):
    with context.install():
        (given,) = _create_states(1)
        first = _add_to_state(given, _create_states(2, 3, 5))
        given += 100
        second = _add_to_state(first[0], _create_states(20, 30, 50))
        (alone,) = _create_states(7)
        _, third, _ = _add_to_state(second[0], [alone])
        alone += 100
        _add_to_state(second[0], [])
    assert [np.unique(array).tolist() for array in first] == [[11], [10], [1]]
    assert [np.unique(array).tolist() for array in second] == [[111], [100], [11]]
    assert np.unique(third) == [7]


def test_results_are_read_only(context):
    with context.install():
        results = _add_to_state(*_create_states(1), _create_states(2, 3, 5))
    for array in results:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_a_result_of_another_dtype_is_refused_without_showing_it(context):
    @tff.tensorflow.computation(tff.TensorType(np.int32, _STATE.shape))
    def negate(values):
        return -values

    with context.install():
        _, total, _ = _add_to_state(*_create_states(1), _create_states(2.125))
        with pytest.raises(TypeError) as caught:
            negate(total)
    assert "2.125" not in str(caught.value)


def test_a_computation_that_was_serialised(native, contexts):
    proto = tff.framework.serialize_computation(_summarize)
    again = tff.framework.deserialize_computation(proto)
    arguments = ((5.0, [1, 2, 3]), [_f32(1, 2)] * 3, [1.0, 2.0, 3.0])
    agreement.assert_agrees(contexts, again, arguments, _RTOL)


def test_a_context_can_be_the_default(contexts):
    def run():
        tff.framework.set_default_context(contexts["two shards"])
        return _variance([1.0, 3.0])

    # A thread has a stack of contexts of its own.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(run).result() == (2.0, 1.0)


# What has neither a MapReduce form nor steps is refused, and why.


@tff.federated_computation
def _without_clients_argument():
    return tff.federated_sum(tff.federated_value(1, tff.CLIENTS))


@tff.federated_computation(_at_clients(np.int32))
def _sum_securely_and_keep(values):
    return values, tff.federated_secure_sum_bitwidth(values, 8)


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS, all_equal=True))
def _all_equal(value):
    return tff.federated_sum(value)


@pytest.mark.parametrize(
    ("computation", "arguments", "reason"),
    [
        (_sum_securely_and_keep, ([1],), "returns values placed at clients"),
        (_without_clients_argument, (), "how many there are"),
        (_all_equal, (3,), "how many there are"),
    ],
)
def test_what_cannot_run_is_refused(context, computation, arguments, reason):
    with (
        context.install(),
        pytest.raises(exceptions.UnsupportedComputationError, match=reason) as caught,
    ):
        computation(*arguments)
    assert "\n" not in str(caught.value)
