"""Draws of a user depend on the key, the id and the purpose alone, and are uniform."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from fedrec_tff.datasets import keyed_draws

IDS = [f"user {i}" for i in range(4000)]


def _draws(ids=IDS, secret=5):
    return keyed_draws.KeyedDraws(ids, secret)


def test_a_block_is_aes_of_the_hashed_id():
    secret = (5).to_bytes(64, "big")

    def key(label):
        return hashlib.blake2b(label, digest_size=16, key=secret).digest()

    token = hashlib.blake2b(b"user 7", digest_size=16, key=key(b"user")).digest()
    encryptor = Cipher(algorithms.AES(key(b"cohort/3")), modes.ECB()).encryptor()
    expected = np.frombuffer(encryptor.update(token), ">u8")
    np.testing.assert_array_equal(_draws().blocks("cohort", 3)[7], expected)


@pytest.mark.parametrize(
    "draw",
    [
        lambda d: d.blocks("a", 1),
        lambda d: d.coins(0.3, "a", 1),
        lambda d: d.uniforms("a", 1),
        lambda d: d.integers(7, "a", 1),
        lambda d: d.seeds("a", 1),
    ],
)
def test_others_have_no_say(draw):
    alone = draw(_draws(["zoe", IDS[17], "7", "07"]))
    everybody = draw(_draws(["0", *IDS[::-1], "07", "zoe", "7"]))
    place = {"zoe": -2, IDS[17]: 1 + len(IDS) - 1 - 17, "7": -1, "07": -3}
    np.testing.assert_array_equal(alone, everybody[list(place.values())])


def test_an_order_leaves_any_two_as_they_are_without_the_others():
    everybody = np.array(IDS)[_draws().order("epoch", 2)]
    some = np.array(IDS[::7])[_draws(IDS[::7]).order("epoch", 2)]
    np.testing.assert_array_equal(some, [i for i in everybody if i in set(IDS[::7])])


def test_the_first_are_the_beginning_of_the_order():
    np.testing.assert_array_equal(_draws().first(30, "epoch", 2), _draws().order("epoch", 2)[:30])
    assert sorted(_draws().first(len(IDS), "epoch", 2)) == list(range(len(IDS)))


def test_take_is_the_draws_of_these():
    rows = np.array([5, 3, 900])
    np.testing.assert_array_equal(_draws().take(rows).seeds("s"), _draws().seeds("s")[rows])
    assert _draws().take(rows[:0]).seeds("s").shape == (0, 2)


def test_key_purpose_and_numbers_change_every_draw():
    base = _draws().blocks("a", 1)
    for other in (
        _draws(secret=6).blocks("a", 1),
        _draws().blocks("b", 1),
        _draws().blocks("a", 2),
        _draws().blocks("a"),
        _draws().blocks("a", 1, 0),
    ):
        assert not np.any(base == other)


def test_coins_and_integers_have_their_law():
    # Bounds of six standard deviations: one failure in 5e8 for each, if draws were truly random.
    heads = np.mean([_draws().coins(0.3, "coin", r).mean() for r in range(50)])
    assert abs(heads - 0.3) < 6 * np.sqrt(0.3 * 0.7 / (50 * len(IDS)))
    counts = np.bincount(_draws().integers(8, "eight"), minlength=8)
    assert counts.sum() == len(IDS)
    assert len(counts) == 8
    assert np.abs(counts - len(IDS) / 8).max() < 6 * np.sqrt(len(IDS) / 8)
    assert _draws().coins(1.0, "coin").all()
    assert not _draws().coins(0.0, "coin").any()


def test_uniforms_are_uniform():
    drawn = np.concatenate([_draws().uniforms("u", r) for r in range(25)])
    # Kolmogorov's distance of 1e5 numbers passes this bound once in 1e6.
    assert stats.kstest(drawn, "uniform").pvalue > 1e-6
    np.testing.assert_array_equal(_draws().uniforms("u") < 0.5, _draws().coins(0.5, "u"))


def test_bounds_may_differ_from_user_to_user():
    bounds = np.arange(1, len(IDS) + 1)
    drawn = _draws().integers(bounds, "own")
    assert np.all(drawn < bounds)
    assert np.all(drawn >= 0)
    assert drawn[0] == 0
    np.testing.assert_array_equal(drawn[17], _draws(IDS[17:18]).integers(18, "own")[0])


def test_a_probability_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"found 1\.5"):
        _draws().coins(1.5, "coin")
