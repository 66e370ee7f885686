"""Means under secure sums, against NumPy, in the clear and encrypted."""

import numpy as np
import pytest
import tensorflow_federated as tff
import updates

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, secure
from fedrec_tff.execution import compiled, debug
from fedrec_tff.secure_sums.encryption import encrypted_sum

_NUM_ITEMS = 6
_CLIP = 1.5
_BITS = 10
_STEP = _CLIP / (2 ** (_BITS - 1) - 1)
_TYPE = updates.create_value_type(_NUM_ITEMS, is_row_sparse=False)


def _create_context(**options):
    options = {"clip_norm": _CLIP, "row_sparse": False, **options}
    return registry.AggregatorContext(_NUM_ITEMS, clients_per_round=5.0, **options)


def _create_updates(scales=(0.2, 3.0, 0.1, 0.4, 10.0)):
    rng = np.random.default_rng(1)
    rows = [updates.create_row_sparse(rng, _NUM_ITEMS, 4, scale=scale) for scale in scales]
    return [updates.densify(update, _NUM_ITEMS) for update in rows]


def _create_contexts(secure_sum=None):
    options = compiled.CompiledOptions(
        num_parallel_shards=2, clients_per_block=2, secure_sum=secure_sum
    )
    return {
        "compiled": compiled.CompiledContext(options),
        "debug": debug.DebugContext(secure_sum=secure_sum),
    }


@pytest.fixture(scope="module")
def process():
    return secure.build_secure_mean(_create_context(), bits=_BITS).create(_TYPE)


@pytest.fixture(scope="module")
def contexts():
    return _create_contexts()


def _run(process, *arguments):
    return process.next(process.initialize(), *arguments)


@pytest.mark.parametrize("name", ["compiled", "debug"])
def test_the_mean_is_numpys_within_half_a_step(process, contexts, name):
    values = _create_updates()
    vectors = [updates.flatten(value) for value in values]
    expected = np.mean([updates.clip(vector, _CLIP) for vector in vectors], axis=0)
    with contexts[name].install():
        output = _run(process, values)
    found = updates.flatten(output.result)
    assert np.abs(found - expected).max() <= _STEP / 2 + 1e-6
    # The grid is coarse enough to be seen.
    assert np.abs(found - expected).max() > _STEP / 100
    # Where no client has anything, nothing appears.
    assert np.all(found[expected == 0] == 0)
    assert output.measurements["num_clients"] == len(values)
    assert output.measurements["num_clipped"] == sum(
        np.linalg.norm(vector) > _CLIP for vector in vectors
    )


@pytest.mark.parametrize(("name", "scheme"), [("compiled", "bfv"), ("debug", "ckks")])
def test_encrypted_sums_give_the_same_bits(process, contexts, name, scheme):
    values = _create_updates()
    with contexts[name].install():
        expected = _run(process, values)
    with _create_contexts(encrypted_sum.EncryptedSum(scheme))[name].install():
        found = _run(process, values)
    assert np.array_equal(updates.flatten(found.result), updates.flatten(expected.result))
    assert found.measurements == expected.measurements


def test_an_empty_cohort_and_clients_that_are_not_finite(process, contexts):
    values = _create_updates()
    bad = _create_updates()[:2]
    bad[0].items.bias[2] = np.nan
    bad[1].tower[0][0, 0] = np.inf
    with contexts["compiled"].install():
        expected = _run(process, values)
        found = _run(process, [bad[0], *values, bad[1]])
        empty = _run(process, [])
        hopeless = _run(process, bad)
    assert np.array_equal(updates.flatten(found.result), updates.flatten(expected.result))
    assert found.measurements == expected.measurements
    for output in (empty, hopeless):
        assert np.isnan(updates.flatten(output.result)).all()
        assert output.measurements["num_clients"] == 0


def test_the_largest_weight_is_within_the_sums_bound(contexts):
    """An update of one weight that is the whole norm, which float32 may round up."""
    value_type = tff.to_type(tff.TensorType(np.float32, [2]))
    process = secure.build_secure_mean(_create_context(), bits=32, clip_norm=0.1).create(value_type)
    with contexts["compiled"].install():
        output = _run(process, [np.array([sign * 7e30, 0.0], np.float32) for sign in (1, 1, -1)])
    np.testing.assert_allclose(output.result, [0.1 / 3, 0.0], rtol=1e-6)


def test_stochastic_rounding_has_no_bias(contexts):
    """Sixteen times 4,000 weights of a third of a step: up in a third of all cases."""
    size, num_clients = 4_000, 16
    value_type = tff.to_type(tff.TensorType(np.float32, [size]))
    # Weights of a third of a step, of a norm far below the clip.
    factory = secure.build_secure_mean(_create_context(), bits=8, clip_norm=127.0, stochastic=True)
    process = factory.create(value_type)
    with contexts["compiled"].install():
        output = _run(process, [np.full(size, 1 / 3, np.float32)] * num_clients)
    # The mean of 16 roundings has a variance of (2 / 9) / 16; five standard errors.
    spread = np.sqrt(2 / 9 / num_clients)
    assert abs(output.result.mean() - 1 / 3) < 5 * spread / np.sqrt(size)
    assert abs(output.result.std() / spread - 1) < 5 / np.sqrt(2 * size)


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        ({"bits": 1}, {}, "bits=1"),
        ({"bits": 33}, {}, "bits=33"),
        ({"clip_norm": 0.0}, {}, "clip_norm=0.0"),
        ({}, {"clip_norm": None}, "clip_norm"),
        ({}, {"row_sparse": True}, "dense updates only"),
    ],
)
def test_what_is_refused(parameters, options, message):
    with pytest.raises(errors.UserError, match=message):
        secure.build_secure_mean(_create_context(**options), **parameters)


# TFF's own.


def _leaves(value):
    return tff.structure.flatten(tff.structure.from_container(value, recursive=True))


def test_tffs_secure_aggregator_survives_empty_cohorts_and_clients_that_are_not_finite(contexts):
    value_type, weight_type = tff.to_type(tff.TensorType(np.float32, [3])), tff.to_type(np.float32)
    process = secure.build_tff_secure(_create_context()).create(value_type, weight_type)
    values = [np.array([k, 0.5, -k], np.float32) / 10 for k in (1, 2, 3)]
    weights = [np.float32(k) for k in (1, 2, 5)]
    bad = [np.array([np.nan, 0, 0], np.float32), np.array([1, 2, 3], np.float32)]
    bad_weights = [np.float32(1), np.float32(np.inf)]
    with contexts["compiled"].install():
        initial = process.initialize()
        empty = process.next(initial, [], [])
        output = process.next(empty.state, values, weights)
        after = process.next(output.state, [*bad, *values], [*bad_weights, *weights])
    for leaf, initial_leaf in zip(_leaves(empty.state), _leaves(initial), strict=True):
        np.testing.assert_array_equal(leaf, initial_leaf)
    expected = np.average(values, axis=0, weights=weights)
    # 32 bits of values within 100 times the weights' bound.
    np.testing.assert_allclose(output.result, expected, atol=1e-4)
    np.testing.assert_allclose(after.result, expected, atol=1e-4)
    assert all(np.isfinite(leaf).all() for leaf in _leaves(after.state) if leaf.dtype.kind == "f")
    # It does adapt.
    assert any(
        not np.array_equal(leaf, other)
        for leaf, other in zip(_leaves(output.state), _leaves(initial), strict=True)
    )
