import math
from typing import Any, NamedTuple

import dp_accounting
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.row_sparse import RowSparse
from fedrec_tff.privacy import mechanisms, queries


def _gaussian(seed, clip=2.0, stddev=3.0):
    return queries.GaussianSumQuery(clip, stddev, seed)


def _adaptive(seed, noise_multiplier=1.5, count_stddev=4.0):
    return queries.AdaptiveClipSumQuery(
        initial_l2_norm_clip=2.0,
        noise_multiplier=noise_multiplier,
        target_unclipped_quantile=0.5,
        learning_rate=0.2,
        clipped_count_stddev=count_stddev,
        expected_num_records=100.0,
        insecure_seed=seed,
    )


def _zeros(query, template):
    return query.initial_sample_state(tf.nest.map_structure(tf.convert_to_tensor, template))


def _release(query, state, template, times):
    """Results of an empty cohort, so nothing but noise, and the states after each."""
    sample_state = _zeros(query, template)
    results, states = [], []
    for _ in range(times):
        result, state, _ = query.get_noised_result(sample_state, state)
        results.append(tf.nest.map_structure(lambda t: t.numpy(), result))
        states.append(state)
    return results, states


_TEMPLATE = (np.zeros(4, np.float32), np.zeros(4, np.float32))


@pytest.mark.parametrize("create", [_gaussian, _adaptive])
def test_noise_is_a_function_of_the_seed_and_the_number_of_releases(create):
    query = create(5)
    results, states = _release(query, query.initial_global_state(), _TEMPLATE, 4)
    tf.random.set_seed(1)
    again, _ = _release(create(5), create(5).initial_global_state(), _TEMPLATE, 4)
    np.testing.assert_array_equal(results, again)
    # A restored state goes on where it was saved, in another query object.
    saved = tf.nest.map_structure(lambda t: t.numpy(), states[1])
    restored = tf.nest.map_structure(tf.constant, saved)
    resumed, _ = _release(create(5), restored, _TEMPLATE, 2)
    np.testing.assert_array_equal(results[2:], resumed)
    # Every release, every tensor and every seed has a stream of its own.
    other, _ = _release(create(6), create(6).initial_global_state(), _TEMPLATE, 4)
    values = np.ravel([results, other])
    assert len(np.unique(values)) == values.size


@pytest.mark.parametrize("length", [0.5, 1.0, 30.0])
def test_updates_keep_their_direction_on_the_grid_and_use_its_room(length):
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=shape).astype(np.float32) for shape in ((30, 20), (400,))]
    norm = math.sqrt(sum(np.sum(part.astype(np.float64) ** 2) for part in parts))
    parts = [part * np.float32(2.0 * length / norm) for part in parts]
    rounded, found = queries.round_to_grid(parts, 2.0, 4096)
    assert float(found) == pytest.approx(2.0 * length)
    # Rounding n numbers moves them by sqrt(n) / 2 at most, which is left free.
    scale = (4096 - 0.5 * math.sqrt(1000)) / (2.0 * max(length, 1.0))
    for part, integers in zip(parts, rounded, strict=True):
        np.testing.assert_allclose(integers, part * scale, atol=0.501)
    assert sum(np.sum(integers.numpy() ** 2) for integers in rounded) <= 4096**2
    not_finite = [parts[0], np.full(3, np.nan, np.float32)]
    assert not any(np.any(part) for part in queries.round_to_grid(not_finite, 2.0, 4096)[0])


@pytest.mark.parametrize(("clip", "factor"), [(2.5, 0.5), (5.0, 1.0), (7.0, 1.0)])
def test_structures_are_clipped_to_a_norm_that_all_of_them_share(clip, factor):
    record = (tf.constant([3.0, 0.0]), tf.constant([[-4.0]]))
    clipped, norm = queries.clip_to_norm(record, clip)
    assert float(norm) == 5.0
    for found, part in zip(clipped, record, strict=True):
        np.testing.assert_allclose(found, factor * part.numpy(), rtol=1e-6)
    for wrong in (np.nan, np.inf):
        clipped, _ = queries.clip_to_norm((tf.constant([1.0, wrong]), tf.ones([3])), clip)
        assert not any(np.any(part) for part in clipped)


def test_seeded_noise_is_added_to_the_sum():
    query = _gaussian(5)
    state = query.initial_global_state()
    noise, _, _ = query.get_noised_result(tf.zeros(3, tf.int64), state)
    steps = tf.constant([1, 2, 3], tf.int64) * query.grid.max_norm
    result, _, _ = query.get_noised_result(steps, state)
    # A norm of all of the grid is the clip.
    np.testing.assert_allclose(result - noise, [2.0, 4.0, 6.0], rtol=1e-5)


class _Parts(NamedTuple):
    users: Any
    items: Any
    bias: Any


@pytest.mark.parametrize("clip_norms", [(3.0, 4.0, 12.0), (1.0, 0.1, 0.01)])
def test_parts_are_clipped_each_and_noised_for_their_joint_norm(clip_norms):
    by_part = dict(zip(_Parts._fields, clip_norms, strict=True))
    joint = math.hypot(*clip_norms)
    query = queries.PartClippedSumQuery(by_part, stddev=2.0 * joint, insecure_seed=3)
    assert query.noise_multiplier == pytest.approx(2.0, rel=1e-12)
    state = query.initial_global_state()
    params = query.derive_sample_params(state)
    rng = np.random.default_rng(0)
    directions = [v / np.linalg.norm(v) for v in rng.normal(size=(3, 2000))]
    for scale in (0.5, 1.0, 1000.0):
        parts = [scale * clip * v for clip, v in zip(clip_norms, directions, strict=True)]
        integers = query.preprocess_record(
            params, _Parts(*(tf.constant(v, tf.float32) for v in parts))
        )
        squares = [int(np.sum(t.numpy().astype(object) ** 2)) for t in integers]
        assert sum(squares) <= query._grid.max_norm**2
        floats = query.to_floats(integers, state)
        for found, clip, v in zip(floats, clip_norms, directions, strict=True):
            expected = min(scale, 1.0) * clip * v
            assert np.linalg.norm(found) <= clip * (1 + 1e-6)
            # Rounding to the grid, whose room the other parts share.
            np.testing.assert_allclose(found, expected, atol=1e-3 * joint / math.sqrt(2000))
    # 6000 numbers: five standard errors of their deviation.
    zeros = query.initial_sample_state(_Parts(*(tf.zeros([2000]) for _ in range(3))))
    result, _, event = query.get_noised_result(zeros, state)
    assert np.std(np.concatenate(result)) == pytest.approx(2.0 * joint, rel=5 / math.sqrt(12_000))
    assert float(event.noise_multiplier) == pytest.approx(2.0)


def test_parts_without_a_clip_and_clips_without_a_part_are_refused():
    parts = {"users": 1.0, "items": 1.0, "bias": 1.0}
    record = _Parts(*(tf.zeros([2]) for _ in range(3)))
    for clips in ({"users": 1.0, "items": 1.0}, {**parts, "tower": 1.0}):
        query = queries.PartClippedSumQuery(clips, stddev=1.0)
        params = query.derive_sample_params(query.initial_global_state())
        with pytest.raises(ValueError, match="clips are for"):
            query.preprocess_record(params, record)


def test_releases_are_counted_from_zero():
    for query in (_gaussian(5), _adaptive(5)):
        state = query.initial_global_state()
        for times in range(3):
            counted = state if query.__class__ is queries.GaussianSumQuery else state.sum_state
            assert int(counted.num_releases) == times
            _, state, _ = query.get_noised_result(_zeros(query, np.zeros(2, np.float32)), state)


def test_sum_and_count_have_noise_of_different_streams():
    query = _adaptive(5)
    state, times = query.initial_global_state(), 250
    sample_state = _zeros(query, np.zeros(1, np.float32))
    sums, counts = [], []
    for _ in range(times):
        clip = float(state.sum_state.l2_norm_clip)
        noised, state, _ = query.get_noised_result(sample_state, state)
        sums.append(float(noised[0]) / (1.5 * clip))
        # C' = C exp(-0.2 (b - 0.5)), and b - 0.5 is the noised count over 100.
        moved = np.log(float(state.sum_state.l2_norm_clip) / clip)
        counts.append(moved / -0.2 * 100.0 / 4.0)
    # Both standard normal; 5 standard deviations of the estimates.
    for draws in (sums, counts):
        assert abs(np.mean(draws)) < 5 / np.sqrt(times)
        assert abs(np.std(draws) - 1.0) < 5 / np.sqrt(2 * times)
    for lag in (-1, 0, 1):
        correlation = np.corrcoef(sums, np.roll(counts, lag))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(times)
    assert np.abs(np.subtract.outer(sums, counts)).min() > 1e-7


def test_events_carry_the_noise_multiplier():
    query = _gaussian(5, clip=2.0, stddev=3.0)
    _, _, event = query.get_noised_result(tf.zeros(2, tf.int64), query.initial_global_state())
    assert isinstance(event, dp_accounting.GaussianDpEvent)
    assert float(event.noise_multiplier) == 1.5

    query = _adaptive(5, noise_multiplier=1.5, count_stddev=4.0)
    state = query.initial_global_state()
    sample_state = _zeros(query, np.zeros(2, np.float32))
    for _ in range(3):
        _, state, event = query.get_noised_result(sample_state, state)
        assert isinstance(event, dp_accounting.ComposedDpEvent)
        # The count moves by one half for one client.
        found = [float(e.noise_multiplier) for e in event.events]
        np.testing.assert_allclose(found, [1.5, 8.0], rtol=1e-6)
    assert float(state.sum_state.l2_norm_clip) != 2.0


def test_the_count_moves_by_half_a_user_for_any_change_from_nobody_or_from_zeros():
    query = _adaptive(5)
    state = query.initial_global_state()
    params = query.derive_sample_params(state)

    def count(*records):
        total = _zeros(query, np.zeros(2, np.float32))
        for record in records:
            sent = query.preprocess_record(params, tf.constant(record, tf.float32))
            total = query.accumulate_preprocessed_record(total, sent)
        grid = query._quantile_estimator_query._below_estimate_query._numerator.grid
        return float(total.quantile_estimator_state) / grid.max_norm * 0.5

    others = [[0.1, 0.0], [5.0, 5.0], [0.0, 0.0]]
    for own in ([1.0, 1.0], [30.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0]):
        for without in (others, [*others, [0.0, 0.0]]):
            assert abs(count(*others, own) - count(*without)) <= 0.5
    # Below the clip, or at it.
    assert count([0.1, 0.0]) == count([2.0, 0.0]) == pytest.approx(0.5, abs=1e-4)
    assert count([5.0, 5.0]) == pytest.approx(-0.5, abs=1e-4)


def test_adaptive_noise_follows_the_clip():
    query = _adaptive(5, noise_multiplier=1.5)
    state = query.initial_global_state()
    shrunk = state._replace(sum_state=state.sum_state._replace(l2_norm_clip=tf.constant(1.0)))
    sample_state = _zeros(query, np.zeros(5, np.float32))
    first, _, _ = query.get_noised_result(sample_state, state)
    second, _, _ = query.get_noised_result(sample_state, shrunk)
    np.testing.assert_allclose(first, 2.0 * second, rtol=1e-5)


def _op_names(message):
    """The ops of every TensorFlow graph inside a computation's proto."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        graph = tf.compat.v1.GraphDef()
        if not message.Is(graph.DESCRIPTOR):
            return []
        message.Unpack(graph)
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return [node.op for node in nodes]
    names = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.label == field.LABEL_REPEATED else [value]:
                names += _op_names(part)
    return names


@pytest.mark.parametrize("insecure_seed", [None, 3])
@pytest.mark.parametrize("row_sparse", [False, True])
@pytest.mark.parametrize("name", ["dp_gaussian", "dp_adaptive"])
def test_every_release_reads_the_kernel_unless_a_seed_is_given(name, row_sparse, insecure_seed):
    context = registry.AggregatorContext(
        num_items=5,
        clients_per_round=40.0,
        row_sparse=row_sparse,
        mechanism=mechanisms.Mechanism(name, 1.5, 1.0, 1_000, 40.0),
        insecure_noise_seed=insecure_seed,
    )
    factory = registry.get(name).build_factory(context)
    value_type = tff.TensorType(np.float32, [5])
    if row_sparse:
        value_type = tff.to_type(
            RowSparse(tff.TensorType(np.int32, [None]), tff.TensorType(np.float32, [None]))
        )
    ops = _op_names(factory.create(value_type).next._computation_proto)
    # One release of the sum, one more of the count.
    releases = 2 if name == "dp_adaptive" else 1
    # The words of a release, and more bits for those that do not decide.
    assert ops.count("StatelessRandomUniformFullIntV2") == 2 * releases
    assert ops.count("TextLineDataset") == (releases if insecure_seed is None else 0)
    # TensorFlow's own generators are seeded with 32 bits: none of them may be there.
    assert not [op for op in ops if op.startswith("Random") or op == "NonDeterministicInts"]
