"""TFF's secure aggregators, unmodified, on encrypted sums."""

import collections

import numpy as np
import pytest
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions
from fedrec_tff.secure_sums.encryption import encrypted_sum
from tests.execution import agreement

_VALUE = tff.to_type(
    collections.OrderedDict(w=tff.TensorType(np.float32, [4]), b=tff.TensorType(np.float32))
)
_NUM_CLIENTS = 5
# A compiled context and the uncompiled one; each scheme.
_CASES = [("two shards", "bfv"), ("debug", "ckks")]


def _create_values(num_clients=_NUM_CLIENTS):
    rng = np.random.default_rng(0)
    return [
        collections.OrderedDict(w=rng.normal(size=4).astype(np.float32), b=np.float32(rng.normal()))
        for _ in range(num_clients)
    ]


def _run(process, *arguments):
    state, outputs = process.initialize(), []
    for _ in range(2):
        outputs.append(process.next(state, *arguments))
        state = outputs[-1].state
    return outputs


@pytest.mark.slow
def test_the_secure_aggregator_gives_the_same_bits_as_in_the_clear(contexts):
    """Two rounds of it, so that its estimated bounds are those of encrypted sums too."""
    process = tff.learning.secure_aggregator().create(_VALUE, tff.to_type(np.float32))
    arguments = _create_values(), [np.float32(k) for k in range(1, _NUM_CLIENTS + 1)]
    with contexts["two shards"].install():
        expected = _run(process, *arguments)
    protocol = encrypted_sum.EncryptedSum()
    with agreement.create_compiled(2, secure_sum=protocol).install():
        found = _run(process, *arguments)
    agreement.assert_same(found, expected)
    assert protocol.costs.num_clients == _NUM_CLIENTS


def test_the_secure_sum_factory_sums():
    """In 32 bits of the values between -4 and 4: half a step each, and float32."""
    process = tff.aggregators.SecureSumFactory(4.0, -4.0).create(_VALUE)
    protocol = encrypted_sum.EncryptedSum("ckks")
    with agreement.create_contexts(secure_sum=protocol)["debug"].install():
        found = process.next(process.initialize(), _create_values()).result
    for name in ("w", "b"):
        expected = np.sum([value[name].astype(np.float64) for value in _create_values()], axis=0)
        np.testing.assert_allclose(found[name], expected, atol=2e-6)
    assert protocol.costs.num_clients == _NUM_CLIENTS


@pytest.mark.parametrize(("context", "scheme"), _CASES)
def test_cohorts_of_one_are_refused_and_empty_ones_are_not(context, scheme):
    @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
    def add(clients):
        modular = tff.backends.mapreduce.federated_secure_modular_sum(clients, 11)
        return tff.federated_secure_sum(clients, 100), modular, tff.federated_sum(clients)

    protocol = encrypted_sum.EncryptedSum(scheme)
    with agreement.create_contexts(secure_sum=protocol)[context].install():
        assert add([]) == (0, 0, 0)
        with pytest.raises(exceptions.ExecutionError, match=r"1 clients.*min_clients"):
            add([7])
        assert add([7, 100, 3]) == (110, 0, 110)
