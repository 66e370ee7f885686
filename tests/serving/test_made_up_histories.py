"""Histories of nobody: of the catalogue, and of a model by the probabilities that it gives."""

import numpy as np

from fedrec_tff.serving import made_up_histories

_PROBABILITIES = np.array([0.5, 0.3, 0.15, 0.05])


def _score(histories):
    return np.tile(np.log(_PROBABILITIES), [histories.num_rows, 1])


def test_first_items_are_drawn_as_the_model_scores_them():
    found = made_up_histories.sample(_score, 4, 4000, 1, seed=3)
    shares = np.bincount(found.items, minlength=4) / 4000
    # The standard deviation of a share is 0.008 at most: chance fails this less than once in 10^4.
    np.testing.assert_allclose(shares, _PROBABILITIES, atol=0.035)


def test_no_item_is_twice_in_a_history_and_all_lengths_occur():
    found = made_up_histories.sample(_score, 4, 400, 9, seed=3)
    assert {*found.lengths} == {1, 2, 3, 4}
    for row in range(found.num_rows):
        assert len({*found.row(row)}) == len(found.row(row))


def test_the_next_item_follows_from_those_before():
    def score_fn(histories):
        # After item i comes i + 1, nearly always.
        scores = np.zeros([histories.num_rows, 8])
        for row in range(histories.num_rows):
            if len(histories.row(row)):
                scores[row, (histories.row(row)[-1] + 1) % 8] = 30.0
        return scores

    found = made_up_histories.sample(score_fn, 8, 20, 8, seed=1)
    for row in range(20):
        items = found.row(row)
        np.testing.assert_array_equal(items, (items[0] + np.arange(len(items))) % 8)


def test_a_seed_draws_the_same_and_another_does_not(monkeypatch):
    one, again, other = (made_up_histories.sample(_score, 4, 50, 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.items, again.items)
    assert not np.array_equal(one.items[:50], other.items[:50])
    # In blocks of five histories.
    monkeypatch.setattr(made_up_histories, "_SCORES_PER_BLOCK", 20)
    assert made_up_histories.sample(_score, 4, 53, 4, 1).num_rows == 53


def test_the_overlap_counts_what_both_lists_have():
    found = np.array([[1, 2, 3], [4, -1, -1]])
    exact = np.array([[3, 2, 9], [5, 4, -1]])
    # Two of three, and one of two.
    assert made_up_histories.measure_overlap(found, exact) == 3 / 5
    assert made_up_histories.measure_overlap(exact, exact) == 1.0


def test_made_up_histories_are_of_different_items_and_leave_one_over():
    histories = made_up_histories.create(4, 20)
    assert set(histories.lengths) <= {1, 2, 3}
    assert all(len(set(histories.row(row))) == histories.lengths[row] for row in range(100))
    again = made_up_histories.create(4, 20)
    np.testing.assert_array_equal(histories.items, again.items)
