"""Tests of randomness, randomised response and decoys, against their formulas."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from fedrec_tff.anonymization import decoys, perturbation, randomness

# Statistical tests draw from a fixed seed; by chance alone each would fail for one seed of a
# million.
_RARE = 1e-6


def _seeded(seed=0):
    return randomness.Randomness(insecure_seed=seed)


def test_integers_are_uniform():
    drawn = _seeded().below(np.full(70_000, 7))
    assert scipy.stats.chisquare(np.bincount(drawn, minlength=7)).pvalue > _RARE
    # A bound that 64 bits are no multiple of by far: the low half must not come more often.
    large = _seeded(1).below(np.full(50_000, 3 * 2**60))
    assert large.min() >= 0
    assert large.max() < 3 * 2**60
    assert scipy.stats.binomtest(int((large < 3 * 2**59).sum()), 50_000).pvalue > _RARE


@given(st.lists(st.integers(1, 2**62)))
def test_integers_stay_below_their_bound(bounds):
    drawn = randomness.Randomness().below(np.array(bounds, np.int64))
    assert all(0 <= number < bound for number, bound in zip(drawn.tolist(), bounds, strict=True))


def test_events_are_as_probable_as_said():
    probability = np.repeat([0.0, 1.0, 0.3], [1000, 1000, 50_000])
    happens = _seeded().happens(probability)
    assert not happens[:1000].any()
    assert happens[1000:2000].all()
    assert scipy.stats.binomtest(int(happens[2000:].sum()), 50_000, 0.3).pvalue > _RARE


def test_the_kernel_is_read_anew_each_time():
    source = randomness.Randomness()
    assert not source.is_predictable
    words = np.concatenate(
        [source.words(1000), source.words(1000), randomness.Randomness().words(1)]
    )
    assert len(np.unique(words)) == 2001
    assert _seeded().is_predictable
    np.testing.assert_array_equal(_seeded(5).words(3), _seeded(5).words(3))


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 5.0])
def test_answers_follow_the_law_of_randomised_response(epsilon):
    num_items, rows = 8, 80_000
    told = perturbation.respond(
        np.full(rows, 3, np.int32), np.zeros(num_items, np.int64), epsilon, _seeded()
    )
    expected = np.full(num_items, 1.0)
    expected[3] = np.exp(epsilon)
    expected *= rows / expected.sum()
    counts = np.bincount(told.item_index, minlength=num_items)
    assert scipy.stats.chisquare(counts, expected).pvalue > _RARE
    assert told.mean_keep_probability == pytest.approx(expected[3] / rows)
    assert told.item_index.dtype == np.int32


def test_answers_stay_in_their_group_and_follow_the_law_there():
    group = np.array([0, 1, 0, 1, 0, 2])
    rows = 30_000
    told = perturbation.respond(
        np.repeat(np.array([2, 3, 5], np.int32), rows), group, 1.0, _seeded()
    )
    in_three, in_two, alone = np.split(told.item_index, 3)
    expected = np.array([1, np.e, 1]) * rows / (2 + np.e)
    counts = [np.count_nonzero(in_three == item) for item in (0, 2, 4)]
    assert scipy.stats.chisquare(counts, expected).pvalue > _RARE
    counts = [np.count_nonzero(in_two == item) for item in (1, 3)]
    assert scipy.stats.chisquare(counts, np.array([1, np.e]) * rows / (1 + np.e)).pvalue > _RARE
    assert (alone == 5).all()
    assert told.num_unprotected == rows


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1),
    st.integers(0, 12),
    st.booleans(),
)
def test_decoys_are_new_to_their_users(pairs, per_user, by_popularity):
    user, item = np.array(sorted(pairs)).T
    lengths = np.bincount(user, minlength=6)
    wanted = decoys.num_decoys(lengths, per_user, 0.0)
    assert wanted.tolist() == [per_user if length else 0 for length in lengths]
    found = decoys.draw_decoys(user, item, wanted, 10, by_popularity, randomness.Randomness())
    owner = user[found.anchor_row]
    assert len(set(zip(owner.tolist(), found.item_index.tolist(), strict=True))) == len(owner)
    assert not set(zip(owner.tolist(), found.item_index.tolist(), strict=True)) & set(pairs)
    for user_index in range(6):
        own = {i for u, i in pairs if u == user_index}
        free = 10 - len(own) if own else 0
        count = np.count_nonzero(owner == user_index)
        assert count <= min(per_user, free)
        if not by_popularity and per_user <= free // 2:
            assert count == per_user


def test_decoys_by_fraction_are_rounded_up():
    assert decoys.num_decoys(np.array([0, 1, 10, 25]), 0, 0.1).tolist() == [0, 1, 1, 3]


def test_decoys_are_uniform_or_as_popular_as_items_are():
    users = np.repeat(np.arange(5000), 2)
    items = np.tile([0, 1], 5000)
    items[-2000:] = np.tile([2, 3], 1000)
    wanted = np.repeat([1, 0], [4000, 1000])
    drawn = decoys.draw_decoys(users, items, wanted, 12, False, _seeded()).item_index
    assert scipy.stats.chisquare(np.bincount(drawn, minlength=12)[2:]).pvalue > _RARE
    popular = decoys.draw_decoys(users, items, wanted, 12, True, _seeded()).item_index
    assert np.bincount(popular, minlength=12)[4:].sum() == 0
    assert scipy.stats.chisquare(np.bincount(popular, minlength=12)[2:4]).pvalue > _RARE


def test_decoys_lie_anywhere_in_a_history():
    users, items = np.zeros(10, np.int64), np.arange(10)
    drawn = decoys.draw_decoys(users, items, np.array([20_000]), 30_000, False, _seeded())
    assert scipy.stats.chisquare(np.bincount(drawn.anchor_row, minlength=10)).pvalue > _RARE
