import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.evaluation import popularity_bias

_LISTS = np.array([[0, 2], [3, -1], [-1, -1]], np.int32)


def test_popularity_is_the_share_of_users_who_took_an_item():
    train = sequences_lib.from_rows([[0, 1, 1], [0], [0, 2], []])
    found = popularity_bias.popularity_of_items(train, 4)
    assert found.tolist() == [0.75, 0.25, 0.25, 0.0]


def test_popular_items_are_the_first_of_those_that_tie():
    popularity = np.array([0.1, 0.5, 0.1, 0.1, 0.0])
    assert popularity_bias.find_popular(popularity, 0.4).tolist() == [True, True, *[False] * 3]
    assert popularity_bias.find_popular(popularity, 0.01).tolist() == [False, True, *[False] * 3]


def test_sums_leave_padding_out():
    sums, counts = popularity_bias.sum_over_lists(_LISTS, np.array([1.0, 10.0, 100.0, 1000.0]))
    assert sums.tolist() == [101.0, 1000.0, 0.0]
    assert counts.tolist() == [2, 1, 0]


def test_means_over_histories_count_what_was_taken_again():
    history = sequences_lib.from_rows([[0, 1, 1], [], [3]])
    found = popularity_bias.mean_over_histories(history, np.array([1.0, 4.0, 5.0, 7.0]))
    assert found == pytest.approx([3.0, 0.0, 7.0])
