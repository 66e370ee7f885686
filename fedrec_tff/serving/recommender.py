"""Something that recommends: what a run's folder and an export have in common.

  from fedrec_tff.serving import opening

  model = opening.open_recommender("runs/mine")        # or the folder of experiments.export
  model.recommend(["Toy Story (1995)"], k=10)          # a pandas table, by title or id

Whoever builds on it works with indices, which are rows of the model's item table:

  histories = sequences.from_rows([model.items.find(["Toy Story (1995)", "Aladdin (1992)"])])
  items, scores = model.top_k(histories, k=10)         # what is in a history is left out
  model.items.describe(items[0])                       # ids and titles
  model.find_similar(items[0], histories.row(0))       # how near each is to each of the history
  model.score(histories)     # of all items: encode(...) @ item_vectors.T + item_bias

A model that was changed (quantised, pruned, with another item table) is recommended from by
`run_recommender.BakedRecommender(baked_model)`, and exported by `saved_model.save(baked_model,
folder, k)`: both take a `baked_model.BakedModel`, which `baked_model.bake(finished_run)` makes, and
`dataclasses.replace` changes.
"""

# Tested in tests/serving/test_run_recommender.py.

import abc
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.run.finished import item_catalogue, recommending

_SMALLEST_NORM = 1e-12


class Recommender(abc.ABC):
    """A model with its items.

    Attributes:
      items: Raw ids and titles of the items, by index.
      history_length: Number of the newest items of a history that the query tower reads.
      reads_all: Whether what is older has a say, too, since a personal part is fitted to it.
    """

    items: item_catalogue.ItemCatalogue
    history_length: int
    reads_all: bool = False

    @abc.abstractmethod
    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best items that are not in the row's history.

        Args:
          histories: Item indices, oldest first, a row for each history.
          k: Number of items, at least 1.

        Returns:
          Items, int32 [rows, k], best first, and their scores, float32 [rows, k]. Where fewer are
          left, -1 with a score of minus infinity.

        Raises:
          UserError: If k is not positive.
        """

    @abc.abstractmethod
    def encode(self, histories: Sequences) -> np.ndarray:
        """Encodes histories into queries, whose products with `item_vectors` are scores.

        Args:
          histories: Item indices, oldest first, a row for each history.

        Returns:
          float32 [rows, dim].

        Raises:
          UserError: If the model has no such queries.
        """

    @property
    @abc.abstractmethod
    def item_vectors(self) -> np.ndarray:
        """float32 [num_items, dim], what queries are multiplied with."""

    @property
    @abc.abstractmethod
    def item_bias(self) -> np.ndarray:
        """float32 [num_items], what is added to the products."""

    def score(self, histories: Sequences) -> np.ndarray:
        """Scores all items, those of the history among them.

        Args:
          histories: Item indices, oldest first, a row for each history.

        Returns:
          float32 [rows, num_items].

        Raises:
          UserError: As `encode` does.
        """
        return self.encode(histories) @ self.item_vectors.T + self.item_bias

    def count_read(self, length: int) -> int:
        """How many of the newest items of a history of this length have a say."""
        return length if self.reads_all else min(length, self.history_length)

    def find_similar(self, items: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How near items are to others in the model: the cosine of their vectors.

        Args:
          items: Integers [n], indices.
          others: Integers [m], indices.

        Returns:
          float32 [n, m]; 0 for an item without a direction.
        """
        return _to_unit(self.item_vectors[items]) @ _to_unit(self.item_vectors[others]).T

    def recommend(self, history: Any, k: int = 10) -> pd.DataFrame:
        """Recommends by ids or titles; see `fedrec_tff.TrainedRun.recommend`."""
        return recommending.recommend(self.items, self.top_k, history, k)


def choose_nearest(similarity: np.ndarray, most: int, above: float) -> np.ndarray:
    """Chooses what is nearest to an item, as the reason of its recommendation.

    Args:
      similarity: float32 [n], how near each is, as a row of `find_similar`.
      most: Number of places, at most.
      above: What a similarity must be above to count.

    Returns:
      Integers, places, nearest first; of equal ones the first place first.
    """
    nearest = np.argsort(-similarity, kind="stable")[:most]
    return nearest[similarity[nearest] > above]


def _to_unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > _SMALLEST_NORM, vectors / np.maximum(norms, _SMALLEST_NORM), 0.0)
