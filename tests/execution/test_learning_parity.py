"""The project's learning process gives the same in our contexts as in TFF's own runtime."""

import functools
from typing import Any, NamedTuple

import learning_runs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.accelerator import pjrt_context
from fedrec_tff.execution import compiled, debug, exceptions
from fedrec_tff.learning import client_work
from fedrec_tff.learning.config import SAMPLED_SOFTMAX
from fedrec_tff.models import two_tower

pytestmark = pytest.mark.usefixtures("native")

_BATCHES_OF_4 = learning_runs.build_work(SAMPLED_SOFTMAX, batch_size=4)
_ONE_STEP = learning_runs.build_work(SAMPLED_SOFTMAX)
_DP_SPECS = tf.nest.map_structure(
    lambda weight: tf.TensorSpec(weight.shape, weight.dtype), learning_runs.create_initial_weights()
)


class _Case(NamedTuple):
    """A process and its clients.

    Attributes:
      aggregator: Name of an aggregator, or a function that makes a factory of TFF's.
      form: Form of the updates.
      work: Client work; None for one step of the in-batch loss.
      server: Optimizer of the server.
      lengths: The clients' padded lengths.
    """

    aggregator: Any
    form: str = "dense"
    work: Any = None
    server: Any = learning_runs.SGD
    lengths: tuple[int, ...] = (8,)


def _build_tree_aggregation():
    return tff.aggregators.DifferentiallyPrivateFactory.tree_aggregation(
        0.5, learning_runs.CLIENTS_PER_ROUND, 0.2, _DP_SPECS, noise_seed=5
    )


_CASES = {
    "mean, row-sparse": _Case("mean", "row_sparse", _BATCHES_OF_4, lengths=(4, 8, 12)),
    "mean, dense": _Case("mean", server=learning_runs.ADAM),
    "weighted_mean, row-sparse": _Case(
        "weighted_mean", "row_sparse", server=learning_runs.ADAM, lengths=(6, 10)
    ),
    "weighted_mean, dense": _Case("weighted_mean", work=_BATCHES_OF_4),
    "dp_gaussian, row-sparse": _Case(
        "dp_gaussian", "row_sparse", _ONE_STEP, server=learning_runs.ADAM
    ),
    "dp_gaussian, dense": _Case("dp_gaussian"),
    "dp_adaptive, row-sparse": _Case("dp_adaptive", "row_sparse", _ONE_STEP, lengths=(6, 10)),
    "dp_adaptive, dense": _Case("dp_adaptive", server=learning_runs.ADAM),
    "tree aggregation": _Case(_build_tree_aggregation),
    "robust": _Case(tff.learning.robust_aggregator),
}
_CONTEXTS = {
    "compiled, 1 shard": lambda: compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=1, clients_per_block=4)
    ),
    "compiled, 2 shards": lambda: compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=3)
    ),
    "pjrt, batches": lambda: pjrt_context.PjrtContext(
        compiled.CompiledOptions(num_shares=2, clients_per_block=4),
        pjrt_context.PjrtOptions(is_batched=True),
    ),
    "debug": debug.DebugContext,
}
_ALWAYS = ("mean, row-sparse", "dp_gaussian, dense")
# Everything compiled and split; a few in the other contexts too, of which `accelerator/` has some.
_RUNS = [
    *((case, "compiled, 2 shards") for case in _ALWAYS),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            *((case, "compiled, 2 shards") for case in _CASES if case not in _ALWAYS),
            *((case, "pjrt, batches") for case in _CASES),
            ("mean, row-sparse", "compiled, 1 shard"),
            ("mean, row-sparse", "debug"),
            ("dp_adaptive, row-sparse", "debug"),
            ("robust", "debug"),
        )
    ),
]


@functools.cache
def _process(case):
    aggregator, form, work, server, _ = _CASES[case]
    if callable(aggregator):
        aggregator = aggregator()
    return learning_runs.build_process(aggregator, form, work, server)


@functools.cache
def _context(name):
    try:
        return _CONTEXTS[name]()
    except exceptions.WorkerUnfitError as error:
        pytest.skip(str(error))


@functools.cache
def _cohorts(case):
    return learning_runs.create_cohorts(_CASES[case].lengths)


@functools.cache
def _native_outputs(case):
    return learning_runs.run(_process(case), _cohorts(case))


@pytest.mark.parametrize(("case", "context"), _RUNS)
def test_rounds_are_those_of_tffs_own_runtime(case, context):
    expected = _native_outputs(case)
    with _context(context).install():
        found = learning_runs.run(_process(case), _cohorts(case))
    initial = learning_runs.create_initial_weights()
    for output, native_output in zip(found, expected, strict=True):
        learning_runs.assert_same(output.metrics, native_output.metrics)
        # Weights, and what aggregator and server's optimizer remember.
        learning_runs.assert_same(output.state, native_output.state)
        learning_runs.assert_same_training(
            learning_runs.trainable(output), learning_runs.trainable(native_output), initial
        )
    # It learned something, and nobody's update was lost.
    assert learning_runs.deviation(learning_runs.trainable(found[-1]), initial) > 1e-2
    sizes = [output.metrics["client_work"].num_clients for output in found]
    assert sizes == list(learning_runs.COHORT_SIZES)
    assert all(output.metrics["client_work"].num_rejected_clients == 0.0 for output in found)


@pytest.mark.parametrize(
    ("case", "context"),
    [
        ("mean, row-sparse", "compiled, 2 shards"),
        ("mean, row-sparse", "debug"),
        ("dp_gaussian, dense", "compiled, 2 shards"),
        pytest.param("weighted_mean, row-sparse", "compiled, 2 shards", marks=pytest.mark.slow),
        pytest.param("mean, row-sparse", "pjrt, batches", marks=pytest.mark.slow),
    ],
)
def test_clients_whose_update_is_not_finite_are_rejected(case, context):
    """One item's embedding is so large that whoever has it overflows; the others train."""
    process, cohort = _process(case), max(_cohorts(case), key=len)
    popular = cohort[0].item_index[0]
    weights = learning_runs.create_initial_weights()
    weights.items.embedding[popular] = 1e30
    weights = tff.learning.models.ModelWeights(weights, ())

    def run():
        state = process.set_model_weights(process.initialize(), weights)
        return learning_runs.run(process, [cohort], state)[0]

    expected = run()
    with _context(context).install():
        found = run()
    metrics = found.metrics["client_work"]
    assert 0.0 < metrics.num_rejected_clients < metrics.num_clients == len(cohort)
    learning_runs.assert_same(found.metrics, expected.metrics)
    learning_runs.assert_same(found.state, expected.state)
    others = np.delete(np.arange(learning_runs.NUM_ITEMS), popular)
    trained = learning_runs.trainable(found).items.embedding[others]
    assert np.isfinite(trained).all()
    assert np.abs(trained - weights.trainable.items.embedding[others]).max() > 1e-3


@functools.cache
def _secure_process():
    return learning_runs.build_process(tff.learning.secure_aggregator(), "dense")


def _run_secure(next_fn, cohorts):
    """The leaves of metrics and state after each round, in the order of their types."""
    state, rounds = _secure_process().initialize(), []
    for cohort in cohorts:
        output = next_fn(state, cohort)
        # Where secure sums are replaced, TFF forgets the containers.
        is_dict = isinstance(output, dict)
        state, metrics = output.values() if is_dict else (output.state, output.metrics)
        rounds.append([*_leaves(metrics), *_leaves(state)])
    return rounds


def _leaves(value):
    return tff.structure.flatten(tff.structure.from_container(value, recursive=True))


@pytest.mark.slow
def test_secure_sums_are_those_of_tffs_own_runtime_in_the_clear():
    process, cohorts = _secure_process(), _cohorts("robust")
    in_the_clear = tff.backends.test.replace_secure_intrinsics_with_bodies(process.next)
    expected = _run_secure(in_the_clear, cohorts)
    with _context("compiled, 2 shards").install():
        found = _run_secure(process.next, cohorts)
    for leaves, native_leaves in zip(found, expected, strict=True):
        learning_runs.assert_same(leaves, native_leaves)


@pytest.mark.slow
def test_secure_sums_train_as_sums_in_the_clear_do_but_for_their_quantisation():
    """The same aggregator without secure sums is another program.

    Values are clipped to a bound (50 at first, which is doubled) and sent as 32 bits: a step is
    200 / 2**32, or 5e-8, of which the sum of a few clients, divided by their examples, is off by a
    few at most. An empty cohort makes TFF's bounds NaN; so there is none here.
    """
    cohorts = [cohort for cohort in _cohorts("robust") if cohort]
    expected = learning_runs.run(_process("robust"), cohorts)
    with _context("compiled, 2 shards").install():
        found = learning_runs.run(_secure_process(), cohorts)
    for output, native_output in zip(found, expected, strict=True):
        learning_runs.assert_same(
            output.metrics["client_work"], native_output.metrics["client_work"]
        )
        measured = output.metrics["aggregator"]["zeroing"]["clipping"]["mean_value"]
        assert measured["secure_upper_clipped_count"] == 0
        assert measured["secure_lower_clipped_count"] == 0
        learning_runs.assert_same(
            learning_runs.trainable(output), learning_runs.trainable(native_output)
        )


# The item table must have more than 20,000 elements to be compressed.
_MANY_ITEMS = 2_600
_NUM_REPEATS = 4
_NUM_TWINS = 6


@pytest.fixture(scope="module")
def compression():
    """A process that compresses, a client, and the client's update, computed here and now."""
    process = learning_runs.build_process(
        tff.learning.compression_aggregator(), "dense", num_items=_MANY_ITEMS
    )
    client = learning_runs.create_client(
        np.random.default_rng(4), 8, _MANY_ITEMS, num_interactions=8
    )
    update = learning_runs.build_client_update("dense", learning_runs.build_work(), _MANY_ITEMS)(
        tf.nest.map_structure(tf.constant, learning_runs.create_initial_weights(_MANY_ITEMS)),
        client_work.ClientData(*map(tf.constant, client)),
    ).update
    return process, client, tf.nest.map_structure(lambda t: t.numpy(), update)


@pytest.mark.parametrize("context", ["native", "compiled, 2 shards"])
def test_compression_rounds_without_bias_and_for_each_client_by_itself(compression, context):
    """Clients with the same data and seed: only the rounding, to 8 bits, tells them apart.

    An element is rounded up as often as its place between two steps says. So the mean of n
    clients has the standard deviation sqrt(f (1 - f) / n) steps, f being that place, and the mean
    of several rounds has less, unless clients or rounds share their random numbers.
    """
    process, client, update = compression

    def run():
        state = process.initialize()
        outputs = [process.next(state, [client] * _NUM_TWINS) for _ in range(_NUM_REPEATS)]
        return state.global_model_weights.trainable, outputs

    if context == "native":
        initial, outputs = run()
    else:
        with _context(context).install():
            initial, outputs = run()
    table = update.items.embedding.astype(np.float64)
    step = (table.max() - table.min()) / 255
    place = (table - table.min()) / step % 1.0
    expected = step * np.sqrt(np.mean(place * (1 - place)) / _NUM_TWINS)
    errors = []
    for output in outputs:
        assert output.metrics["aggregator"]["zeroed_count"] == 0
        assert output.metrics["aggregator"]["zeroing"]["clipped_count"] == 0
        found = tf.nest.map_structure(np.subtract, initial, learning_runs.trainable(output))
        errors.append(found.items.embedding - table)
        assert np.abs(errors[-1]).max() < step * 1.01
        np.testing.assert_allclose(np.sqrt(np.mean(errors[-1] ** 2)), expected, rtol=0.05)
        # What is too small to be compressed is as it was.
        exact = two_tower.TwoTowerWeights(update.items.bias, update.tower)
        rest = two_tower.TwoTowerWeights(found.items.bias, found.tower)
        learning_runs.assert_same(rest, exact, atol=1e-7)
    mean = np.mean(errors, axis=0)
    np.testing.assert_allclose(
        np.sqrt(np.mean(mean**2)), expected / np.sqrt(_NUM_REPEATS), rtol=0.05
    )
    # The standard error of the mean over everything, five times.
    assert abs(mean.mean()) < 5 * expected / np.sqrt(_NUM_REPEATS * table.size)
