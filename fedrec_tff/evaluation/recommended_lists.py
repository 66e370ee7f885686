"""What lists of recommendations are like, whoever wanted what: coverage and novelty.

Catalogue coverage at k is the fraction of the catalogue that stands in anybody's list of k
(aggregate diversity: Ge, Delgado-Battenfeld and Jannach 2010, "Beyond accuracy"). Novelty at k is
the mean over all places of all lists of the self-information of the item there, -log2(p), with p
the fraction of the training users who took it (Zhou et al. 2010, "Solving the apparent
diversity-accuracy dilemma of recommender systems"; Vargas and Castells 2011 without their discount
by position). An item that nobody took counts as if one user had: its information would be infinite.
"""

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import recommend


def information_of_items(train: Sequences, num_items: int) -> np.ndarray:
    """Returns each item's self-information in bits.

    Args:
      train: Training sequences; that a user took an item several times counts once.
      num_items: Size of the catalogue.

    Returns:
      float64 [num_items], not negative.
    """
    counts = train.count_takers(num_items)
    return np.log2(max(train.num_rows, 1)) - np.log2(np.maximum(counts, 1))


def coverage(lists: np.ndarray, num_items: int) -> float:
    """Returns the fraction of the catalogue that stands in any of the lists.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      num_items: Size of the catalogue.
    """
    return float(np.count_nonzero(count_exposures(lists, num_items)) / num_items)


def count_exposures(lists: np.ndarray, num_items: int) -> np.ndarray:
    """Counts the lists that each item stands in.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      num_items: Size of the catalogue.

    Returns:
      int64 [num_items].
    """
    return np.bincount(lists[lists != recommend.NO_ITEM], minlength=num_items)


def novelty(lists: np.ndarray, information: np.ndarray) -> float:
    """Returns the mean information at all places of all lists, in bits.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      information: Bits of each item, float64 [num_items], from `information_of_items`.
    """
    listed = lists[lists != recommend.NO_ITEM]
    return float(information[listed].sum() / max(len(listed), 1))
