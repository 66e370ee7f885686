"""Two references that learn which items go together: item-item cosine and first-order Markov.

Both are counted in one pass, in SciPy alone. They are fixed measuring sticks: what separates two
data sets for them, separates the data sets, and not two runs of an optimiser.
"""

import numpy as np
import scipy.sparse

from fedrec_tff.datasets.sequences import Sequences

# Popularity orders only what the counts leave tied: the most popular item gets so much for it.
_TIE_BREAK_COSINE = 1e-6
DEFAULT_POPULARITY_WEIGHT = 0.5  # counts of transitions are whole numbers


class ItemCosineRecommender:
    """Scores an item by its cosine to what the history holds (Sarwar et al. 2001, item-based).

    With c_ij users who have both items, the cosine is c_ij / sqrt(c_ii c_jj), and an item's score
    is the sum over the history's newest items. The order of interactions plays no other part.
    """

    def __init__(self, train: Sequences, num_items: int, num_newest: int = 10) -> None:
        """Counts.

        Args:
          train: Training sequences.
          num_items: Size of the catalogue.
          num_newest: How many of a history's newest items are asked.
        """
        users = create_user_item_matrix(train, num_items)
        together = (users.T @ users).tocoo()
        counts = users.getnnz(axis=0).astype(np.float64)
        scale = 1.0 / np.sqrt(np.maximum(counts, 1.0))
        cosine = together.data * scale[together.row] * scale[together.col]
        self._cosine = scipy.sparse.csr_matrix(
            (cosine.astype(np.float32), (together.row, together.col)), shape=together.shape
        )
        self._tie_break = _TIE_BREAK_COSINE * _popularity(train, num_items)
        self._num_items = num_items
        self._num_newest = num_newest

    def score_fn(self, history: Sequences) -> np.ndarray:
        """Returns the summed cosines of every row, float32 [rows, num_items]."""
        newest = create_user_item_matrix(history.last(self._num_newest), self._num_items)
        return (newest @ self._cosine).toarray() + self._tie_break


class MarkovRecommender:
    """Scores an item by how often it came right after the history's newest one.

    Popularity stands behind the counts: an item that is taken p times as often as the most popular
    one counts as if it had come `popularity_weight * p` times more. For each history that orders
    items as probabilities smoothed towards popularity do. Without a history, popularity decides.
    """

    def __init__(
        self,
        train: Sequences,
        num_items: int,
        popularity_weight: float = DEFAULT_POPULARITY_WEIGHT,
    ) -> None:
        """Counts.

        Args:
          train: Training sequences, oldest first.
          num_items: Size of the catalogue.
          popularity_weight: See the class. Below 1, popularity only orders what the counts leave
            tied; with 0, ties stay.
        """
        has_next = np.ones(len(train.items), bool)
        has_next[train.offsets[1:][train.lengths > 0] - 1] = False
        before = np.flatnonzero(has_next)
        ones = np.ones(len(before), np.float32)
        pairs = (train.items[before], train.items[before + 1])
        self._counts = scipy.sparse.csr_matrix((ones, pairs), shape=(num_items, num_items))
        self._popularity = np.float32(popularity_weight) * _popularity(train, num_items)

    def score_fn(self, history: Sequences) -> np.ndarray:
        """Returns the counts after each row's newest item, float32 [rows, num_items]."""
        scores = np.tile(self._popularity, (history.num_rows, 1))
        rows = np.flatnonzero(history.lengths)
        newest = history.items[history.offsets[1:][rows] - 1]
        scores[rows] += self._counts[newest].toarray()
        return scores


def create_user_item_matrix(sequences: Sequences, num_items: int) -> scipy.sparse.csr_matrix:
    """Returns which row has which item, however often: float32 [num_rows, num_items] of 0 and 1."""
    ones = np.ones(len(sequences.items), np.float32)
    matrix = scipy.sparse.csr_matrix(
        (ones, (sequences.row_index, sequences.items)), shape=(sequences.num_rows, num_items)
    )
    matrix.data[:] = 1.0  # repeats were summed
    return matrix


def _popularity(train: Sequences, num_items: int) -> np.ndarray:
    """Returns counts in [0, 1], float32 [num_items]."""
    counts = np.bincount(train.items, minlength=num_items)
    return (counts / max(counts.max(initial=0), 1)).astype(np.float32)
