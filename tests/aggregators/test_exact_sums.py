"""Sums that no order, no context and no other client can move: integers from client to noise."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.execution import compiled, debug, stacking
from fedrec_tff.privacy import mechanisms, queries, sampling
from fedrec_tff.privacy.mechanisms import kinds

_CLIP = 0.5
_SHARDS = (1, 2, 3)


@functools.cache
def _compiled(num_shards):
    return compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=num_shards))


# A cohort made to break float32.

_NUM_ITEMS = 3
_NUM_CLIENTS = 10_000
_NUM_LARGE = 4096


class _IntegerSumQuery(queries.GaussianSumQuery):
    """Shows the sum as it is."""

    def get_noised_result(self, sample_state, global_state):
        _, state, event = super().get_noised_result(sample_state, global_state)
        return sample_state, state, event


@functools.cache
def _integer_sums(form):
    query = _IntegerSumQuery(_CLIP, stddev=_CLIP)
    if form == "dense":
        factory = tff.aggregators.DifferentiallyPrivateFactory(query)
        return query, factory.create(tff.TensorType(np.float32, [_NUM_ITEMS]))
    factory = tff.aggregators.DifferentiallyPrivateFactory(
        row_sparse.RowSparseQuery(query, _NUM_ITEMS), row_sparse.RowSparseSumFactory(_NUM_ITEMS)
    )
    rows = row_sparse.RowSparse(
        tff.TensorType(np.int32, [None]), tff.TensorType(np.float32, [None])
    )
    return query, factory.create(tff.to_type(rows))


def _adversaries(with_one_more):
    """What clients send of the second item, in their order.

    The first bring its sum to a power of two. From there on a float32 forgets what is below half of
    its last place if it is added, and not if it is taken off; one step above the power of two it
    forgets both. One client decides on which side the others are.
    """
    ulp = np.spacing(np.float32(_NUM_LARGE * _CLIP))
    large = np.full(_NUM_LARGE, _CLIP, np.float32)
    small = np.full(_NUM_CLIENTS - _NUM_LARGE, -0.4 * ulp, np.float32)
    return np.concatenate([large, np.full(int(with_one_more), _CLIP, np.float32), small])


def _stack(numbers, form):
    value = np.zeros([len(numbers), _NUM_ITEMS], np.float32)
    value[:, 1] = numbers
    if form == "row_sparse":
        ids = np.broadcast_to(np.int32([1]), [len(numbers), 1])
        value = row_sparse.RowSparse(ids, value[:, 1:2])
    return stacking.StackedCohort((stacking.StackedClients(value, np.arange(len(numbers))),))


def test_a_float32_sum_moves_by_more_than_two_clips_for_one_client():
    """What the tests below are about."""
    without, more = (
        np.add.accumulate(_adversaries(is_there).astype(np.float32), dtype=np.float32)[-1]
        for is_there in (False, True)
    )
    assert more - without > 2.0 * _CLIP


@pytest.mark.parametrize("form", ["dense", "row_sparse"])
def test_one_client_moves_the_sum_of_ten_thousand_by_no_more_than_the_clip(form):
    query, process = _integer_sums(form)
    max_norm = query.grid.max_norm
    sums = []
    for is_there in (False, True):
        numbers = _adversaries(is_there)
        found = set()
        for num_shards in _SHARDS:
            with _compiled(num_shards).install():
                total = process.next(process.initialize(), _stack(numbers, form)).result
            assert total.dtype == np.int64
            assert total[0] == total[2] == 0
            found.add(int(total[1]))
        # Into how many parts the cohort was cut does not matter.
        (total,) = found
        # Nor does it to real numbers, but for rounding each client's.
        exact = math.fsum(numbers.astype(np.float64)) / _CLIP * max_norm
        assert abs(total - exact) <= 2.0 * len(numbers)
        sums.append(total)
    assert 0.9999 * max_norm < sums[1] - sums[0] <= max_norm


# Every context, any number of shards.


@functools.cache
def _private(name, form):
    law = kinds.get(name).samplings[0]
    is_cyclic = law == sampling.CYCLIC_POISSON
    mechanism = mechanisms.Mechanism(
        name,
        1.5,
        _CLIP,
        num_clients=1_000,
        clients_per_round=20.0,
        sampling=law,
        min_separation=3 if is_cyclic else None,
        rounds=9 if is_cyclic else None,
    )
    context = registry.AggregatorContext(12, 20.0, form == "row_sparse", mechanism, 3)
    value_type = updates_lib.create_value_type(12, is_row_sparse=form == "row_sparse")
    return registry.get(name).build_factory(context).create(value_type)


def _two_rounds(name, form):
    process = _private(name, form)
    rng = np.random.default_rng(1)
    state, leaves = process.initialize(), []
    for num_clients in (9, 4):
        cohort = [
            updates_lib.create_row_sparse(rng, 12, 5, scale=0.1 * i) for i in range(num_clients)
        ]
        if form == "dense":
            cohort = [updates_lib.densify(update, 12) for update in cohort]
        output = process.next(state, cohort)
        state = output.state
        numbers = (output.result, state.query_state)
        leaves += [np.array(leaf) for leaf in tf.nest.flatten(numbers)]
    return leaves


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dp_adaptive", "row_sparse"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("dp_tree", "dense"),
                ("dp_gaussian", "dense"),
                ("dp_banded_mf", "row_sparse"),
                ("dp_gaussian", "row_sparse"),
                ("dp_adaptive", "dense"),
                ("dp_tree", "row_sparse"),
                ("dp_banded_mf", "dense"),
            )
        ),
    ],
)
def test_all_contexts_and_shards_have_the_same_bits(name, form):
    expected = _two_rounds(name, form)
    for context in (*map(_compiled, _SHARDS), debug.DebugContext()):
        with context.install():
            found = _two_rounds(name, form)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


# What a client sends.


@functools.cache
def _rounding(max_norm, is_compiled):
    def round_vector(vector, clip_norm):
        return queries.round_to_grid(vector, clip_norm, max_norm)

    return tf.function(round_vector, jit_compile=is_compiled, autograph=False)


_NASTY = st.one_of(
    st.floats(width=32),
    st.sampled_from([1e38, -1e38, 3.4e38, 1e-45, 1e-38, 1.0, 0.5, -0.5, 0.0]),
)


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("max_norm", [1, 9, 2**20, 2**26])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    numbers=st.lists(_NASTY, min_size=24, max_size=24),
    clip_norm=st.sampled_from([0.0, 1e-38, 1e-30, 1e-3, 1.0, 1e6, 1e30]),
)
def test_nobody_sends_a_vector_that_is_longer_than_the_grid(
    is_compiled, max_norm, numbers, clip_norm
):
    vector = np.array(numbers, np.float32)
    integers, norm = _rounding(max_norm, is_compiled)(
        tf.constant(vector), tf.constant(clip_norm, tf.float32)
    )
    sent = [int(number) for number in integers.numpy()]
    # Python's integers know no overflow.
    assert sum(number * number for number in sent) <= max_norm**2
    exact = math.sqrt(math.fsum(float(v) ** 2 for v in vector))
    if not math.isfinite(exact):
        assert not any(sent)
    elif clip_norm >= 1e-30 and exact >= 1e-30:
        # Off by one step a number: what is left for rounding, and rounding.
        target = vector.astype(np.float64) * (max_norm / max(exact, np.float32(clip_norm)))
        assert np.abs(np.array(sent) - target).max() <= 0.5 * math.sqrt(24) + 1.0
        if exact < 3e38:
            np.testing.assert_allclose(norm, exact, rtol=1e-6)


def test_a_vector_of_many_tiny_numbers_keeps_its_length():
    vector = np.full(200_000, 1e-9, np.float32)
    integers, _ = queries.round_to_grid(tf.constant(vector), 1e-9, 2**20)
    length = math.sqrt(int(np.sum(np.square(integers.numpy()))))
    # Half the root of 200,000 is 224 steps; each number has 2,344.
    assert 2**20 - 400 < length <= 2**20


def test_parts_that_are_clipped_apart_share_one_grid():
    update = updates_lib.densify(
        updates_lib.create_row_sparse(np.random.default_rng(2), 12, 9, scale=50.0), 12
    )
    query = queries.PartClippedSumQuery({"items": 3.0, "tower": 4.0}, stddev=7.5)
    record = tf.nest.map_structure(tf.constant, update)
    sent = query.preprocess_record(tf.constant(5.0), record)
    squares = {
        name: sum(int(np.sum(np.square(leaf.numpy()))) for leaf in tf.nest.flatten(part))
        for name, part in sent._asdict().items()
    }
    max_norm = query.grid.max_norm
    # The joint clip is 5: noise of 7.5 is 1.5 of it.
    assert max_norm == pytest.approx(2**20 / 1.5, abs=1.0)
    assert squares["items"] <= (0.6 * max_norm) ** 2
    assert squares["tower"] <= (0.8 * max_norm) ** 2
    assert sum(squares.values()) == pytest.approx(max_norm**2, rel=1e-3)
