"""Negatives for sampled ranking, drawn honestly: from all items the row has nothing to do with."""

# Tested in tests/evaluation/test_ranking.py.

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import scoring


class NegativeSampler:
    """Draws negatives for every target of an evaluation set, row after row."""

    def __init__(
        self, history: Sequences, targets: Sequences, num_items: int, num_negatives: int, seed: int
    ) -> None:
        """Makes a sampler.

        Args:
          history: One row of items per evaluated row.
          targets: The same rows' targets, each item once.
          num_items: Size of the catalogue.
          num_negatives: How many negatives to draw for each target, if every row has that many.
          seed: Fixes what is drawn.
        """
        self._history = history
        self._targets = targets
        self._num_items = num_items
        num_allowed = [
            num_items - np.bincount(self._excluded(rows) // num_items, minlength=len(rows))
            for rows in _chunks(history.num_rows)
        ]
        self._num_allowed = np.concatenate(num_allowed)
        self._num_negatives = int(min(num_negatives, self._num_allowed.min()))
        self._rng = np.random.default_rng(seed)

    @property
    def num_negatives(self) -> int:
        """How many negatives each target gets."""
        return self._num_negatives

    def sample(self, rows: np.ndarray) -> np.ndarray:
        """Draws the negatives of the targets of some rows.

        Each call goes on in one random stream, target by target: the blocks in which rows are asked
        for, in order, don't matter.

        Args:
          rows: int64 [rows], ascending.

        Returns:
          Items, int64 [targets of these rows, num_negatives], uniform without replacement.
        """
        pair_row, _ = scoring.entries_of(self._targets, rows)
        ranks = _distinct_integers(
            self._rng, self._num_allowed[rows][pair_row], self._num_negatives
        )
        return self._items_of_ranks(rows, pair_row, ranks)

    def _excluded(self, rows: np.ndarray) -> np.ndarray:
        """Returns position in `rows` times num_items plus item, of all excluded items; sorted."""
        keys = []
        for sequences in (self._history, self._targets):
            row, item = scoring.entries_of(sequences, rows)
            keys.append(row * self._num_items + item)
        return np.unique(np.concatenate(keys))

    def _items_of_ranks(
        self, rows: np.ndarray, pair_row: np.ndarray, ranks: np.ndarray
    ) -> np.ndarray:
        """Turns "the r-th allowed item of the row" into items."""
        keys = self._excluded(rows)
        row, item = keys // self._num_items, keys % self._num_items
        start = np.searchsorted(row, np.arange(len(rows)))
        # How many allowed items of the row come before each excluded one.
        allowed_before = item - (np.arange(len(keys)) - start[row])
        # An item's rank is the item, less the excluded ones before it. One search serves all rows:
        # they follow each other in the keys.
        row_span = self._num_items + 1
        found = np.searchsorted(
            row * row_span + allowed_before, pair_row[:, np.newaxis] * row_span + ranks, "right"
        )
        return ranks + found - start[pair_row][:, np.newaxis]


def _distinct_integers(rng: np.random.Generator, limits: np.ndarray, count: int) -> np.ndarray:
    """Draws `count` different integers below each limit: Floyd's algorithm, all rows at once.

    Args:
      rng: Source of randomness; uses the same amount for every row.
      limits: int64 [n], each at least `count`.
      count: How many integers to draw.

    Returns:
      int64 [n, count], uniform among all subsets; not in random order.
    """
    uniform = rng.random((len(limits), count))
    chosen = np.empty((len(limits), count), np.int64)
    for i in range(count):
        newest = limits - count + i
        drawn = (uniform[:, i] * (newest + 1)).astype(np.int64)
        is_taken = (chosen[:, :i] == drawn[:, np.newaxis]).any(axis=1)
        chosen[:, i] = np.where(is_taken, newest, drawn)
    return chosen


def _chunks(num_rows: int, size: int = 8192) -> list[np.ndarray]:
    return [np.arange(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]
