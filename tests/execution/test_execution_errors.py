"""What goes wrong says where, and never what was in the data."""

import collections
import logging
import os
import traceback

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import client_loop, compiled, devices, exceptions, stacking, xla_flags

_SECRET = 7.654321
_SECRET_INDEX = 777777
_VECTOR = tff.TensorType(np.float32, [None])
_CLIENT = collections.OrderedDict(values=_VECTOR, count=np.int32)


def _at_clients(type_spec):
    return tff.FederatedType(type_spec, tff.CLIENTS)


def _chain(error):
    """The error and all that it was raised from, or while handling."""
    errors, found = [error], []
    while errors:
        found.append(errors.pop())
        errors += [e for e in (found[-1].__cause__, found[-1].__context__) if e is not None]
    return found


def _shows(text, *secrets):
    return any(str(secret)[:6] in text for secret in secrets)


def _assert_silent(error):
    text = "".join(traceback.format_exception(error))
    assert not _shows(text, _SECRET, _SECRET_INDEX)
    assert not _shows(str(error), _SECRET, _SECRET_INDEX)


# Clients that are not of the type.


@tff.tensorflow.computation(_CLIENT)
def _weigh(client):
    return tf.reduce_sum(client["values"]) * tf.cast(client["count"], tf.float32)


@tff.federated_computation(_at_clients(_CLIENT))
def _weigh_all(clients):
    return tff.federated_sum(tff.federated_map(_weigh, clients))


def _create_client(values=(1.0, 2.0), count=3, dtype=np.float32):
    return collections.OrderedDict(values=np.array(values, dtype), count=np.int32(count))


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (
            _create_client([_SECRET], dtype=np.float64),
            r"expected float32\[\?\], found float64\[1\]",
        ),
        (_create_client([[_SECRET]]), r"expected float32\[\?\], found float32\[1, 1\]"),
        ({"values": [1.0, 2.0], "count": _SECRET}, "expected int32, found float64"),
        ({"values": [1.0, _SECRET]}, "should have the fields values, count, not values"),
        ({"values": [_SECRET], "size": 1}, "should have the fields values, count"),
        (([_SECRET], 2, 3), "should have 2 elements, not 3"),
        (np.float32([_SECRET, 1.0]), "should be a structure, not a tensor"),
        (_SECRET, "should be a structure, not float"),
        # Not rectangular.
        ({"values": [[_SECRET], [1.0, 2.0]], "count": 1}, r"expected float32\[\?\]"),
        # Somebody forgot to name the fields; the keys are data.
        ({_SECRET_INDEX: 1.0, 2: 3}, "should have the fields values, count"),
    ],
    ids=[
        "dtype",
        "rank",
        "number",
        "missing field",
        "other field",
        "length",
        "tensor",
        "number for structure",
        "ragged",
        "keys",
    ],
)
def test_a_client_of_another_type_is_named(context, client, reason):
    clients = [_create_client(), _create_client([1.0]), client, _create_client()]
    with context.install():
        with pytest.raises(exceptions.ClientStructureError, match=reason) as caught:
            _weigh_all(clients)
        assert "client 2 of the cohort" in str(caught.value)
        _assert_silent(caught.value)
        # The next round is not spoilt.
        assert _weigh_all([_create_client()]) == 9.0


def _stack(structure, positions=(0, 1)):
    return stacking.StackedCohort((stacking.StackedClients(structure, np.array(positions)),))


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        ((np.full([2, 3], _SECRET), np.int32([1, 2])), r"expected float32\[2,\?\], found float64"),
        ((np.float32([[1], [_SECRET]]), np.int32([1, 2, 3])), r"expected int32\[2\]"),
        ((np.float32([1, _SECRET]), np.int32([1, 2])), r"found float32\[2\]"),
        ({"values": np.float32([[1], [_SECRET]])}, "should have the fields values, count"),
    ],
    ids=["dtype", "length", "rank", "field"],
)
def test_stacked_clients_of_another_type_are_named(context, structure, reason):
    good = stacking.StackedClients((np.float32([[1.0]]), np.int32([1])), np.array([0]))
    bad = stacking.StackedClients(structure, np.array([2, 1]))
    with (
        context.install(),
        pytest.raises(exceptions.ClientStructureError, match=reason) as caught,
    ):
        _weigh_all(stacking.StackedCohort((good, bad)))
    assert "clients 2 to 1 of the stacked cohort" in str(caught.value)
    _assert_silent(caught.value)


@pytest.mark.parametrize("positions", [(0, 2), (1, 1), (-1, 0)], ids=["gap", "twice", "negative"])
def test_positions_that_are_no_numbering_are_refused(context, positions):
    cohort = _stack((np.float32([[1], [2]]), np.int32([1, 2])), positions)
    with context.install(), pytest.raises(exceptions.ClientStructureError, match="positions"):
        _weigh_all(cohort)


def test_a_stacked_cohort_of_sequences_is_refused(context):
    @tff.tensorflow.computation(tff.SequenceType(np.int32))
    def add_up(dataset):
        return dataset.reduce(0, lambda a, b: a + b)

    @tff.federated_computation(_at_clients(tff.SequenceType(np.int32)))
    def add_all(clients):
        return tff.federated_sum(tff.federated_map(add_up, clients))

    with context.install(), pytest.raises(exceptions.ClientStructureError, match="sequence"):
        add_all(_stack(np.int32([[1, 2], [3, 4]])))


@pytest.mark.parametrize("clients", [np.ones(3, np.float32), iter([]), "abc", 3])
def test_what_is_no_cohort_is_refused(context, clients):
    with context.install(), pytest.raises(exceptions.ClientStructureError, match="clients must be"):
        _weigh_all(clients)


# Operations that fail.


@tff.tensorflow.computation(np.float32)
def _check(value):
    with tf.control_dependencies([tf.debugging.assert_less(value, 5.0)]):
        return tf.identity(value)


@tff.tensorflow.computation(np.int32)
def _look_up(index):
    return tf.gather(tf.constant([1.0, 2.0, 3.0]), index, name="look_up")


@tff.tensorflow.computation(np.float32, np.float32)
def _add(a, b):
    return a + b


@tff.tensorflow.computation(np.float32, np.float32)
def _check_and_add(a, b):
    with tf.control_dependencies([tf.debugging.assert_less(b, 5.0)]):
        return a + b


@tff.tensorflow.computation
def _zero():
    return tf.constant(0.0)


@tff.tensorflow.computation(np.float32)
def _same(value):
    return tf.identity(value)


def _aggregate(values, accumulate=_add, report=_same):
    return tff.federated_aggregate(values, _zero(), accumulate, _add, report)


@tff.federated_computation(_at_clients(np.float32))
def _fail_in_work(values):
    return tff.federated_sum(tff.federated_map(_check, values))


@tff.federated_computation(_at_clients(np.int32))
def _fail_in_gather(values):
    return tff.federated_sum(tff.federated_map(_look_up, values))


@tff.federated_computation(_at_clients(np.float32))
def _fail_in_accumulate(values):
    return _aggregate(values, accumulate=_check_and_add)


@tff.federated_computation(_at_clients(np.float32))
def _fail_in_report(values):
    return _aggregate(values, report=_check)


@tff.federated_computation(_at_clients(np.float32))
def _fail_in_update(values):
    return tff.federated_map(_check, tff.federated_sum(values))


@tff.federated_computation(tff.FederatedType(np.float32, tff.SERVER), _at_clients(np.float32))
def _fail_in_prepare(sent, values):
    checked = tff.federated_broadcast(tff.federated_map(_check, sent))
    return tff.federated_sum(tff.federated_map(_add, (values, checked)))


@tff.federated_computation(tff.FederatedType(np.float32, tff.SERVER))
def _fail_without_clients(value):
    return tff.federated_map(_check, value)


_SERVER_FAILURES = [
    (_fail_in_report, ([_SECRET],), "report", "Assert"),
    (_fail_in_update, ([_SECRET],), "update", "Assert"),
    (_fail_in_prepare, (_SECRET, [1.0]), "prepare", "Assert"),
    (_fail_without_clients, (_SECRET,), "the computation", "Assert"),
]
_CLIENT_FAILURES = [
    (_fail_in_work, ([1.0, 2.0, _SECRET, 3.0],), "work of client 2 of the cohort", "Assert"),
    (_fail_in_gather, ([0, 2, _SECRET_INDEX],), "work of client 2 of the cohort", "look_up"),
    (_fail_in_accumulate, ([1.0, _SECRET],), "accumulate of client 1 of the cohort", "Assert"),
]


def _assert_fails(context, computation, arguments, where, operation):
    with (
        context.install(),
        pytest.raises(exceptions.ExecutionError) as caught,
    ):
        computation(*arguments)
    message = str(caught.value)
    assert message.startswith(f"{where}: InvalidArgumentError in operation")
    assert operation in message
    _assert_silent(caught.value)


@pytest.mark.parametrize(
    ("computation", "arguments", "where", "operation"), _SERVER_FAILURES + _CLIENT_FAILURES
)
def test_the_debug_context_says_where(contexts, computation, arguments, where, operation):
    _assert_fails(contexts["debug"], computation, arguments, where, operation)


@pytest.mark.parametrize(("computation", "arguments", "where", "operation"), _SERVER_FAILURES)
def test_the_server_says_where(contexts, computation, arguments, where, operation):
    _assert_fails(contexts["two shards"], computation, arguments, where, operation)


@pytest.mark.parametrize(
    ("computation", "arguments"),
    [
        (_fail_in_work, ([_SECRET],)),
        (_fail_in_gather, ([_SECRET_INDEX],)),
        (_fail_in_prepare, (_SECRET, [1.0])),
        (_weigh_all, ([_SECRET],)),
    ],
    ids=["work", "gather", "prepare", "structure"],
)
def test_errors_hold_no_others_that_show_data(contexts, computation, arguments):
    """Loggers that record what was being handled find nothing either."""
    with contexts["debug"].install(), pytest.raises((RuntimeError, TypeError)) as caught:
        computation(*arguments)
    for error in _chain(caught.value):
        assert not _shows(str(error), _SECRET, _SECRET_INDEX)


def test_clients_that_are_not_compiled_say_where(contexts):
    @tff.tensorflow.computation(tff.SequenceType(np.float32))
    def check_all(dataset):
        total = dataset.reduce(0.0, lambda a, b: a + b)
        with tf.control_dependencies([tf.debugging.assert_less(total, 5.0)]):
            return tf.identity(total)

    @tff.federated_computation(_at_clients(tff.SequenceType(np.float32)))
    def run(clients):
        return tff.federated_sum(tff.federated_map(check_all, clients))

    arguments = ([[1.0], [2.0], [_SECRET]],)
    _assert_fails(
        contexts["two shards"], run, arguments, "work of client 2 of the cohort", "Assert"
    )


# One client that does not fit the others.

_TWO = (_VECTOR, _VECTOR)


@tff.tensorflow.computation(_TWO)
def _multiply(client):
    return tf.reduce_sum(client[0] * client[1])


@tff.federated_computation(_at_clients(_TWO))
def _multiply_all(clients):
    return tff.federated_sum(tff.federated_map(_multiply, clients))


def test_one_wrong_client_does_not_end_compilation(monkeypatch):
    def ones(size):
        return np.ones(size, np.float32)

    context = agreement.create_compiled(1)
    rounds, create_round = [], context.create_round
    monkeypatch.setattr(
        context, "create_round", lambda form: rounds.append(create_round(form)) or rounds[-1]
    )
    with context.install():
        assert _multiply_all([(ones(2), ones(2))]) == 2
        with pytest.raises(exceptions.ExecutionError, match="work of client 1 of the cohort"):
            _multiply_all([(ones(2), ones(2)), (ones(2), ones(3))])
        assert _multiply_all([(ones(2), ones(2))]) == 2
    assert [created.is_compiled for created in rounds] == [True]


# Numbers that are none.


def test_nan_goes_through_as_in_tffs_runtime(native, contexts):
    @tff.federated_computation(_at_clients(np.float32))
    def summarize(values):
        return tff.federated_sum(values), tff.federated_mean(values)

    for values in ([1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0]):
        agreement.assert_agrees(contexts, summarize, (values,))


# Memory.


@pytest.mark.parametrize(
    "error", [tf.errors.ResourceExhaustedError(None, None, f"at {_SECRET}"), MemoryError()]
)
def test_out_of_memory_names_the_way_out(monkeypatch, error):
    def run(*arguments):
        raise error

    monkeypatch.setattr(client_loop.ClientLoop, "run", run)
    context = agreement.create_compiled(2, clients_per_block=17)
    with (
        context.install(),
        pytest.raises(exceptions.OutOfMemoryError, match="clients_per_block") as caught,
    ):
        _fail_in_work([1.0, 2.0])
    assert "17" in str(caught.value)
    _assert_silent(caught.value)


# Hints.


@tff.tensorflow.computation(np.float32)
def _draw_in_a_loop(value):
    return tf.while_loop(
        lambda k, _: k < 3, lambda k, total: (k + 1, total + tf.random.normal([])), (0, value)
    )[1]


@tff.federated_computation(_at_clients(np.float32))
def _draw_all(values):
    return tff.federated_sum(tff.federated_map(_draw_in_a_loop, values))


def test_what_is_not_compiled_is_said_once(caplog):
    with agreement.create_compiled(1).install():
        for _ in range(2):
            _draw_all([1.0, 2.0])
    (record,) = agreement.warnings_of(caplog)
    assert record.name == "fedrec_tff.execution.compiled"
    assert "RandomStandardNormal" in record.message
    assert "loop" in record.message


def test_what_is_compiled_is_not_talked_about(caplog):
    for num_clients in range(1, 7):
        with agreement.create_compiled(2).install():
            _weigh_all([_create_client()] * num_clients)
    # TensorFlow has no advice either.
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_what_is_not_vectorised_is_said_in_one_line(caplog):
    @tff.tensorflow.computation(np.float32)
    def draw(value):
        return value + 0.0 * tf.random.normal([])

    @tff.federated_computation(_at_clients(np.float32))
    def draw_all(values):
        return tff.federated_sum(tff.federated_map(draw, values))

    with agreement.create_compiled(1, clients_per_step=2).install():
        for _ in range(2):
            assert draw_all([1.0, 2.0, 3.0]) == 6.0
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in said] == ["fedrec_tff.execution.compiled"]
    assert "vectorised" in said[0].message
    assert "\n" not in said[0].message


def test_the_hint_names_the_right_obstacle(caplog):
    @tff.federated_computation(_at_clients(tff.TensorType(tf.bfloat16.as_numpy_dtype)))
    def add(clients):
        return tff.federated_sum(clients)

    with agreement.create_compiled(1).install():
        add([tf.bfloat16.as_numpy_dtype(1.0)])
    assert not any("string" in record.message for record in agreement.warnings_of(caplog))


# Options.


@pytest.mark.parametrize("name", ["num_parallel_shards", "clients_per_block", "clients_per_step"])
@pytest.mark.parametrize("value", [0, -1])
def test_options_that_are_not_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not {value}"):
        compiled.CompiledContext(compiled.CompiledOptions(**{name: value}))


@pytest.mark.parametrize(
    "flags",
    ["", "--xla_cpu_multi_thread_eigen=true", "--xla_cpu_enable_fast_min_max=true --xla_dump_to=x"],
)
def test_flags_of_xla_that_the_user_set_stay(monkeypatch, flags):
    monkeypatch.setenv("XLA_FLAGS", flags)
    agreement.create_compiled(2)
    given = flags.split()
    added = [
        f"--{name}=false"
        for name in ("xla_cpu_multi_thread_eigen", "xla_cpu_enable_fast_min_max")
        if name not in flags
    ]
    assert os.environ["XLA_FLAGS"].split() == [*given, *added]


def test_where_xla_drops_nan_the_log_says_so(monkeypatch, caplog):
    agreement.create_compiled(1)
    assert not agreement.warnings_of(caplog)
    # As if XLA had read its flags before.
    monkeypatch.setattr(xla_flags, "_keeps_nan", lambda: False)
    agreement.create_compiled(1)
    (record,) = agreement.warnings_of(caplog)
    assert "set XLA_FLAGS=--xla_cpu_enable_fast_min_max=false" in record.getMessage()


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(devices, "describe", lambda: "cpu, gpu:0")
    with pytest.raises(exceptions.DeviceNotFoundError, match=r"'gpu:99' .* has cpu, gpu:0"):
        compiled.CompiledContext(compiled.CompiledOptions(device="gpu:99"))


def test_a_failure_leaves_nothing_behind(contexts):
    with contexts["debug"].install():
        assert _fail_in_work([1.0, 2.0, 3.0]) == 6.0
        with pytest.raises(exceptions.ExecutionError):
            _fail_in_work([_SECRET])
        assert _fail_in_work([1.0]) == 1.0
