"""The recommender that every other must beat: the same list for all, by number of interactions."""

from __future__ import annotations

import numpy as np

from fedrec_tff.datasets.sequences import Sequences


class PopularityRecommender:
    """Scores each item by how often it occurs in training."""

    def __init__(self, train: Sequences, num_items: int) -> None:
        """Counts.

        Args:
          train: Training sequences.
          num_items: Size of the catalogue.
        """
        self._counts = train.count_items(num_items).astype(np.float32)

    @classmethod
    def from_counts(cls, counts: np.ndarray) -> PopularityRecommender:
        """Takes counts that were made elsewhere: noised ones, under differential privacy.

        Args:
          counts: float [num_items].

        Returns:
          A recommender that scores by them.
        """
        recommender = cls.__new__(cls)
        recommender._counts = np.asarray(counts, np.float32)
        return recommender

    def score_fn(self, history: Sequences) -> np.ndarray:
        """Returns the counts for every row, float32 [rows, num_items]."""
        return np.broadcast_to(self._counts, (history.num_rows, len(self._counts)))
