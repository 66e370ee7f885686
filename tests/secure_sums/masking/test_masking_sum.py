"""Masked sums as the contexts use them: exact, and with what they cost."""

import collections
import time

import hypothesis
import numpy as np
import pytest
import tensorflow_federated as tff
from hypothesis import strategies

from fedrec_tff.execution import exceptions, secure_sum
from fedrec_tff.secure_sums.masking import failures, masked_sum
from tests.execution import agreement


def _run(protocol, slots, values, num_clients, block=2):
    started = protocol.start(slots, num_clients)
    # In any order.
    order = np.arange(num_clients)[::-1]
    for begin in range(0, num_clients, block):
        positions = order[begin : begin + block]
        started.add([tensor[positions] for tensor in values], positions)
    return started.finish()


_LIMITS = strategies.sampled_from([1, 2, 3, 7, 255, 256, 1009, 2**20, 2**31 - 1, 2**33, 2**60 - 93])


@hypothesis.given(strategies.data())
@hypothesis.settings(deadline=None, max_examples=25)
def test_masked_sums_are_pythons_and_those_in_the_clear(data):
    num_clients = data.draw(strategies.integers(3, 7))
    kinds = data.draw(
        strategies.lists(strategies.tuples(strategies.booleans(), _LIMITS), min_size=1, max_size=4)
    )
    slots, values = [], []
    for is_modular, limit in kinds:
        bounds = (-(2**63), 2**63 - 1) if is_modular else (0, limit)
        limits = {"modulus": limit} if is_modular else {"max_input": limit}
        slots.append(secure_sum.SecureSumSlot((2,), **limits))
        numbers = strategies.one_of(strategies.integers(*bounds), strategies.sampled_from(bounds))
        rows = strategies.lists(numbers, min_size=2, max_size=2)
        values.append(np.array([data.draw(rows) for _ in range(num_clients)], np.int64))
    dropout = data.draw(strategies.sampled_from([0.0, 0.3]))
    sparse = data.draw(strategies.sampled_from([None, 4])) if not dropout else None
    protocol = masked_sum.MaskedSum(
        num_neighbours=sparse,
        simulated_dropout=dropout,
        signed_keys=data.draw(strategies.booleans()),
        num_threads=1,
    )
    found = _run(protocol, slots, values, num_clients)
    in_the_clear = _run(secure_sum.SumInTheClear(), slots, values, num_clients)
    for total, clear, tensor, slot in zip(found, in_the_clear, values, slots, strict=True):
        expected = tensor.astype(object).sum(axis=0)
        assert total.dtype == np.int64
        assert total.tolist() == (expected % (slot.modulus or 2**64)).tolist()
        assert total.tolist() == clear.tolist()


_SLOT = secure_sum.SecureSumSlot((10,), max_input=100)


def _ones(num_clients):
    return [np.ones((num_clients, 10), np.int64)]


@pytest.mark.parametrize("threads", [1, 3])
def test_parties_that_leave_are_taken_out_again(threads):
    protocol = masked_sum.MaskedSum(simulated_dropout=0.25, num_threads=threads)
    (found,) = _run(protocol, [_SLOT], _ones(12), 12, block=5)
    assert found.tolist() == [12] * 10
    # Sixteen parties: eleven shares are more than two thirds.
    assert (protocol.costs.num_clients, protocol.costs.num_dropped) == (12, 4)
    assert (protocol.costs.num_neighbours, protocol.costs.threshold) == (15, 11)


@pytest.mark.parametrize("signed", [False, True])
def test_costs_are_those_of_the_messages(signed):
    protocol, before = masked_sum.MaskedSum(signed_keys=signed), time.process_time()
    _run(protocol, [_SLOT], _ones(4), 4)
    costs, spent = protocol.costs, time.process_time() - before
    signature = 64 if signed else 0
    advertisement = 4 + 3 * (4 + 32) + 4 + signature
    # Numbers of sender and recipient, and two shares of 33 bytes with the cipher's tag.
    envelope = 4 + 4 + 4 + (2 * 33 + 16)
    # Four clients send 100 at most, 400 in all: ten numbers of two bytes.
    masked_input = 4 + 4 + 4 + 10 * 2
    revealed = 4 + 4 + 4 * (4 + 4 + 33) + 4
    announcement = (4 + 4 * 4) + 4
    confirmation = 4 + 4 + 64 if signed else 0
    upload = advertisement + 4 + 3 * envelope + masked_input + revealed + confirmation
    invitation = 4 + 16 + 4 + 4
    request = announcement + 4 + 3 * confirmation
    download = invitation + 4 + 3 * advertisement + 4 + 3 * envelope + request
    download += announcement if signed else 0
    assert costs.upload_bytes == upload
    assert costs.download_bytes == download
    phases = {"advertise", "share", "mask", "unmask"}
    assert set(costs.client_seconds) == set(costs.server_seconds) == phases
    assert min(costs.client_seconds.values()) > 0
    # All of it is this process's own; those of clients are means.
    told = 4 * sum(costs.client_seconds.values()) + sum(costs.server_seconds.values())
    assert told <= spent


def test_cohorts_of_nobody_and_sums_of_nothing_need_no_protocol():
    protocol = masked_sum.MaskedSum()
    (found,) = _run(protocol, [_SLOT], _ones(0), 0)
    assert found.tolist() == [0] * 10
    assert protocol.start([], 1).finish() == []
    assert protocol.costs is None


def test_the_sum_of_a_few_is_refused_unless_that_is_wanted():
    with pytest.raises(failures.TooFewClientsError, match="at least 3 are needed"):
        masked_sum.MaskedSum().start([_SLOT], 2)
    (found,) = _run(masked_sum.MaskedSum(min_clients=2), [_SLOT], _ones(2), 2)
    assert found.tolist() == [2] * 10
    with pytest.raises(ValueError, match="at least 2, not 1"):
        masked_sum.MaskedSum(min_clients=1)


def test_a_sum_without_some_clients_is_refused():
    started = masked_sum.MaskedSum().start([_SLOT], 9)
    started.add(_ones(8), np.arange(8))
    with pytest.raises(failures.MaskingError, match="of 9 clients ended with 8"):
        started.finish()


@pytest.mark.parametrize("positions", [[0, 0], [0, -1], [0, 4]])
def test_positions_that_are_not_in_the_cohort_or_come_twice(positions):
    started = masked_sum.MaskedSum(simulated_dropout=0.3).start([_SLOT], 4)
    with pytest.raises(failures.ProtocolError):
        started.add(_ones(2), np.array(positions))


def test_sums_that_do_not_fit_are_errors():
    slot = secure_sum.SecureSumSlot((), max_input=2**62 - 1)
    values = [np.array([2**62 - 1] * 2 + [1])]
    assert int(_run(masked_sum.MaskedSum(), [slot], values, 3)[0]) == 2**63 - 1
    with pytest.raises(exceptions.ExecutionError, match="does not fit int64"):
        _run(masked_sum.MaskedSum(), [slot], [values[0] + [0, 0, 1]], 3)
    with pytest.raises(exceptions.ExecutionError, match="choose a smaller maximum"):
        masked_sum.MaskedSum().start([slot], 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"simulated_dropout": 1 / 3},
        {"simulated_dropout": -0.1},
        {"num_threads": 0},
        {"min_clients": 0},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        masked_sum.MaskedSum(**wrong)


# In computations.

_STRUCTURE = collections.OrderedDict(large=tff.TensorType(np.int64, [2]), count=np.int32)
_FLOATS = tff.TensorType(np.float32, [3])


@pytest.fixture(scope="module")
def computation():
    process = tff.aggregators.SecureSumFactory(2.0, -2.0).create(_FLOATS)

    @tff.federated_computation(
        tff.FederatedType(_STRUCTURE, tff.CLIENTS), tff.FederatedType(_FLOATS, tff.CLIENTS)
    )
    def add(integers, floats):
        moduli = collections.OrderedDict(large=1009, count=2**20)
        state = process.initialize()
        return collections.OrderedDict(
            bounded=tff.federated_secure_sum(integers, 10**12),
            bits=tff.federated_secure_sum_bitwidth(integers, 41),
            modular=tff.backends.mapreduce.federated_secure_modular_sum(integers, moduli),
            floats=process.next(state, floats).result,
            plain=tff.federated_sum(integers),
        )

    return add


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_contexts_give_the_same_result_as_in_the_clear(computation, shards):
    rng = np.random.default_rng(3)
    integers = [
        collections.OrderedDict(large=rng.integers(0, 10**12, 2), count=int(rng.integers(0, 1000)))
        for _ in range(5)
    ]
    floats = [rng.normal(size=3).astype(np.float32) for _ in range(5)]
    protocol = masked_sum.MaskedSum(simulated_dropout=0.3)
    results = []
    for chosen in (None, protocol):
        with agreement.create_compiled(shards, secure_sum=chosen).install():
            results.append(computation(integers, floats))
    agreement.assert_same(results[1], results[0])
    large = sum(client["large"] for client in integers)
    assert results[1]["bounded"]["large"].tolist() == large.tolist()
    assert results[1]["modular"]["large"].tolist() == (large % 1009).tolist()
    np.testing.assert_allclose(results[1]["floats"], np.clip(np.sum(floats, 0), -10, 10), atol=1e-3)
    assert protocol.costs.num_dropped == 2
    with agreement.create_compiled(shards, secure_sum=protocol).install():
        agreement.assert_same(computation([], [])["bounded"]["count"], np.int32(0))
