"""Secure sums: what the slots ask for, in the clear and through somebody else's protocol."""

import collections
import threading

import agreement
import hypothesis
import numpy as np
import pytest
import tensorflow_federated as tff
from hypothesis import strategies

from fedrec_tff.execution import compiled, debug, exceptions, secure_sum

_INT32_MAX = 2**31 - 1
_PRIME = _INT32_MAX  # A Mersenne prime, and the largest modulus of an int32.
_MAX_INPUT = 2**62 - 1


def _at_clients(type_spec):
    return tff.FederatedType(type_spec, tff.CLIENTS)


# The sum in the clear against Python's own integers.


@hypothesis.given(strategies.data())
@hypothesis.settings(deadline=None, max_examples=50)
def test_sums_in_the_clear_are_pythons(data):
    num_clients = data.draw(strategies.integers(0, 6))
    modulus = data.draw(strategies.integers(1, _MAX_INPUT))
    # Few enough clients for the largest sum to fit an int64.
    max_input = (2**63 - 1) // max(num_clients, 1)
    bounded = strategies.lists(
        strategies.integers(0, min(max_input, _MAX_INPUT)), min_size=2, max_size=2
    )
    wild = strategies.integers(-(2**63), 2**63 - 1)
    plain = [data.draw(bounded) for _ in range(num_clients)]
    modular = [data.draw(wild) for _ in range(num_clients)]
    slots = (
        secure_sum.SecureSumSlot((2,), max_input=_MAX_INPUT),
        secure_sum.SecureSumSlot((), modulus=modulus),
    )
    sums = secure_sum.SumInTheClear().start(slots, num_clients)
    split = data.draw(strategies.integers(0, num_clients))
    for rows in (slice(0, split), slice(split, num_clients)):
        values = [np.array(plain[rows], np.int64).reshape(-1, 2), np.array(modular[rows], np.int64)]
        secure_sum.check_bounds(slots, values, np.arange(num_clients)[rows])
        sums.add(values, np.arange(num_clients)[rows])
    total, reduced = sums.finish()
    assert total.tolist() == [sum(client[i] for client in plain) for i in range(2)]
    assert int(reduced) == sum(modular) % modulus


@hypothesis.given(
    strategies.lists(strategies.integers(-3, 12), min_size=1, max_size=8), strategies.integers(0, 9)
)
def test_the_first_client_out_of_bounds_is_named(values, max_input):
    slots = (secure_sum.SecureSumSlot((1,), max_input=max_input),)
    array = np.array(values, np.int64)[:, np.newaxis]
    positions = np.arange(len(values)) + 100
    invalid = [p for p, v in zip(positions, values, strict=True) if not 0 <= v <= max_input]
    if not invalid:
        secure_sum.check_bounds(slots, [array], positions)
        return
    with pytest.raises(exceptions.ExecutionError, match=f"client {invalid[0]} of the cohort"):
        secure_sum.check_bounds(slots, [array], positions)


# In computations.

_STRUCTURE = collections.OrderedDict(large=tff.TensorType(np.int64, [2]), count=np.int32)


@tff.federated_computation(_at_clients(_STRUCTURE))
def _sum_securely(clients):
    bounds = collections.OrderedDict(large=10**12, count=1000)
    moduli = collections.OrderedDict(large=1009, count=7)
    return collections.OrderedDict(
        shared_bound=tff.federated_secure_sum(clients, 10**12),
        another_shared_bound=tff.federated_secure_sum(clients, 10**13),
        own_bounds=tff.federated_secure_sum(clients, bounds),
        bits=tff.federated_secure_sum_bitwidth(clients, 40),
        own_moduli=tff.backends.mapreduce.federated_secure_modular_sum(clients, moduli),
        plain=tff.federated_sum(clients),
    )


_CLIENTS = [
    collections.OrderedDict(large=np.array([10**12, k]), count=1000 - k) for k in (0, 7, 500, 3, 8)
]


@pytest.mark.parametrize("num_clients", [0, 1, 5])
def test_every_kind_of_secure_sum(context, num_clients):
    clients = _CLIENTS[:num_clients]
    large = [sum(int(c["large"][i]) for c in clients) for i in range(2)]
    count = sum(c["count"] for c in clients)
    with context.install():
        result = _sum_securely(clients)
    for kind in ("shared_bound", "another_shared_bound", "own_bounds", "bits", "plain"):
        assert result[kind]["large"].tolist() == large, kind
        assert result[kind]["count"] == count, kind
    assert result["own_moduli"]["large"].tolist() == [value % 1009 for value in large]
    assert result["own_moduli"]["count"] == count % 7
    assert result["bits"]["large"].dtype == np.int64
    assert result["bits"]["count"].dtype == np.int32


def test_secure_sums_agree_with_tffs_test_backend(native, contexts):
    @tff.federated_computation(_at_clients(np.int32))
    def add(clients):
        return (
            tff.federated_secure_sum(clients, 100),
            tff.federated_secure_sum_bitwidth(clients, 5),
            tff.backends.mapreduce.federated_secure_modular_sum(clients, 11),
        )

    arguments = ([3, 31, 0, 8, 30],)
    expected = agreement.sums_in_the_clear(add)(*arguments)
    for name, context in contexts.items():
        with context.install():
            agreement.assert_same(add(*arguments), expected, where=name)


@tff.federated_computation(_at_clients(np.int32))
def _sum_modulo_prime(clients):
    return tff.backends.mapreduce.federated_secure_modular_sum(clients, _PRIME)


@pytest.mark.parametrize(
    "values", [[_PRIME - 1] * 5, [_PRIME - 1, 5, _PRIME - 2], [-1, -2, 1], [_INT32_MAX, 3]]
)
def test_modular_sums_that_pass_the_modulus_and_int32(context, values):
    with context.install():
        assert _sum_modulo_prime(values) == sum(values) % _PRIME


def test_a_modular_sum_that_would_pass_int64(context):
    modulus = 2**62 - 57

    @tff.federated_computation(_at_clients(np.int64))
    def add(clients):
        return tff.backends.mapreduce.federated_secure_modular_sum(clients, modulus)

    values = [modulus - 1, modulus - 2, modulus - 3, modulus - 4, modulus - 5]
    with context.install():
        assert add(values) == modulus - 15


@tff.federated_computation(_at_clients(np.int32))
def _sum_int32(clients):
    return tff.federated_secure_sum(clients, _INT32_MAX)


@tff.federated_computation(_at_clients(np.int64))
def _sum_int64(clients):
    return tff.federated_secure_sum_bitwidth(clients, 62)


def test_a_sum_that_just_fits(context):
    with context.install():
        assert _sum_int32([_INT32_MAX - 1, 1]) == _INT32_MAX
        assert _sum_int64([_MAX_INPUT, _MAX_INPUT, 1]) == 2**63 - 1


@pytest.mark.parametrize(
    ("computation", "values"),
    [(_sum_int32, [_INT32_MAX, 1]), (_sum_int64, [_MAX_INPUT, _MAX_INPUT, 2])],
    ids=["int32", "int64"],
)
def test_a_sum_that_does_not_fit_is_an_error(context, computation, values):
    with (
        context.install(),
        pytest.raises(exceptions.ExecutionError, match="a secure sum does not fit int"),
    ):
        computation(values)


@pytest.mark.parametrize("value", [-1, 2**31])
def test_an_input_out_of_bounds_names_the_client(context, value):
    @tff.federated_computation(_at_clients(np.int64))
    def add(clients):
        return tff.federated_secure_sum(clients, _INT32_MAX)

    values = [1, 2, 3, value, 4, value]
    with context.install():
        with pytest.raises(exceptions.ExecutionError, match=r"client 3 of the cohort") as caught:
            add(values)
        assert str(value) not in str(caught.value)
        # The next round is not spoilt.
        assert add([1, 2]) == 3


# Somebody else's protocol.


class MaskingSum:
    """Adds to each client's integers a mask; the masks of a cohort cancel."""

    def __init__(self):
        self.rounds = []

    def start(self, slots, num_clients):
        self.rounds.append(MaskingRound(slots, num_clients))
        return self.rounds[-1]


class MaskingRound:
    """One cohort; everything modulo 2**64, or the slot's own modulus."""

    def __init__(self, slots, num_clients):
        rng = np.random.default_rng(1)
        self.slots = slots
        self.received = {}
        self.num_clients = num_clients
        self._moduli = [slot.modulus or 2**64 for slot in slots]
        self._masks = []
        for slot, modulus in zip(slots, self._moduli, strict=True):
            masks = rng.integers(0, 2**63, (num_clients, *slot.shape)).astype(object) % modulus
            if num_clients:
                masks[-1] = -masks[:-1].sum(axis=0) % modulus
            self._masks.append(masks)
        self._sums = [np.zeros(slot.shape, object) for slot in slots]

    def add(self, values, positions):
        assert len(values) == len(self.slots)
        for row, position in enumerate(positions):
            assert position not in self.received
            self.received[int(position)] = [tensor[row].tolist() for tensor in values]
        for index, (tensor, modulus) in enumerate(zip(values, self._moduli, strict=True)):
            assert tensor.dtype == np.int64
            assert tensor.shape == (len(positions), *self.slots[index].shape)
            masked = (tensor.astype(object) + self._masks[index][positions]) % modulus
            self._sums[index] = (self._sums[index] + masked.sum(axis=0)) % modulus

    def finish(self):
        return [np.array(total, np.int64) for total in self._sums]


def _create(name, protocol):
    return agreement.create_contexts(secure_sum=protocol)[name]


@pytest.mark.parametrize("name", ["one shard", "two shards", "debug"])
@pytest.mark.parametrize("num_clients", [0, 5])
def test_a_protocol_sees_each_client_once_and_gives_the_same_result(contexts, name, num_clients):
    clients = _CLIENTS[:num_clients]
    with contexts[name].install():
        expected = _sum_securely(clients)
    protocol = MaskingSum()
    with _create(name, protocol).install():
        found = [_sum_securely(clients) for _ in range(2)]
    for result in found:
        agreement.assert_same(result, expected)
    assert len(protocol.rounds) == 2
    for used in protocol.rounds:
        assert used.num_clients == num_clients
        assert sorted(used.received) == list(range(num_clients))
        # Two leaves in each of five sums.
        assert len(used.slots) == 10
        for position, client in enumerate(clients):
            large, count = client["large"].tolist(), client["count"]
            modular = [[value % 1009 for value in large], count % 7]
            for slot, value in zip(used.slots, used.received[position], strict=True):
                assert value in ([large, count] if slot.modulus is None else modular)


def test_the_slots_say_what_may_be_sent():
    protocol = MaskingSum()
    with debug.DebugContext(secure_sum=protocol).install():
        _sum_securely(_CLIENTS)
    (used,) = protocol.rounds
    limits = {(slot.shape, slot.max_input, slot.modulus) for slot in used.slots}
    assert limits == {
        ((2,), 10**12, None),
        ((), 10**12, None),
        ((2,), 10**13, None),
        ((), 10**13, None),
        ((), 1000, None),
        ((2,), 2**40 - 1, None),
        ((), 2**40 - 1, None),
        ((2,), None, 1009),
        ((), None, 7),
    }


def test_sums_of_single_tensors_keep_their_own_limits():
    @tff.federated_computation(_at_clients(np.int32))
    def add(clients):
        return [tff.federated_secure_sum(clients, bound) for bound in (7, 100, 20)]

    protocol = MaskingSum()
    with debug.DebugContext(secure_sum=protocol).install():
        assert add([1, 2]) == [3, 3, 3]
        with pytest.raises(exceptions.ExecutionError, match="client 1 of the cohort"):
            add([1, 8])
    assert [slot.max_input for slot in protocol.rounds[0].slots] == [7, 100, 20]


@pytest.mark.parametrize("name", ["one shard", "two shards", "debug"])
def test_a_protocol_is_never_given_what_is_out_of_bounds(name):
    protocol = MaskingSum()
    with (
        _create(name, protocol).install(),
        pytest.raises(exceptions.ExecutionError, match="client 2 of the cohort"),
    ):
        _sum_int32([1, 2, -3, 4])
    assert all(value >= 0 for used in protocol.rounds for (value,) in used.received.values())


class FailingSum(MaskingSum):
    """Fails when it is asked to `start`, to `add` or to `finish`."""

    def __init__(self, where):
        super().__init__()
        self._where = where

    def start(self, slots, num_clients):
        started = super().start(slots, num_clients)
        if self._where == "start":
            self._fail()
        setattr(started, self._where, self._fail)
        return started

    def _fail(self, *arguments):
        raise ValueError("the helper does not answer")


@pytest.mark.parametrize("where", ["start", "add", "finish"])
def test_a_protocol_that_fails_is_neither_hidden_nor_started_again(caplog, where):
    protocol = FailingSum(where)
    context = agreement.create_compiled(2, secure_sum=protocol)
    with context.install(), pytest.raises(ValueError, match="the helper does not answer"):
        _sum_int32([1, 2, 3])
    assert len(protocol.rounds) == 1
    assert not agreement.warnings_of(caplog)


class SlowSum(MaskingSum):
    """Its first round's second shard waits, after a block, for the next round to be there."""

    def __init__(self):
        super().__init__()
        self.next_round, self.is_over = threading.Event(), threading.Event()

    def start(self, slots, num_clients):
        self.rounds.append(SlowRound(slots, num_clients, self, not self.rounds))
        return self.rounds[-1]


class SlowRound(MaskingRound):
    def __init__(self, slots, num_clients, protocol, is_first):
        super().__init__(slots, num_clients)
        self._protocol, self._is_first = protocol, is_first

    def add(self, values, positions):
        is_new = not any(position >= 4 for position in self.received)
        super().add(values, positions)
        if positions[0] < 4:
            return
        if self._is_first:
            if is_new:
                self._protocol.next_round.wait(1.0)
            else:
                self._protocol.is_over.set()
        elif is_new:
            self._protocol.next_round.set()
            self._protocol.is_over.wait(3.0)


def test_a_round_that_failed_does_not_run_on_into_the_next():
    @tff.federated_computation(_at_clients(np.int32))
    def add(clients):
        return tff.federated_secure_sum(clients, 1000), tff.federated_sum(clients)

    # Two shards of two blocks; the first shard fails at once.
    with agreement.create_compiled(2, secure_sum=SlowSum()).install():
        with pytest.raises(exceptions.ExecutionError, match="client 0 of the cohort"):
            add([-1, 1, 1, 1, 100, 100, 100, 100])
        assert add([1] * 8) == (8, 8)


class EmptySum(MaskingSum):
    def __len__(self):
        return 0


@pytest.mark.parametrize("name", ["one shard", "debug"])
def test_a_protocol_that_has_a_length_is_used_too(name):
    protocol = EmptySum()
    with _create(name, protocol).install():
        assert _sum_int32([1, 2, 3]) == 6
    assert len(protocol.rounds) == 1


def test_a_vectorised_step_with_a_protocol(caplog):
    protocol = MaskingSum()
    options = compiled.CompiledOptions(
        clients_per_block=4, clients_per_step=2, num_parallel_shards=1, secure_sum=protocol
    )
    with compiled.CompiledContext(options).install():
        result = _sum_securely(_CLIENTS)
    assert result["plain"]["count"] == result["bits"]["count"]
    assert sorted(protocol.rounds[0].received) == list(range(5))
    assert not agreement.warnings_of(caplog)
