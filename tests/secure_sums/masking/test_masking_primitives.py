"""What masked sums are made of: shares, masks, residues, graphs, sizes."""

import collections
import contextlib
import math
import types

import hypothesis
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import aead
from hypothesis import strategies
from scipy import stats

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.masking import (
    failures,
    identity,
    key_agreement,
    layout,
    masks,
    messages,
    neighbours,
    rules,
    secret_sharing,
)

_KEY = bytes(range(32))
# A statistic of honest randomness is beyond this once in a thousand million runs.
_LEAST_P_VALUE = 1e-9


# Shares.


def test_the_modulus_of_shares_is_prime_and_holds_every_secret():
    prime = secret_sharing.PRIME
    assert prime > 2**256
    odd, twos = prime - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # Miller and Rabin's test.
        powers = [pow(base, odd * 2**i, prime) for i in range(twos)]
        assert powers[0] == 1 or prime - 1 in powers


@hypothesis.given(strategies.data())
@hypothesis.settings(deadline=None, max_examples=30)
def test_any_threshold_of_shares_opens_a_secret_and_fewer_do_not(data):
    secret = data.draw(strategies.binary(min_size=32, max_size=32))
    num_holders = data.draw(strategies.integers(2, 8))
    threshold = data.draw(strategies.integers(2, num_holders))
    points = data.draw(
        strategies.lists(
            strategies.integers(1, 10**6), min_size=num_holders, max_size=num_holders, unique=True
        )
    )
    shares = secret_sharing.share(secret, points, threshold)
    assert {len(share) for share in shares} == {33}
    order = data.draw(strategies.permutations(range(num_holders)))

    def open_with(number):
        chosen = order[:number]
        return secret_sharing.open_secret([points[i] for i in chosen], [shares[i] for i in chosen])

    for number in range(threshold, num_holders + 1):
        assert open_with(number) == secret
    # Too few shares can add up to a number that is no secret.
    with contextlib.suppress(failures.TamperedMessageError):
        assert open_with(threshold - 1) != secret


def test_shares_of_the_same_secret_differ_each_time():
    first, second = (secret_sharing.share(_KEY, [1, 2, 3], 2) for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert _KEY not in b"".join(first)


@pytest.mark.parametrize(
    ("points", "threshold"), [([1, 2], 3), ([1, 2], 0), ([0, 1], 2), ([1, 1], 2)]
)
def test_shares_that_would_not_open_or_would_show_the_secret(points, threshold):
    with pytest.raises(ValueError, match=r"threshold|points"):
        secret_sharing.share(_KEY, points, threshold)


def test_a_share_is_the_only_spelling_of_its_number():
    """The number of a share and the prime more: the same residue, but no share that was made."""
    zero, prime = bytes(33), secret_sharing.PRIME.to_bytes(33, "big")
    assert secret_sharing.open_secret([1], [zero]) == bytes(32)
    with pytest.raises(failures.TamperedMessageError, match="not genuine"):
        secret_sharing.open_secret([1], [prime])


# Masks.


def _mask(modulus, size, key=_KEY, sign=1):
    group = layout.Group(modulus, size)
    vector = np.zeros(size, group.dtype)
    masks.apply([vector], [group], key, sign)
    return group.reduce(vector)


def test_masks_are_chacha20():
    # RFC 8439, appendix A.1, test vector 1: key, nonce and counter zero.
    published = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert _mask(2**32, 8, bytes(32)).astype("<u4").tobytes() == published
    assert _mask(2**64, 4, bytes(32)).astype("<u8").tobytes() == published


@pytest.mark.parametrize(
    "modulus", [1, 2, 3, 2**20, 1009, 2**31 - 1, 2**31 + 11, 2**32, 2**62 - 57, 2**63 - 25, 2**64]
)
def test_masks_add_up_and_cancel_modulo_any_number(modulus):
    size = 70_000  # More than a block of the keystream.
    keys = [bytes([i]) * 32 for i in range(3)]
    group = layout.Group(modulus, size)
    total = np.zeros(size, group.dtype)
    for key, sign in zip(keys, (1, -1, -1), strict=True):
        masks.apply([total], [group], key, sign)
    first, second, third = (_mask(modulus, size, key).astype(object) for key in keys)
    np.testing.assert_array_equal(group.reduce(total.copy()), (first - second - third) % modulus)
    for key, sign in zip(keys, (-1, 1, 1), strict=True):
        masks.apply([total], [group], key, sign)
    assert not group.reduce(total).any()


# Moduli of which two and a half fit the keystream's words: reducing without throwing away would
# make the lower half of residues half as frequent again.
@pytest.mark.parametrize("modulus", [int(2**32 / 2.5), int(2**64 / 2.5), 5, 1009])
def test_masks_are_uniform(modulus):
    vector = _mask(modulus, 50_000)
    num_bins = min(modulus, 64)
    bins = vector.astype(object) * num_bins // modulus
    counts = np.bincount(bins.astype(int), minlength=num_bins)
    # How many residues each bin has.
    edges = [-(-i * modulus // num_bins) for i in range(num_bins + 1)]
    expected = np.diff(np.array(edges, object)).astype(float) / modulus * vector.size
    assert stats.chisquare(counts, expected).pvalue > _LEAST_P_VALUE
    assert int(vector.max()) < modulus


@pytest.mark.parametrize("modulus", [5, 1009, 2**61 - 1])
def test_words_beyond_the_last_whole_round_of_residues_are_thrown_away(modulus):
    group = layout.Group(modulus, 3)
    whole = 2 ** (8 * group.dtype.itemsize) // modulus * modulus
    words = np.array([whole - 1, whole, 0], group.dtype)
    stream = types.SimpleNamespace(read=lambda num_words, dtype: words)
    assert masks._draw(stream, group, 3).tolist() == [modulus - 1, 0]


def test_one_key_masks_all_groups_differently():
    groups = [layout.Group(2**32, 8), layout.Group(2**31, 8)]
    vectors = [np.zeros(8, np.uint32) for _ in groups]
    masks.apply(vectors, groups, _KEY, 1)
    assert not set(groups[1].reduce(vectors[0]).tolist()) & set(vectors[1].tolist())


# Keys.


def test_what_is_sealed_is_aes_gcm_under_the_number_of_its_sender():
    key, content = bytes(range(32)), b"a share"
    sealed = key_agreement.seal(key, 258, content, b"who to whom")
    nonce = bytes(10) + b"\x01\x02"
    assert aead.AESGCM(key).decrypt(nonce, sealed, b"who to whom") == content
    # Four bytes of length before each part, and of a number.
    assert key_agreement.encode(b"ab", 258) == b"\0\0\0\2ab\0\0\0\4\0\0\1\2"


def test_a_secret_key_is_not_shown():
    assert "Private" not in repr(identity.create_identities(1))


def test_keys_are_of_one_pair_and_one_use():
    alice, bob = key_agreement.KeyPair(), key_agreement.KeyPair()
    assert alice.agree(bob.public, b"use", 1) == bob.agree(alice.public, b"use", 1)
    contexts = [(b"use", 1), (b"use", 2), (b"us", b"e", 1), (b"use",), (b"use\0", 1)]
    assert len({alice.agree(bob.public, *context) for context in contexts}) == len(contexts)
    assert key_agreement.KeyPair(alice.private).public == alice.public


@pytest.mark.parametrize("public", [bytes(32), b"short"])
def test_a_public_key_that_nobody_made(public):
    with pytest.raises(failures.TamperedMessageError, match="public key"):
        key_agreement.KeyPair().agree(public)


# Residues.


@hypothesis.given(strategies.data())
@hypothesis.settings(deadline=None, max_examples=40)
def test_tensors_come_back_from_the_wire(data):
    num_parties = data.draw(strategies.integers(1, 5))
    limits = data.draw(
        strategies.lists(
            strategies.tuples(strategies.booleans(), strategies.integers(1, 2**60)),
            min_size=1,
            max_size=4,
        )
    )
    slots = [
        secure_sum.SecureSumSlot((2,), modulus=limit)
        if is_modular
        else secure_sum.SecureSumSlot((2,), max_input=limit)
        for is_modular, limit in limits
    ]
    values = [
        np.array(data.draw(strategies.lists(strategies.integers(0, n - m), min_size=2, max_size=2)))
        for m, n in limits
    ]
    found = layout.create_layout(slots, num_parties)
    vectors = [
        group.from_wire(group.to_wire(vector))
        for group, vector in zip(found.groups, found.pack(values), strict=True)
    ]
    for tensor, value in zip(found.unpack(vectors), values, strict=True):
        np.testing.assert_array_equal(tensor, value)
    for group in found.groups:
        assert 256 ** (group.num_bytes - 1) < max(group.modulus, 2) <= 256**group.num_bytes


def test_slots_of_one_modulus_are_one_vector():
    shapes = [((3,), 7), ((), 9), ((2, 2), 7)]
    slots = [secure_sum.SecureSumSlot(shape, modulus=m) for shape, m in shapes]
    # Three clients send 6 at most: 18, below 32.
    slots.append(secure_sum.SecureSumSlot((4,), max_input=6))
    found = layout.create_layout(slots, 3)
    assert found.groups == (layout.Group(7, 7), layout.Group(9, 1), layout.Group(32, 4))


def test_sums_that_are_larger_than_masks_are_refused():
    slot = secure_sum.SecureSumSlot((), max_input=2**62 - 1)
    assert layout.create_layout([slot], 4).groups == (layout.Group(2**64, 1),)
    with pytest.raises(failures.MaskingError, match="choose a smaller maximum"):
        layout.create_layout([slot], 5)
    with pytest.raises(failures.MaskingError, match="a modulus of a secure sum"):
        layout.create_layout([secure_sum.SecureSumSlot((), modulus=2**63)], 3)


# Graphs and thresholds.


def test_the_threshold_is_that_of_bonawitz_and_others():
    # Floor of two thirds of n, plus one.
    expected = {2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 9: 7, 99: 67, 100: 67, 126: 85}
    found = rules.Rules(min_clients=2)
    for num_parties, threshold in expected.items():
        assert found.share_threshold(num_parties) == threshold
        assert found.min_survivors(num_parties) == threshold


@pytest.mark.parametrize(("num_parties", "degree"), [(1, 0), (6, 5), (9, 4), (40, 6)])
def test_graphs_are_regular_symmetric_and_connected(num_parties, degree):
    graph = neighbours.draw_graph(num_parties, degree)
    assert all(len(set(peers)) == len(peers) == degree for peers in graph)
    assert all(u in graph[v] and u != v for u, peers in enumerate(graph) for v in peers)
    reached, waiting = {0}, [0]
    while waiting:
        new = set(graph[waiting.pop()]) - reached
        reached |= new
        waiting += new
    assert len(reached) == num_parties


def test_graphs_are_drawn_anew():
    assert len({tuple(neighbours.draw_graph(40, 6)) for _ in range(3)}) == 3


def test_small_cohorts_mask_with_everybody():
    assert [rules.Rules().degree(n) for n in (0, 1, 2, 100, 128)] == [0, 0, 1, 99, 127]
    assert rules.Rules(num_neighbours=7).degree(100) == 8
    assert rules.Rules(num_neighbours=7).degree(5) == 4


@pytest.mark.parametrize(
    ("num_parties", "corrupt", "dropout"), [(300, 0.1, 0.1), (1000, 0.1, 0.1), (1000, 0.2, 0.05)]
)
def test_the_number_of_neighbours_is_the_smallest_that_is_safe(num_parties, corrupt, dropout):
    # The three probabilities again, in exact integers.
    num_corrupt, num_dropped = (math.ceil(part * num_parties) for part in (corrupt, dropout))
    others = num_parties - 1

    def tail(num_marked, degree, least):
        ways = sum(
            math.comb(num_marked, i) * math.comb(others - num_marked, degree - i)
            for i in range(least, degree + 1)
        )
        return num_parties * ways / math.comb(others, degree)

    def is_safe(degree):
        holders = degree + 1
        threshold = 2 * holders // 3 + 1
        removed = num_corrupt + num_dropped
        broken = math.comb(removed, degree // 2) / math.comb(num_parties, degree // 2)
        failures_of_all = (
            tail(num_corrupt, degree, 2 * threshold - holders),
            tail(num_dropped, degree, degree - threshold + 1),
            num_parties * broken,
        )
        return max(failures_of_all) <= 2.0**-40

    found = rules.Rules(corrupt_fraction=corrupt, dropout_fraction=dropout)
    degree = found.degree(num_parties)
    assert is_safe(degree)
    assert not any(is_safe(smaller) for smaller in range(2, degree, 2))
    if corrupt == dropout:
        assert rules.Rules(dropout_fraction=0.15).degree(num_parties) > degree


def test_so_many_may_leave_that_the_others_are_the_share_that_stays():
    # Of 125 a fifth leaves, of 149 a third; one more would be too many.
    assert rules.Rules().num_phantoms(100, 0.2) == 25
    assert rules.Rules().num_phantoms(99, 1 / 3) == 49
    assert rules.Rules().num_phantoms(10, 0.0) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold_fraction": 0.4},
        {"threshold_fraction": 1.0},
        {"min_clients": 0},
        {"num_neighbours": 1},
        {"corrupt_fraction": -0.1},
    ],
)
def test_rules_that_protect_nobody(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        rules.Rules(**wrong)


# Sizes.


def test_the_size_of_messages():
    advertisement = messages.Advertisement(3, bytes(32), bytes(32), bytes(32), bytes(64))
    assert messages.num_bytes(advertisement) == 4 + 3 * 36 + 68
    assert messages.num_bytes(messages.Roster((advertisement,) * 5)) == 4 + 5 * 180
    masked = messages.MaskedInput(1, (bytes(10), bytes(7)))
    assert messages.num_bytes(masked) == 4 + 4 + 14 + 11
    sizes = collections.Counter(
        messages.num_bytes(m)
        for m in (messages.Announcement((1, 2), (3,)), messages.Share(1, bytes(33)))
    )
    assert sizes == {20: 1, 41: 1}
