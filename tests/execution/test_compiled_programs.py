"""What XLA compiled, from the first context of a process to the next."""

import gc

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, compiled_programs, devices

_CPU = devices.find_devices("cpu")[0]


@tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
def _add(clients):
    return tff.federated_sum(clients)


def _are_there():
    """Whether TensorFlow has compiled programs; what it has is dropped by asking."""
    with tf.device(_CPU):
        try:
            tf.raw_ops.DestroyResourceOp(
                resource=compiled_programs.find(), ignore_lookup_error=False
            )
        except tf.errors.NotFoundError:
            return False
    return True


@pytest.fixture(autouse=True)
def _nobody_else(monkeypatch):
    monkeypatch.setattr(compiled_programs, "_users", type(compiled_programs._users)())


def _create_context():
    return compiled.CompiledContext(compiled.CompiledOptions(num_parallel_shards=1))


def test_programs_are_dropped_once_all_who_used_them_are_gone():
    first, second = _create_context(), _create_context()
    with first.install():
        assert _add([1.0, 2.0]) == 3.0
    assert _are_there()

    with second.install():
        assert _add([1.0, 2.0]) == 3.0
    del first
    gc.collect()
    third = _create_context()
    assert _are_there()

    with third.install():
        # Dropped or not, a context compiles what it needs.
        assert _add([1.0, 4.0]) == 5.0
    del second, third
    gc.collect()
    fourth = _create_context()
    assert not _are_there()
    with fourth.install():
        assert _add([2.0, 4.0]) == 6.0


def test_dropping_nothing_is_no_mistake():
    compiled_programs.drop(_CPU)
    compiled_programs.drop(_CPU)
    assert not _are_there()
