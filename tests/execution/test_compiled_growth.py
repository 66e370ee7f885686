"""Long runs of changing cohorts: what is compiled, kept in memory, and split into blocks."""

import gc
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import weakref
from typing import NamedTuple

import learning_runs
import long_runs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, debug

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MEGABYTE = 1e6
_LENGTHS = (6, 10)


def _create_context(num_parallel_shards=2, **options):
    return compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=num_parallel_shards, **options)
    )


# Many rounds in a process of their own, which runs while the other tests do.


@pytest.fixture(scope="module", autouse=True)
def _long_runs_process():
    environment = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        # XLA's own log of what it compiles.
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "device_compilation_profiler=1",
        # Memory that is freed leaves the process at once: TensorFlow's own pools would keep it.
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "MALLOC_MMAP_THRESHOLD_": str(2**20),
    }
    process = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("long_runs.py"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def long_run(_long_runs_process):
    """What `long_runs` reports, and for each client program how often XLA compiled it."""
    output, log = _long_runs_process.communicate(timeout=900)
    assert _long_runs_process.returncode == 0, log
    compilations = re.findall(r"Compiled (\S+_trace_block_\d+) (\d+) times", log)
    return json.loads(output), [int(times) for _, times in compilations]


class _Numbered(NamedTuple):
    number: np.int32
    words: np.ndarray


_NUM_NUMBERED = 5_001
_NUMBERED_TYPE = tff.to_type(_Numbered(np.int32, tff.TensorType(np.int32, [None])))


@tff.tensorflow.computation(_NUMBERED_TYPE)
def _mark(client):
    return tf.one_hot(client.number, _NUM_NUMBERED, dtype=tf.int32), tf.reduce_sum(client.words)


@tff.federated_computation(tff.FederatedType(_NUMBERED_TYPE, tff.CLIENTS))
def _count(clients):
    return tff.federated_sum(tff.federated_map(_mark, clients))


@pytest.mark.parametrize("num_parallel_shards", [1, 2])
def test_each_of_thousands_of_clients_counts_once(num_parallel_shards):
    """Blocks of 64; the clients' three sizes are mixed, and none divides anything."""
    rng = np.random.default_rng(0)
    sizes = rng.choice([2, 3, 7], _NUM_NUMBERED, p=[0.5, 0.3, 0.2])
    cohort = [
        _Numbered(number, rng.integers(0, 100, size).astype(np.int32))
        for number, size in enumerate(sizes)
    ]
    context = _create_context(num_parallel_shards, clients_per_block=64)
    with context.install():
        counts, total = _count(cohort)
        np.testing.assert_array_equal(counts, 1)
        assert total == sum(client.words.sum() for client in cohort)
        # Nothing is left over for the next round.
        counts, total = _count(cohort[:70])
        np.testing.assert_array_equal(counts, np.arange(_NUM_NUMBERED) < 70)
        assert total == sum(client.words.sum() for client in cohort[:70])


@pytest.fixture(scope="module")
def process():
    return learning_runs.build_process()


@pytest.fixture(scope="module")
def cohorts():
    return learning_runs.create_cohorts(_LENGTHS, sizes=(20, 3, 13))


@pytest.fixture(scope="module")
def context():
    """Two shards, blocks that no cohort fits into."""
    return _create_context(clients_per_block=3)


@pytest.fixture(scope="module")
def outputs(process, cohorts, context):
    with context.install():
        return learning_runs.run(process, cohorts)


@pytest.mark.parametrize("clients_per_block", [1, 128])
def test_rounds_do_not_depend_on_the_blocks(process, cohorts, outputs, clients_per_block):
    with _create_context(clients_per_block=clients_per_block).install():
        found = learning_runs.run(process, cohorts)
    for output, expected in zip(found, outputs, strict=True):
        learning_runs.assert_same(output.metrics, expected.metrics)
        learning_runs.assert_same(output.state, expected.state)
        learning_runs.assert_same_training(
            learning_runs.trainable(output),
            learning_runs.trainable(expected),
            learning_runs.create_initial_weights(),
        )


@pytest.mark.parametrize("is_fresh", [False, True], ids=["same context", "fresh context"])
def test_the_same_rounds_are_the_same_to_the_last_bit(process, cohorts, context, outputs, is_fresh):
    other = _create_context(clients_per_block=3) if is_fresh else context
    with other.install():
        again = learning_runs.run(process, cohorts)
    for output, expected in zip(again, outputs, strict=True):
        for a, b in zip(tf.nest.flatten(output), tf.nest.flatten(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_cohort_a_hundred_times_over_has_the_same_mean(process, cohorts, context, outputs):
    cohort = cohorts[0] * 100
    with context.install():
        output = process.next(process.initialize(), cohort)
    metrics = output.metrics["client_work"]
    assert metrics.num_clients == len(cohort) == 2_000
    assert metrics.num_examples == 100 * outputs[0].metrics["client_work"].num_examples
    learning_runs.assert_same_training(
        learning_runs.trainable(output),
        learning_runs.trainable(outputs[0]),
        learning_runs.create_initial_weights(),
    )


@pytest.fixture(scope="module", params=["compiled", "debug"])
def any_context(request, context):
    return context if request.param == "compiled" else debug.DebugContext()


def test_states_stay_what_they_are_while_rounds_go_on(process, cohorts, any_context):
    with any_context.install():
        states, copies = [process.initialize()], []
        for cohort in [*cohorts, [], cohorts[0]]:
            copies.append(tf.nest.map_structure(np.copy, states[-1]))
            states.append(process.next(states[-1], cohort).state)
    for state, copy in zip(states, copies, strict=False):
        for a, b in zip(tf.nest.flatten(state), tf.nest.flatten(copy), strict=True):
            np.testing.assert_array_equal(a, b)
    first, second = (state.global_model_weights.trainable.items for state in states[:2])
    assert np.abs(first.embedding - second.embedding).max() > 1e-3


_VECTOR = tff.TensorType(np.float32, [1000])


@tff.federated_computation(tff.FederatedType(_VECTOR, tff.CLIENTS))
def _add(vectors):
    return tff.federated_sum(vectors)


def test_sums_that_are_returned_as_they_are_stay_what_they_are(any_context):
    """Nothing comes between this result and what the clients are added up in."""
    vectors = [np.full(1000, value, np.float32) for value in (1, 2, 4, 8)]
    with any_context.install():
        first, second, third = _add(vectors), _add(vectors[:1]), _add([])
        for found, expected in ((first, 15), (second, 1), (third, 0)):
            np.testing.assert_array_equal(found, expected)


def test_a_state_is_freed_when_nobody_has_it_any_more(process, cohorts, any_context):
    """At once, not when Python's garbage collector comes by: states may be gigabytes."""
    gc.collect()
    gc.disable()
    try:
        with any_context.install():
            state, references = process.initialize(), []
            for cohort in cohorts:
                references.append(weakref.ref(state.global_model_weights.trainable.items.embedding))
                state = process.next(state, cohort).state
            assert [reference() is None for reference in references] == [True] * len(cohorts)
    finally:
        gc.enable()


# Clients worked on several at a time: a step of gradient descent on a linear model.


class _Points(NamedTuple):
    x: np.ndarray
    y: np.ndarray


_POINTS_TYPE = tff.to_type(
    _Points(tff.TensorType(np.float32, [5, 3]), tff.TensorType(np.float32, [5]))
)
_WEIGHTS_TYPE = tff.TensorType(np.float32, [3])


@tff.tensorflow.computation(_WEIGHTS_TYPE, _POINTS_TYPE)
def _gradient(weights, points):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        residual = tf.linalg.matvec(points.x, weights) - points.y
        loss = tf.reduce_mean(residual**2)
    return tape.gradient(loss, weights)


@tff.tensorflow.computation(_WEIGHTS_TYPE, _WEIGHTS_TYPE)
def _descend(weights, gradient):
    return weights - 0.1 * gradient


@tff.federated_computation(
    tff.FederatedType(_WEIGHTS_TYPE, tff.SERVER), tff.FederatedType(_POINTS_TYPE, tff.CLIENTS)
)
def _step(weights, points):
    gradients = tff.federated_map(_gradient, (tff.federated_broadcast(weights), points))
    return tff.federated_map(_descend, (weights, tff.federated_mean(gradients)))


def _create_points(num_clients):
    rng = np.random.default_rng(num_clients)
    return [
        _Points(rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=5).astype(np.float32))
        for _ in range(num_clients)
    ]


@pytest.mark.parametrize("num_parallel_shards", [1, 2])
def test_clients_several_at_a_time(num_parallel_shards, caplog):
    """Steps of 4 in blocks of 6; the cohorts divide by neither, or by one of them."""
    context = _create_context(num_parallel_shards, clients_per_block=6, clients_per_step=4)
    weights = np.array([0.5, -1.0, 2.0], np.float32)
    with caplog.at_level(logging.WARNING, compiled.__name__), context.install():
        for num_clients in (1, 4, 6, 7, 13, 24):
            cohort = _create_points(num_clients)
            gradient = np.mean([2 / 5 * c.x.T @ (c.x @ weights - c.y) for c in cohort], axis=0)
            np.testing.assert_allclose(
                _step(weights, cohort), weights - 0.1 * gradient, rtol=1e-5, atol=1e-6
            )
    # They were: no hint says otherwise.
    assert not [record for record in caplog.records if record.name == compiled.__name__]


_SIX = tff.TensorType(np.float32, [6])


def _add_large(x):
    """Of unknown shape in between."""
    return tf.reduce_sum(tf.boolean_mask(x, x > 1.0))


def _loop(x):
    """As often as the client's data say."""
    return tf.while_loop(
        lambda i, _: i < tf.cast(x[0], tf.int32), lambda i, y: (i + 1, 2 * y + x[1]), (0, x[2])
    )[1]


def _branch(x):
    return tf.cond(x[0] > 2.0, lambda: x[1], lambda: tf.reduce_sum(x))


def _check(x):
    with tf.control_dependencies([tf.debugging.assert_less(x, 100.0)]):
        return tf.reduce_max(x)


def _sum_over_clients(function):
    work = tff.tensorflow.computation(function, _SIX)

    @tff.federated_computation(tff.FederatedType(_SIX, tff.CLIENTS))
    def add(clients):
        return tff.federated_sum(tff.federated_map(work, clients))

    return add


@pytest.mark.parametrize("function", [_add_large, _loop, _branch, _check])
def test_whether_vectorised_or_not_the_result_is_right(function):
    rng = np.random.default_rng(0)
    cohort = [rng.integers(0, 6, 6).astype(np.float32) for _ in range(7)]
    expected = sum(float(function(tf.constant(client))) for client in cohort)
    context = _create_context(1, clients_per_block=6, clients_per_step=4)
    with context.install():
        np.testing.assert_allclose(_sum_over_clients(function)(cohort), expected, rtol=1e-6)


def test_client_work_that_cannot_be_vectorised_is_done_one_by_one(
    process, cohorts, outputs, caplog
):
    """Training is a loop whose length depends on the client: a hint says what was not done."""
    context = _create_context(clients_per_block=8, clients_per_step=4)
    with caplog.at_level(logging.WARNING, compiled.__name__), context.install():
        found = learning_runs.run(process, cohorts[:1])[0]
    learning_runs.assert_same(found.state, outputs[0].state)
    hints = [r.getMessage() for r in caplog.records if r.name == compiled.__name__]
    assert len(hints) == 1
    assert "cannot be vectorised" in hints[0]


# What the process of their own says; last, so that it had time.


def test_a_cohort_of_another_size_compiles_nothing(long_run):
    """Rounds of ten sizes, empty ones too, on two shards: one program for each length."""
    _, compilations = long_run
    # And one for the big table.
    assert compilations == [1] * (len(long_runs.LENGTHS) + 1)


@pytest.mark.parametrize("context_name", ["compiled", "debug"])
def test_a_cohort_of_another_size_traces_nothing(long_run, context_name):
    report, _ = long_run
    traced = report[context_name]["traced"]
    assert 0 < traced[0] <= traced[1] == traced[-1]


def test_memory_does_not_grow_from_round_to_round(long_run):
    report, _ = long_run
    resident = report["compiled"]["resident"]
    growth = resident[long_runs.LATE_ROUND - 1] - resident[long_runs.EARLY_ROUND - 1]
    assert growth < 30 * _MEGABYTE


def test_memory_of_a_round_is_a_few_tables(long_run):
    """What there is at once, in tables, beside the state that the round begins with.

    One accumulator for each of two shards, and the zero that they begin with, stay from round to
    round. The server adds the accumulators, divides the sum into a mean and subtracts the mean
    from the weights: three more. Programs, graphs and what compiling them takes: 130 MB.
    """
    report, _ = long_run
    table = 4 * long_runs.BIG_NUM_ITEMS * (long_runs.BIG_DIM + 1)
    kept = (long_runs.NUM_SHARDS + 1) * table
    memory = report["big"]
    assert memory["after"] - memory["before"] < kept + 130 * _MEGABYTE
    assert memory["peak"] - memory["before"] < kept + 3 * table + 130 * _MEGABYTE
