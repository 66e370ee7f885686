"""What lists of recommendations are like, whoever wanted what: coverage and novelty.

Catalogue coverage at k is the fraction of the catalogue that stands in anybody's list of k
(aggregate diversity: Ge, Delgado-Battenfeld and Jannach 2010, "Beyond accuracy"). Novelty at k is
the mean over all places of all lists of the self-information of the item there, -log2(p), with p
the fraction of the training users who took it (Zhou et al. 2010, "Solving the apparent
diversity-accuracy dilemma of recommender systems"; Vargas and Castells 2011 without their discount
by position). An item that nobody took counts as if one user had: its information would be infinite.
"""

from collections.abc import Sequence

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
    pairs = np.unique(train.row_index.astype(np.int64) * num_items + train.items)
    counts = np.bincount(pairs % num_items, minlength=num_items)
    return np.log2(max(train.num_rows, 1)) - np.log2(np.maximum(counts, 1))


class ListStatistics:
    """Gathers lists, block by block."""

    def __init__(self, information: np.ndarray, ks: Sequence[int]) -> None:
        """Begins with no list.

        Args:
            information: Bits of each item, float64 [num_items], from `information_of_items`.
            ks: Lengths of the lists.
        """
        self._information = information
        self._is_listed = {k: np.zeros(len(information), bool) for k in ks}
        self._bits = dict.fromkeys(ks, 0.0)
        self._places = dict.fromkeys(ks, 0)

    def add(self, scores: np.ndarray) -> None:
        """Adds the lists of some rows.

        Args:
            scores: Scores, floating [rows, num_items]; NaN for what is no candidate.
        """
        lists = recommend.best_items(scores, max(self._is_listed))
        for k, is_listed in self._is_listed.items():
            listed = lists[:, :k]
            listed = listed[listed != recommend.NO_ITEM]
            is_listed[listed] = True
            self._bits[k] += float(self._information[listed].sum())
            self._places[k] += len(listed)

    def metrics(self) -> dict[str, float]:
        """Returns `coverage@k` and `novelty@k` for each k."""
        found = {}
        for k, is_listed in self._is_listed.items():
            found[f"coverage@{k}"] = float(is_listed.mean())
            found[f"novelty@{k}"] = self._bits[k] / max(self._places[k], 1)
        return found
