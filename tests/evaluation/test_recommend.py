import numpy as np
import pytest

from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import recommend


def test_matches_sorting_by_hand():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 6, (30, 25)).astype(np.float32)
    histories = [rng.integers(0, 25, rng.integers(0, 40)) for _ in range(30)]
    served = iter(table)

    def score_fn(history):
        return np.stack([next(served) for _ in range(history.num_rows)])

    items, scores = recommend.top_k(
        score_fn, sequences_lib.from_rows(histories), 25, k=6, block_rows=7
    )
    assert items.dtype == np.int32
    assert scores.dtype == np.float32
    for row in range(30):
        left = [item for item in range(25) if item not in histories[row]]
        best = sorted(left, key=lambda item: (-table[row, item], item))[:6]
        padding = [recommend.NO_ITEM] * (6 - len(best))
        assert list(items[row]) == best + padding
        np.testing.assert_array_equal(
            scores[row], list(table[row, best]) + [-np.inf] * len(padding)
        )


def test_list_longer_than_the_catalogue_is_padded():
    items, scores = recommend.top_k(
        lambda history: np.array([[1.0, 3.0, 2.0]], np.float32),
        sequences_lib.from_rows([[1]]),
        3,
        k=5,
    )
    assert items.tolist() == [[2, 0, -1, -1, -1]]
    assert scores.tolist() == [[2.0, 1.0, -np.inf, -np.inf, -np.inf]]


def test_empty_list_is_refused():
    with pytest.raises(UserError, match="k=0"):
        recommend.top_k(lambda history: None, sequences_lib.from_rows([[1]]), 3, k=0)


@pytest.mark.parametrize("num_values", [2, 3, 40, 100_000])
def test_long_rows_match_sorting_with_ties_and_little_left(num_values):
    rng = np.random.default_rng(num_values)
    num_items, k = 9_973, 4
    table = rng.integers(0, num_values, (6, num_items)).astype(np.float32)
    table[0, ::3] = -np.inf
    table[1, 2 * 512 : 9_000] = np.nan  # Whole chunks that are no candidates,
    table[2, 5:-3] = np.nan  # less than a list is long in whole chunks, but enough,
    table[3, 3:] = np.nan  # and less than a list.
    table[4] = 1.0
    table[5] = 0.0
    table[5, 100::512] = 1.0  # One of the best in each chunk, more of them than a list is long.
    found = recommend.best_items(table, k)
    for row in range(6):
        left = np.flatnonzero(~np.isnan(table[row]))
        best = left[np.lexsort((left, -table[row, left]))][:k]
        assert found[row].tolist() == [*best, *[recommend.NO_ITEM] * (k - len(best))]
