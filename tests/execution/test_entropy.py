"""Where the keys of random operations come from."""

import os

import numpy as np

from fedrec_tff.execution import entropy


def _draw_rounds(source, *counts):
    return [source.start_round().draw(count) for count in counts]


def test_a_seed_repeats_its_rounds():
    first = _draw_rounds(entropy.RandomSource(7), 3, 3, 5)
    second = _draw_rounds(entropy.RandomSource(7), 3, 3, 5)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [keys.shape for keys in first] == [(3, 2), (3, 2), (5, 2)]
    assert first[0].dtype == np.uint64


def test_no_key_is_given_twice():
    keys = [_draw_rounds(entropy.RandomSource(seed), 50, 50) for seed in (0, 1, None)]
    assert len(np.unique(np.concatenate([k.ravel() for rounds in keys for k in rounds]))) == 600


def test_keys_of_a_purpose_are_the_same_whatever_was_drawn_before():
    keys = entropy.RandomSource(7).start_round()
    first, other = keys.draw(5, "one"), keys.draw(5, "other")
    np.testing.assert_array_equal(keys.draw(5, "one"), first)
    np.testing.assert_array_equal(entropy.RandomSource(7).start_round().draw(5, "other"), other)
    assert len(np.unique([first, other])) == 20


def test_without_a_seed_the_operating_system_draws(monkeypatch):
    def urandom(size):
        return bytes(range(size))

    monkeypatch.setattr(os, "urandom", urandom)
    (keys,) = _draw_rounds(entropy.RandomSource(), 2)
    expected = [int.from_bytes(bytes(range(i, i + 8)), "little") for i in range(0, 32, 8)]
    assert keys.ravel().tolist() == expected


def test_all_bits_are_used():
    (keys,) = _draw_rounds(entropy.RandomSource(3), 64)
    # A bit of 128 words is always 0, or always 1, with probability 2**-127.
    assert np.bitwise_or.reduce(keys.ravel()) == 2**64 - 1
    assert np.bitwise_and.reduce(keys.ravel()) == 0
