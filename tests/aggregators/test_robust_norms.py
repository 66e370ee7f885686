import functools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff import errors
from fedrec_tff.aggregators import means, registry, row_sparse
from fedrec_tff.aggregators.robust import (
    adaptive_bound,
    adaptive_norm,
    centered_clipping,
    norm_clip,
    row_clip,
)
from fedrec_tff.execution import compiled

_NUM_ITEMS = 12
_CLIP = 4.0
_RADIUS = 3.0


def _context(is_row_sparse=True, clip_norm=_CLIP):
    return registry.AggregatorContext(_NUM_ITEMS, 5.0, is_row_sparse, clip_norm=clip_norm)


def _value_type(is_row_sparse):
    return updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=is_row_sparse)


@pytest.fixture(scope="module")
def context():
    """Each process compiles one program, for all cohorts here."""
    return compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=2, clients_per_block=2)
    )


def _cohort(scales, seed=0):
    """Updates of norm about six times the scale."""
    rng = np.random.default_rng(seed)
    return [updates_lib.create_row_sparse(rng, _NUM_ITEMS, 8, scale=s) for s in scales]


def _bad(weight):
    (update,) = _cohort([1.0], seed=9)
    update.value.items.embedding[0, 0] = weight
    return update


def _vectors(cohort):
    return np.stack([updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in cohort])


def _norms(cohort):
    return np.linalg.norm(_vectors(cohort), axis=1)


def _next(process, state, cohort, is_row_sparse, *weights):
    if not is_row_sparse:
        cohort = [updates_lib.densify(update, _NUM_ITEMS) for update in cohort]
    return process.next(state, cohort, *weights)


def _encode(step, update):
    """What a client hands on, as one float64 vector."""
    is_row_sparse = isinstance(update, row_sparse.RowSparse)
    specs = tff.types.type_to_tf_tensor_specs(_value_type(is_row_sparse))
    encode = tf.function(lambda value: step.encode(value, tf.zeros([2], tf.int32)).value)
    value = tf.nest.map_structure(tf.constant, update)
    value = encode.get_concrete_function(specs)(*tf.nest.flatten(value))
    value = tf.nest.map_structure(lambda t: t.numpy(), value)
    return updates_lib.flatten(updates_lib.densify(value, _NUM_ITEMS) if is_row_sparse else value)


@pytest.mark.parametrize("is_row_sparse", [True, False])
def test_each_items_row_is_shortened_by_itself(is_row_sparse):
    (update,) = _cohort([1.0])
    if not is_row_sparse:
        update = updates_lib.densify(update, _NUM_ITEMS)
    found = _encode(row_clip.build_clip_rows(_context(), norm=1.5), update)
    dense = updates_lib.densify(update, _NUM_ITEMS) if is_row_sparse else update
    embedding, bias = np.array(dense.items.embedding), np.array(dense.items.bias)
    lengths = np.sqrt(np.square(embedding).sum(axis=1) + np.square(bias))
    assert (lengths > 1.5).any()
    assert ((lengths > 0.0) & (lengths < 1.5)).any()
    factor = np.where(lengths > 1.5, 1.5 / np.maximum(lengths, 1e-9), 1.0)
    items = type(dense.items)(embedding * factor[:, np.newaxis], bias * factor)
    np.testing.assert_allclose(
        found, updates_lib.flatten(dense._replace(items=items)), rtol=1e-5, atol=1e-7
    )


def test_a_row_clip_bounds_huge_rows_and_lets_what_is_no_number_be_seen():
    step = row_clip.build_clip_rows(_context(), norm=1.0)
    assert np.isfinite(_encode(step, _bad(1e30))).all()
    assert not np.isfinite(_encode(step, _bad(math.nan))).all()


@pytest.mark.parametrize("is_row_sparse", [True, False])
def test_clip_shortens_what_is_too_long_and_nothing_else(is_row_sparse):
    step = norm_clip.build_clip(_context())
    # The square of the last one's norm is more than a float can be.
    cohort = _cohort([0.01, 1.0, 100.0, 1e25])
    for update, vector in zip(cohort, _vectors(cohort), strict=True):
        value = update if is_row_sparse else updates_lib.densify(update, _NUM_ITEMS)
        expected = updates_lib.clip(vector, _CLIP)
        np.testing.assert_allclose(_encode(step, value), expected, rtol=1e-5, atol=1e-6)


def test_clip_cannot_be_passed_by_repeating_an_item():
    (update,) = _cohort([1.0])
    update.ids[:] = 3
    assert np.linalg.norm(_encode(norm_clip.build_clip(_context()), update)) <= _CLIP * (1 + 1e-5)
    update.ids[:] = np.arange(10)[::-1]
    assert np.linalg.norm(_encode(norm_clip.build_clip(_context()), update)) <= _CLIP * (1 + 1e-5)


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_clip_leaves_it_to_others_to_see_what_is_not_finite(weight):
    found = _encode(norm_clip.build_clip(_context(), norm=1.0), _bad(weight))
    assert not np.isfinite(found).all()


class QuantileReference:
    """The geometric update of a quantile, in NumPy."""

    def __init__(self, estimate, quantile, learning_rate):
        self.estimate, self.quantile, self.learning_rate = estimate, quantile, learning_rate

    def update(self, norms):
        share = np.mean(norms <= self.estimate)
        self.estimate *= math.exp(-self.learning_rate * (share - self.quantile))


@functools.cache
def _clip_process():
    inner = means.build_mean(_context(False))
    factory = adaptive_norm.build_adaptive_clip(_context(False), inner, quantile=0.5)
    return factory.create(_value_type(False))


@functools.cache
def _zeroing_process():
    inner = means.build_weighted_mean(_context())
    factory = adaptive_norm.build_adaptive_zeroing(
        _context(), inner, initial_norm=5.0, quantile=0.9, learning_rate=1.0
    )
    return factory.create(_value_type(True), tff.TensorType(np.float32))


def test_adaptive_clip_follows_the_quantile_and_survives_what_is_bad(context):
    process, reference = _clip_process(), QuantileReference(_CLIP, 0.5, 0.2)
    with context.install():
        state = process.initialize()
        for index in range(12):
            cohort = _cohort([0.5, 1.0, 2.0, 3.0, 4.0], seed=index)
            output = _next(process, state, cohort, False)
            bound = reference.estimate
            expected = np.mean([updates_lib.clip(v, bound) for v in _vectors(cohort)], axis=0)
            found = updates_lib.flatten(output.result)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(output.measurements["clipping_norm"], bound, rtol=1e-5)
            assert output.measurements["clipped_count"] == np.sum(_norms(cohort) > bound)
            reference.update(_norms(cohort))
            state = output.state
            np.testing.assert_allclose(state[0], reference.estimate, rtol=1e-5)
            # Neither nobody nor bad numbers change the estimate.
            state = _next(process, state, [], False).state
            output = _next(process, state, [_bad(np.nan)], False)
            assert not np.isfinite(updates_lib.flatten(output.result)).all()
            state = output.state
            np.testing.assert_allclose(state[0], reference.estimate, rtol=1e-5)
    # The median norm is higher.
    assert reference.estimate > 1.5 * _CLIP


def _check_zeroing():
    process, reference = _zeroing_process(), QuantileReference(5.0, 0.9, 1.0)
    bound = 2.0 * reference.estimate + 1.0
    cohort = [*_cohort([0.5, 1.0, 1.0]), *_cohort([1e6], seed=1), _bad(np.nan), _bad(np.inf)]
    assert np.sum(_norms(cohort[:3]) <= bound) == 3
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.float32)
    output = _next(process, process.initialize(), cohort, True, list(weights))
    expected = np.average(_vectors(cohort[:3]), axis=0, weights=weights[:3])
    np.testing.assert_allclose(updates_lib.flatten(output.result), expected, rtol=1e-4, atol=1e-5)
    assert output.measurements["zeroed_count"] == 3
    np.testing.assert_allclose(output.measurements["zeroing_norm"], bound, rtol=1e-6)
    reference.update(_norms(cohort[:4]))
    np.testing.assert_allclose(output.state[0], reference.estimate, rtol=1e-5)
    empty = _next(process, output.state, [], True, [])
    np.testing.assert_allclose(empty.state[0], reference.estimate, rtol=1e-5)


def test_adaptive_zeroing_leaves_outliers_and_bad_numbers_out(context):
    with context.install():
        _check_zeroing()


@pytest.mark.usefixtures("native")
def test_adaptive_zeroing_is_the_same_in_native():
    _check_zeroing()


def test_an_estimate_finds_back_from_no_norm_at_all():
    quantile = adaptive_bound.QuantileEstimate(1.0, quantile=0.5, learning_rate=10.0)
    estimate = tf.constant(1.0)
    for _ in range(100):
        estimate = quantile.update(estimate, num_below=tf.constant(3), num_clients=tf.constant(3))
    assert 0.0 < estimate < 1e-6
    for _ in range(10):
        estimate = quantile.update(estimate, num_below=tf.constant(0), num_clients=tf.constant(3))
    assert 1.0 < estimate < np.inf


@functools.cache
def _centered_process(is_row_sparse):
    factory = centered_clipping.build_centered_clip(_context(is_row_sparse), radius=_RADIUS)
    return factory.create(_value_type(is_row_sparse))


def _centered(center, vectors):
    return center + np.mean([updates_lib.clip(v - center, _RADIUS) for v in vectors], axis=0)


@pytest.mark.parametrize("is_row_sparse", [True, False])
def test_centered_clip_equals_numpy_and_survives_what_is_bad(is_row_sparse, context):
    process = _centered_process(is_row_sparse)
    center = np.zeros_like(_vectors(_cohort([1.0]))[0])
    with context.install():
        state = process.initialize()
        for index in range(4):
            cohort = _cohort([0.1, 0.3, 1.0, 2.0], seed=index)
            distances = np.linalg.norm(_vectors(cohort) - center, axis=1)
            center = _centered(center, _vectors(cohort))
            output = _next(process, state, [*cohort, _bad(np.nan), _bad(1e30)], is_row_sparse)
            found = updates_lib.flatten(output.result)
            np.testing.assert_allclose(found, center, rtol=1e-4, atol=1e-5)
            assert 0 < output.measurements["clipped_count"] == np.sum(distances > _RADIUS)
            np.testing.assert_array_equal(updates_lib.flatten(output.state), found)
            empty = _next(process, output.state, [], is_row_sparse)
            assert np.isnan(updates_lib.flatten(empty.result)).all()
            only_bad = _next(process, empty.state, [_bad(np.inf)], is_row_sparse)
            assert np.isnan(updates_lib.flatten(only_bad.result)).all()
            state = only_bad.state
            np.testing.assert_array_equal(updates_lib.flatten(state), found)


def test_attackers_move_centered_clip_by_their_share_of_the_radius(context):
    process, honest = _centered_process(True), _cohort([0.3] * 6)
    attackers = _cohort([1e6] * 2, seed=1)
    assert np.linalg.norm(_vectors([*honest, *attackers]).mean(axis=0)) > 1e5
    with context.install():
        state = _next(process, process.initialize(), honest, True).state
        before = updates_lib.flatten(state)
        output = _next(process, state, [*honest, *attackers], True)
    alone = 6 / 8 * (_centered(before, _vectors(honest)) - before)
    moved = updates_lib.flatten(output.result) - before - alone
    assert np.linalg.norm(moved) <= 2 / 8 * _RADIUS * (1 + 1e-3)


@pytest.mark.parametrize(
    ("build", "parameters", "message"),
    [
        (norm_clip.build_clip, {"norm": 0.0}, "norm=0.0"),
        (row_clip.build_clip_rows, {"norm": -1.0}, "norm=-1.0"),
        (row_clip.build_clip_rows, {"norm": math.inf}, "norm=inf"),
        (norm_clip.build_clip, {"norm": math.nan}, "norm=nan"),
        (norm_clip.build_clip, {}, "norm: must be set, or --clip_norm"),
        (centered_clipping.build_centered_clip, {}, "radius: must be set, or --clip_norm"),
        (adaptive_norm.build_adaptive_clip, {}, "initial_norm: must be set, or --clip_norm"),
        (adaptive_norm.build_adaptive_zeroing, {"quantile": 1.5}, "quantile=1.5"),
        (adaptive_norm.build_adaptive_zeroing, {"learning_rate": 0.0}, "learning_rate=0.0"),
        (adaptive_norm.build_adaptive_zeroing, {"initial_norm": 0.0}, "initial_norm=0.0"),
        (adaptive_norm.build_adaptive_zeroing, {"increment": -1.0}, "increment=-1.0"),
    ],
)
def test_wrong_parameters_are_refused(build, parameters, message):
    context = _context(clip_norm=None)
    is_step = build.__module__ == adaptive_norm.__name__
    arguments = (context, means.build_mean(context)) if is_step else (context,)
    with pytest.raises(errors.UserError, match=f"--aggregator_param {message}"):
        build(*arguments, **parameters)
