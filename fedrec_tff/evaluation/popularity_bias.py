"""Whether lists are of more popular items than their readers took themselves.

The popularity of an item is the share of training users who took it. Average recommendation
popularity is its mean over a list (ARP: Yin et al. 2012, "Challenging the long tail
recommendation"); the popularity lift compares the mean of the lists with that of the histories
(Abdollahpouri et al. 2019, "The unfairness of popularity bias in recommendation", their delta GAP).
"""

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import recommend


def popularity_of_items(train: Sequences, num_items: int) -> np.ndarray:
    """Returns the share of training users who took each item.

    Args:
      train: Training sequences; that a user took an item several times counts once.
      num_items: Size of the catalogue.

    Returns:
      float64 [num_items], in [0, 1].
    """
    return train.count_takers(num_items) / max(train.num_rows, 1)


def find_popular(popularity: np.ndarray, fraction: float) -> np.ndarray:
    """Finds the items that are most popular.

    Args:
      popularity: Popularity of each item, float64 [num_items].
      fraction: Fraction of the catalogue that is called popular; at least one item is. Of items
        that tie, those with the smaller index.

    Returns:
      bool [num_items].
    """
    count = max(1, round(fraction * len(popularity)))
    is_popular = np.zeros(len(popularity), bool)
    is_popular[np.argsort(-popularity, kind="stable")[:count]] = True
    return is_popular


def sum_over_lists(lists: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds up something over the items of each list.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      values: Value of each item, [num_items].

    Returns:
      The sums, float64 [rows], and the number of items in each list, int64 [rows].
    """
    is_listed = lists != recommend.NO_ITEM
    found = np.where(is_listed, np.asarray(values, np.float64)[lists], 0.0)
    return found.sum(axis=1), is_listed.sum(axis=1)


def mean_over_histories(history: Sequences, values: np.ndarray) -> np.ndarray:
    """Averages something over the items of each history.

    Args:
      history: Histories; an item that is there several times counts as often.
      values: Value of each item, [num_items].

    Returns:
      float64 [rows]; 0 for an empty history.
    """
    found = np.asarray(values, np.float64)[history.items]
    sums = np.bincount(history.row_index, found, minlength=history.num_rows)
    return sums / np.maximum(history.lengths, 1)
