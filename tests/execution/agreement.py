"""Computations run by TFF's own runtime and by our contexts, and their results compared."""

import logging

import attr
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, debug

CLIENTS_PER_BLOCK = 2


def create_compiled(num_parallel_shards=1, **options):
    """A compiled context of small blocks, so that small cohorts have several."""
    options = {"clients_per_block": CLIENTS_PER_BLOCK, **options}
    return compiled.CompiledContext(
        compiled.CompiledOptions(num_parallel_shards=num_parallel_shards, **options)
    )


def create_contexts(secure_sum=None, random_seed=None):
    """The contexts in which everything must come out the same, by name."""
    options = {"secure_sum": secure_sum, "random_seed": random_seed}
    return {
        "one shard": create_compiled(1, **options),
        "two shards": create_compiled(2, **options),
        "debug": debug.DebugContext(**options),
    }


def warnings_of(caplog):
    """What we logged and is no mere information."""
    return [
        record
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("fedrec_tff")
    ]


def sums_in_the_clear(computation):
    """What TFF's test backend makes of secure sums, so that TFF's own runtime can run them."""
    return tff.backends.test.replace_secure_intrinsics_with_bodies(computation)


def assert_same(found, expected, rtol=0.0, where="the result"):
    """Compares containers, dtypes, shapes and values; floats within `rtol`."""
    if isinstance(expected, tf.data.Dataset):
        assert isinstance(found, tf.data.Dataset), where
        assert found.element_spec == expected.element_spec, where
        found, expected = list(found.as_numpy_iterator()), list(expected.as_numpy_iterator())
    assert type(found) is type(expected), f"{where}: {type(found)}, not {type(expected)}"
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name in expected:
            assert_same(found[name], expected[name], rtol, f"{where}.{name}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for index, element in enumerate(expected):
            assert_same(found[index], element, rtol, f"{where}[{index}]")
    elif attr.has(type(expected)):
        for field in attr.fields(type(expected)):
            name = field.name
            assert_same(getattr(found, name), getattr(expected, name), rtol, f"{where}.{name}")
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype, where
        assert found.shape == expected.shape, where
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol, err_msg=where)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=where)
    else:
        assert found == expected, where


def assert_agrees(contexts, computation, arguments, rtol=0.0):
    """Compares the contexts with TFF's own runtime, which must be the current context.

    Returns:
      The result of TFF's runtime.
    """
    expected = computation(*arguments)
    for name, context in contexts.items():
        with context.install():
            found = computation(*arguments)
        assert_same(found, expected, rtol, name)
    return expected
