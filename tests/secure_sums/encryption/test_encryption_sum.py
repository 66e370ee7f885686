"""Encrypted sums: exact, unreadable for the server, and stopped by whatever is not in order."""

import math
import time

import hypothesis
import numpy as np
import pytest
import tenseal
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import strategies

from fedrec_tff.execution import exceptions, secure_sum
from fedrec_tff.secure_sums.encryption import (
    bfv,
    ckks,
    client,
    decryptor,
    encrypted_sum,
    failures,
    messages,
    packing,
    schemes,
    server,
)

_MAX_INPUT = 2**62 - 1
_SCHEMES = {"bfv": bfv.BFV(), "ckks": ckks.CKKS()}
_COEFFICIENT_BYTES = 8 * 2 * schemes.DEGREE


@pytest.fixture(params=sorted(_SCHEMES))
def scheme(request):
    return _SCHEMES[request.param]


# Digits, without encryption.


@hypothesis.given(strategies.data())
@hypothesis.settings(deadline=None, max_examples=60)
def test_digits_add_up_to_pythons_sums(data):
    num_clients = data.draw(strategies.integers(1, 9))
    capacity = data.draw(strategies.integers(2 * num_clients, 2**46))
    max_input = data.draw(strategies.integers(0, min(_MAX_INPUT, (2**63 - 1) // num_clients)))
    modulus = data.draw(strategies.integers(1, _MAX_INPUT))
    slots = (
        secure_sum.SecureSumSlot((2, 3), max_input=max_input),
        secure_sum.SecureSumSlot((4,), modulus=modulus),
    )
    seed = data.draw(strategies.integers(0, 1000))
    rng = np.random.default_rng(seed)
    plain = rng.integers(0, max_input, (num_clients, 2, 3), endpoint=True)
    plain[:, 0, 0] = max_input
    modular = rng.integers(-(2**63), 2**63 - 1, (num_clients, 4))
    plan = packing.create_packing(slots, num_clients, capacity, num_columns=5)
    rows = sum(plan.pack(client_values) for client_values in zip(plain, modular, strict=True))
    assert rows.shape == (plan.num_rows, 5)
    assert 0 <= rows.min() <= rows.max() < max(capacity, num_clients + 1)
    found_clients, (total, reduced) = plan.unpack(rows)
    assert found_clients == num_clients
    assert total.tolist() == plain.astype(object).sum(axis=0).tolist()
    assert reduced.tolist() == (modular.astype(object).sum(axis=0) % modulus).tolist()


def test_small_numbers_share_digits():
    """A hundred clients' 3 bits add up to 700: three such numbers are below 701**3 < 2**30."""
    slots = (secure_sum.SecureSumSlot((3_000,), max_input=7),)
    plan = packing.create_packing(slots, 100, 2**30, num_columns=101)
    assert plan.num_rows == 10
    # One client's bits: thirty of them.
    slots = (secure_sum.SecureSumSlot((3_000,), max_input=1),)
    assert packing.create_packing(slots, 1, 2**30, num_columns=101).num_rows == 1


# Sums.

_SLOTS = (
    secure_sum.SecureSumSlot((7, 3), max_input=2**20 - 1),
    secure_sum.SecureSumSlot((), max_input=1),
    secure_sum.SecureSumSlot((3,), max_input=_MAX_INPUT),
    secure_sum.SecureSumSlot((4,), modulus=1009),
    secure_sum.SecureSumSlot((2,), modulus=2**61 - 1),
    secure_sum.SecureSumSlot((0,), max_input=5),
)
_NUM_CLIENTS = 5


def _create_values(seed=0):
    rng = np.random.default_rng(seed)
    large = rng.integers(0, 2**60, (_NUM_CLIENTS, 3))
    # The largest sum of an int64, of which one term is as large as it may be.
    large[:, 0] = [_MAX_INPUT, _MAX_INPUT, 0, 1, 0]
    return [
        rng.integers(0, 2**20, (_NUM_CLIENTS, 7, 3)),
        rng.integers(0, 2, _NUM_CLIENTS),
        large,
        rng.integers(-5_000, 5_000, (_NUM_CLIENTS, 4)),
        rng.integers(-(2**63), 2**63 - 1, (_NUM_CLIENTS, 2)),
        np.zeros((_NUM_CLIENTS, 0), np.int64),
    ]


def _sum_exactly(values):
    totals = []
    for slot, tensor in zip(_SLOTS, values, strict=True):
        total = tensor.astype(object).sum(axis=0)
        totals.append(total if slot.modulus is None else total % slot.modulus)
    return totals


def test_sums_are_pythons(scheme):
    protocol = encrypted_sum.EncryptedSum(scheme.name)
    for seed in (0, 1):
        values = _create_values(seed)
        started = protocol.start(_SLOTS, _NUM_CLIENTS)
        for rows in (slice(0, 2), slice(2, _NUM_CLIENTS)):
            started.add([tensor[rows] for tensor in values], np.arange(_NUM_CLIENTS)[rows])
        for slot, found, expected in zip(
            _SLOTS, started.finish(), _sum_exactly(values), strict=True
        ):
            assert found.dtype == np.int64
            assert found.shape == slot.shape
            assert np.array_equal(found, expected), slot


def test_sums_of_the_largest_integers_of_many_clients(scheme):
    """Every digit as large as its plan allows, in more clients than noise may not bear."""
    num_clients, size = 100, 2_500
    slots = (secure_sum.SecureSumSlot((size,), max_input=2**20 - 1),)
    values = [np.full((num_clients, size), 2**20 - 1)]
    started = encrypted_sum.EncryptedSum(scheme.name).start(slots, num_clients)
    started.add(values, np.arange(num_clients))
    (found,) = started.finish()
    assert np.array_equal(found, np.full(size, num_clients * (2**20 - 1)))


def test_a_sum_that_does_not_fit_is_an_error(scheme):
    slots = (secure_sum.SecureSumSlot((), max_input=_MAX_INPUT),)
    started = encrypted_sum.EncryptedSum(scheme.name).start(slots, 3)
    started.add([np.full(3, _MAX_INPUT)], np.arange(3))
    with pytest.raises(exceptions.ExecutionError, match="does not fit int64"):
        started.finish()


def test_a_sum_with_too_much_noise_is_refused(scheme):
    """Zeros, doubled until noise is larger than the room that two clients leave for it."""
    context = scheme.create_keys(2)
    total = scheme.encrypt(context, np.zeros(scheme.num_columns, np.int64))
    assert not scheme.decrypt(context, total.copy(), 2).any()
    for _ in range({"bfv": 10, "ckks": 16}[scheme.name]):
        total.add_(total.copy())
    with pytest.raises(failures.PrecisionError):
        scheme.decrypt(context, total, 2)


def test_integers_have_all_the_bits_that_the_noise_of_a_cohort_leaves():
    """By the bounds that the schemes' classes state, written out."""
    degree = schemes.DEGREE
    for scheme in _SCHEMES.values():
        parameters = scheme.create_keys(2).seal_context().data.first_context_data().parms()
        [modulus] = (prime.value() for prime in parameters.coeff_modulus())
        assert schemes.MIN_MODULUS <= modulus < 2**60
    ckks_noise = math.sqrt(degree / 3) * (3 + 8 * math.sqrt(degree)) + degree / 2
    # Of CKKS the noise decides in large cohorts, in small ones float64.
    for num_clients in (*range(1, 40), *range(100, 2_000, 50)):
        bfv_bits = 0
        while 2 * 2 ** (bfv_bits + 1) * num_clients * (degree // 2 + 2) <= schemes.MIN_MODULUS:
            bfv_bits += 1
        capacity = _SCHEMES["bfv"].capacity(num_clients)
        assert capacity.bit_length() == bfv_bits
        # A prime with room for batches.
        assert capacity % (2 * degree) == 1
        errors = {
            bits: num_clients * ckks_noise / 2 ** (ckks._SCALED_BITS - bits)
            + 16 * degree * 2.0 ** (bits - 52)
            for bits in range(50)
        }
        ckks_bits = max(bits for bits, error in errors.items() if error <= 0.25)
        assert _SCHEMES["ckks"].capacity(num_clients) == 2**ckks_bits


def test_cohorts_that_are_too_large_are_refused(scheme):
    slots = (secure_sum.SecureSumSlot((), max_input=1),)
    with pytest.raises(failures.EncryptionError, match="choose a smaller cohort"):
        encrypted_sum.EncryptedSum(scheme.name).start(slots, 2**36)


def test_parameters_below_128_bits_of_security_are_refused(scheme, monkeypatch):
    monkeypatch.setattr(schemes, "PRIME_BITS", (60, 50))
    with pytest.raises(ValueError, match="parameters"):
        scheme.create_keys(2)


def test_nobody_and_nothing_to_sum():
    protocol = encrypted_sum.EncryptedSum()
    found = protocol.start(_SLOTS, 0).finish()
    assert [tensor.shape for tensor in found] == [slot.shape for slot in _SLOTS]
    assert not any(tensor.any() for tensor in found)
    assert protocol.start((), 7).finish() == []
    assert protocol.costs is None


@pytest.mark.parametrize(("scheme_name", "min_clients"), [("rsa", 2), ("bfv", 1)])
def test_wrong_arguments(scheme_name, min_clients):
    with pytest.raises(ValueError, match=r"scheme must be|min_clients must be"):
        encrypted_sum.EncryptedSum(scheme_name, min_clients)


def test_nobody_is_alone_in_a_sum_unless_more_are_asked_for():
    protocol = encrypted_sum.EncryptedSum()
    protocol.start(_SLOTS, 2)
    with pytest.raises(failures.TooFewClientsError, match="at least 2"):
        protocol.start(_SLOTS, 1)


def test_too_few_clients():
    protocol = encrypted_sum.EncryptedSum(min_clients=3)
    with pytest.raises(failures.TooFewClientsError, match=r"2 clients.*at least 3"):
        protocol.start(_SLOTS, 2)
    # Three were to come, two came.
    started = protocol.start(_SLOTS, 3)
    started.add([tensor[:2] for tensor in _create_values()], np.arange(2))
    with pytest.raises(failures.TooFewClientsError, match=r"1 of the 3 clients"):
        started.finish()
    with pytest.raises(failures.TooFewClientsError, match=r"3 of the 3 clients"):
        protocol.start(_SLOTS, 3).finish()


def test_costs_are_those_of_the_messages():
    before = time.process_time()
    protocol = encrypted_sum.EncryptedSum()
    started = protocol.start(_SLOTS, _NUM_CLIENTS)
    received, receive = [], started.server.receive
    started.server.receive = lambda message: (received.append(message), receive(message))
    started.add(_create_values(), np.arange(_NUM_CLIENTS))
    assert protocol.costs is None
    started.finish()
    found = protocol.costs
    assert found.num_clients == _NUM_CLIENTS == len(received)
    assert found.num_ciphertexts == 1
    # Two polynomials of 8 bytes a coefficient, and 8 for each length and position, 64 to sign.
    assert found.upload_bytes == len(received[0].ciphertexts[0]) + 8 + 8 + 64
    assert _COEFFICIENT_BYTES < found.sum_bytes < _COEFFICIENT_BYTES + 500
    assert found.download_bytes == len(started.decryptor.public_context)
    parties = (found.client_seconds, found.server_seconds, found.decryptor_seconds)
    spent = [value for seconds in parties for value in seconds.values()]
    assert min(spent) > 0
    # All of it is this process's own.
    assert sum(spent) <= time.process_time() - before


# The parties, by hand.

_ROUND = b"this round"
_SLOT = secure_sum.SecureSumSlot((6_000,), max_input=2**30)


class _Parties:
    """A decryptor, a server, three clients."""

    def __init__(self, scheme):
        self.scheme = scheme
        self.plan = packing.create_packing([_SLOT], 3, scheme.capacity(3), scheme.num_columns)
        self.decryptor = decryptor.Decryptor(scheme, self.plan, min_clients=2)
        self.keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(3)]
        directory = {index: key.public_key() for index, key in enumerate(self.keys)}
        self.server = server.Server(
            scheme, self.decryptor.public_context, self.plan.num_rows, _ROUND, directory
        )
        rng = np.random.default_rng(3)
        self.values = rng.integers(0, 2**30, (3, *_SLOT.shape), endpoint=True)

    def send(self, position, round_id=_ROUND):
        context = schemes.load_context(self.decryptor.public_context)
        key = self.keys[position]
        sender = client.Client(self.scheme, self.plan, context, round_id, position, key)
        return sender.encrypt([self.values[position]])

    def sign(self, position, ciphertexts):
        return messages.sign(self.keys[position], _ROUND, position, ciphertexts)


def test_the_server_holds_no_secret_and_cannot_open_a_message(scheme):
    parties = _Parties(scheme)
    message = parties.send(0)
    parties.server.receive(message)
    held = vars(parties.server).values()
    assert not any(isinstance(value, decryptor.Decryptor) for value in held)
    contexts = [value for value in held if isinstance(value, tenseal.Context)]
    assert contexts == [parties.server.context]
    assert not contexts[0].is_private()
    assert not contexts[0].has_secret_key()
    # TenSEAL's `make_context_public` would leave this in place.
    with pytest.raises(ValueError, match="decryption"):
        contexts[0].decryptor()
    vector = schemes.load_vector(scheme, contexts[0], message.ciphertexts[0], "client 0")
    with pytest.raises(ValueError, match="secret_key"):
        vector.decrypt()


def test_what_the_server_is_sent_looks_uniform_and_holds_no_integers():
    """Also where all clients send the same: the words of ciphertexts are spread evenly."""
    parties = _Parties(_SCHEMES["bfv"])
    parties.values[:] = parties.values[0]
    transcript = [parties.send(position) for position in (0, 1)]
    for number in parties.values[0][:50]:
        # Four bytes of a random integer appear in a megabyte once in 4,000 times by chance; eight
        # do not.
        pattern = int(number).to_bytes(8, "little")
        assert not any(pattern in data for m in transcript for data in m.ciphertexts)
    words = [
        np.frombuffer(data[-_COEFFICIENT_BYTES:], "<u8")
        for message in transcript
        for data in message.ciphertexts
    ]
    uniform = np.concatenate(words) / 2.0**60
    assert uniform.max() < 1
    # Six standard deviations: of the mean, of 64 counts, and of a correlation.
    assert abs(uniform.mean() - 0.5) < 6 * np.sqrt(1 / 12 / uniform.size)
    counts = np.histogram(uniform, 64, (0, 1))[0]
    assert np.abs(counts - uniform.size / 64).max() < 6 * np.sqrt(uniform.size / 64)
    first, second = words[0].astype(float), words[len(words) // 2].astype(float)
    assert abs(np.corrcoef(first, second)[0, 1]) < 6 / np.sqrt(first.size)


def test_equal_integers_have_different_ciphertexts(scheme):
    parties = _Parties(scheme)
    first, second = parties.send(0), parties.send(0)
    for data, other in zip(first.ciphertexts, second.ciphertexts, strict=True):
        words = np.frombuffer(data[-_COEFFICIENT_BYTES + 100 :], np.uint8)
        others = np.frombuffer(other[-_COEFFICIENT_BYTES + 100 :], np.uint8)
        # The highest byte of eight has four bits that vary, the seven others eight.
        assert np.mean(words == others) < 0.05


def _flip_a_bit(data, index):
    changed = bytearray(data)
    changed[index] ^= 1
    return bytes(changed)


def test_a_changed_message_is_noticed_and_named(scheme):
    parties = _Parties(scheme)
    message = parties.send(1)
    for index in (0, 200, len(message.ciphertexts[-1]) - 9):
        ciphertexts = [*message.ciphertexts[:-1], _flip_a_bit(message.ciphertexts[-1], index)]
        changed = messages.ClientMessage(1, tuple(ciphertexts), message.signature)
        with pytest.raises(failures.TamperedMessageError, match="client 1 of the cohort"):
            parties.server.receive(changed)
    swapped = messages.ClientMessage(1, message.ciphertexts[::-1], message.signature)
    stolen = messages.ClientMessage(2, message.ciphertexts, message.signature)
    repeated = parties.send(1, round_id=b"the round before")
    for other in (swapped, stolen, repeated):
        with pytest.raises(failures.TamperedMessageError, match=f"client {other.position} of"):
            parties.server.receive(other)
    # Nothing of these was added.
    for position in range(3):
        parties.server.receive(message if position == 1 else parties.send(position))
    (found,) = parties.decryptor.decrypt(parties.server.finish())
    assert np.array_equal(found, parties.values.sum(axis=0))


def _create_misfits(parties):
    """Sound ciphertexts that are not a row of this round; nobody else is to be blamed for them."""
    context = parties.server.context
    if parties.scheme.name == "bfv":
        # One number would be added to all of a row.
        return [tenseal.bfv_vector(context, [1]).serialize()]
    row = [1.0] * parties.scheme.num_columns
    vectors = [tenseal.ckks_vector(context, [1.0]), tenseal.ckks_vector(context, row, 2.0**20)]
    return [vector.serialize() for vector in vectors]


def test_what_is_no_ciphertext_is_noticed_and_named(scheme):
    parties = _Parties(scheme)
    parties.server.receive(parties.send(0))
    good = parties.send(1).ciphertexts
    with pytest.raises(failures.MalformedMessageError, match=r"client 0 of .* second message"):
        parties.server.receive(parties.send(0))
    with pytest.raises(failures.MalformedMessageError, match=r"client 9 of .* not in this round"):
        parties.server.receive(messages.ClientMessage(9, good, b""))
    with pytest.raises(failures.MalformedMessageError, match=r"client 1 of .* ciphertexts, not"):
        parties.server.receive(parties.sign(1, good[1:]))
    for data in (b"", b"garbage", good[0][:1000], good[0][:-100], *_create_misfits(parties)):
        with pytest.raises(failures.MalformedMessageError, match=r"client 1 of .* no ciphertext"):
            parties.server.receive(parties.sign(1, [data, *good[1:]]))
    parties.server.receive(parties.sign(1, good))
    (found,) = parties.decryptor.decrypt(parties.server.finish())
    assert np.array_equal(found, parties.values[:2].sum(axis=0))


def test_the_decryptor_opens_one_sum():
    parties = _Parties(_SCHEMES["bfv"])
    for position in range(3):
        parties.server.receive(parties.send(position))
    total = parties.server.finish()
    parties.decryptor.decrypt(total)
    with pytest.raises(failures.RefusedRequestError, match="one sum"):
        parties.decryptor.decrypt(total)


def test_the_decryptor_counts_clients_itself(scheme):
    """One client's ciphertexts for a sum, and sums of which a part lacks a client."""
    parties = _Parties(scheme)
    with pytest.raises(failures.TooFewClientsError, match="1 clients"):
        parties.decryptor.decrypt(parties.send(0).ciphertexts)
    parties = _Parties(scheme)
    first = parties.send(0)
    for message in (first, parties.send(1)):
        parties.server.receive(message)
    mixed = [*parties.server.finish()[:-1], first.ciphertexts[-1]]
    with pytest.raises(failures.MalformedMessageError, match="not all of the same clients"):
        parties.decryptor.decrypt(mixed)


def test_the_decryptor_refuses_sums_below_zero():
    parties = _Parties(_SCHEMES["ckks"])
    context, num_columns = parties.server.context, parties.scheme.num_columns
    row = tenseal.ckks_vector(context, [-1.0] * num_columns).serialize()
    with pytest.raises(failures.MalformedMessageError, match="encrypted sum that is none"):
        parties.decryptor.decrypt([row] * parties.plan.num_rows)


@pytest.mark.parametrize("ciphertexts", [[b"garbage"] * 2, [b"garbage"]])
def test_the_decryptor_refuses_what_is_no_sum(ciphertexts):
    parties = _Parties(_SCHEMES["bfv"])
    with pytest.raises(failures.MalformedMessageError, match="the server"):
        parties.decryptor.decrypt(ciphertexts)
