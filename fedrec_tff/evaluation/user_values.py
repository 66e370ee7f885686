"""What was measured of each user, in a form that can be averaged, grouped and resampled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import item_genres, list_diversity, popularity_bias, ranking

# A metric's name without its folder and its k, and the side on which it is better: 1 for more, -1
# for less. Of all others nobody can say.
_DIRECTIONS = {
    **dict.fromkeys(("recall", "ndcg", "map", "hit_rate", "mrr"), 1),
    "miscalibration": -1,
}


@dataclasses.dataclass(frozen=True, eq=False)
class UserValues:
    """Metrics of users. The mean of some users is the sum of their totals over that of weights.

    Most weights are 1. A user of whom a metric cannot be told has a total and a weight of 0.

    Attributes:
      names: Names of the metrics.
      totals: float64 [metrics, users].
      weights: float64 [metrics, users], not negative.
    """

    names: tuple[str, ...]
    totals: np.ndarray
    weights: np.ndarray

    @property
    def num_users(self) -> int:
        """The number of users."""
        return self.totals.shape[1]

    @property
    def of_users(self) -> np.ndarray:
        """The metrics of each user: float64 [metrics, users]; NaN where one cannot be told."""
        return divide(self.totals, self.weights)

    @property
    def means(self) -> np.ndarray:
        """The metrics of all users together: float64 [metrics]; NaN where one cannot be told."""
        # One by one: a row's own sum has the rounding of `numpy.mean`.
        sums = np.array([row.sum() for row in self.totals])
        return divide(sums, np.array([row.sum() for row in self.weights]))

    def take(self, users: np.ndarray) -> UserValues:
        """Returns the values of some users.

        Args:
          users: Integers [n], in the order wanted, or bool [users].
        """
        totals, weights = self.totals[:, users], self.weights[:, users]
        return UserValues(self.names, totals, weights)

    def select(self, names: Sequence[str]) -> UserValues:
        """Returns some of the metrics.

        Args:
          names: Names of the metrics, in the order wanted.
        """
        rows = [self.names.index(name) for name in names]
        return UserValues(tuple(names), self.totals[rows], self.weights[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class KnownItems:
    """What is known of the items.

    Attributes:
      popularity: Share of training users who took each item, float64 [num_items].
      information: Bits of each item, float64 [num_items].
      vectors: Vector of each item, floating [num_items, dim]; None for none.
      genres: bool [num_items, num_genres]; None where they are not known.
    """

    popularity: np.ndarray
    information: np.ndarray
    vectors: np.ndarray | None = None
    genres: np.ndarray | None = None


def measure(
    ranks: ranking.Ranks, history: Sequences, known: KnownItems, ks: Sequence[int]
) -> UserValues:
    """Computes all metrics of each user.

    Args:
      ranks: Positions of the targets, with lists at least as long as the longest k.
      history: Histories that the lists were made for.
      known: Knowledge of the items.
      ks: Lengths of the lists.

    Returns:
      Values by the names of `ranking.evaluate` without coverage; `recommended_popularity@k`,
      `popularity_lift@k`, `history_popularity`; and, where vectors and genres are known,
      `embedding_diversity@k`, `genre_diversity@k` and `miscalibration@k`.
    """
    found = {name: (values, 1.0) for name, values in ranks.of_rows(ks).items()}
    taken = popularity_bias.mean_over_histories(history, known.popularity)
    for k in ks:
        lists = ranks.lists[:, :k]
        found[f"novelty@{k}"] = popularity_bias.sum_over_lists(lists, known.information)
        sums, counts = popularity_bias.sum_over_lists(lists, known.popularity)
        shown = divide(sums, counts)
        is_known = counts > 0
        found[f"recommended_popularity@{k}"] = (shown, is_known)
        found[f"popularity_lift@{k}"] = (shown - taken, np.where(is_known, taken, 0.0))
        if known.vectors is not None:
            found[f"embedding_diversity@{k}"] = _where_known(
                list_diversity.vector_distance(lists, known.vectors)
            )
        if known.genres is not None:
            found[f"genre_diversity@{k}"] = _where_known(
                list_diversity.genre_distance(lists, known.genres)
            )
            found[f"miscalibration@{k}"] = _where_known(
                item_genres.miscalibration(history, lists, known.genres)
            )
    found["history_popularity"] = (taken, 1.0)
    return _stack(found)


def direction(name: str) -> int:
    """Returns 1 for a metric of which more is better, -1 where less is, and 0 where nobody knows.

    Args:
      name: Name of the metric.
    """
    return _DIRECTIONS.get(name.rpartition("/")[2].partition("@")[0], 0)


def divide(totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Divides where there is something to divide by; NaN elsewhere.

    Args:
      totals: float64, of any shape.
      weights: float64, of the same shape, not negative.
    """
    return np.divide(totals, weights, out=np.full(totals.shape, np.nan), where=weights > 0)


def _where_known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values, ~np.isnan(values)


def _stack(found: Mapping[str, tuple[np.ndarray, np.ndarray | float]]) -> UserValues:
    shape = (len(found), len(next(iter(found.values()))[0]))
    totals, weights = np.zeros(shape), np.zeros(shape)
    for row, (total, weight) in enumerate(found.values()):
        weights[row] = weight
        totals[row] = np.where(weights[row] > 0, total, 0.0)
    return UserValues(tuple(found), totals, weights)
