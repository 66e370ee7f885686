"""The genres of items, and whether lists have the mix of genres that their readers took.

Calibration is Steck's (2018, "Calibrated recommendations"): p(g|u) is the mean of p(g|i) over the
history, q(g|u) the same over the list, with p(g|i) evenly over the genres of an item. What is
measured is the Kullback-Leibler divergence of p from q smoothed with 0.01 of p, in nats: 0 for the
same mix, at most log(100) = 4.6. Histories are not weighted by age.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import recommend

_SEPARATOR = "|"
_SMOOTHING = 0.01


def read_genres(texts: Sequence[str]) -> np.ndarray:
    """Reads the genres of items.

    Args:
      texts: Genres of each item, separated by `|`; empty for none that are known.

    Returns:
      bool [num_items, num_genres], genres in the order of their names.
    """
    sets = [{part.strip() for part in text.split(_SEPARATOR)} - {""} for text in texts]
    names = {name: index for index, name in enumerate(sorted(set().union(*sets)))}
    genres = np.zeros((len(sets), len(names)), bool)
    for row, found in enumerate(sets):
        genres[row, [names[name] for name in found]] = True
    return genres


def miscalibration(history: Sequences, lists: np.ndarray, genres: np.ndarray) -> np.ndarray:
    """Measures how far the genres of each list are from those of its history.

    Args:
      history: Histories.
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      genres: bool [num_items, num_genres].

    Returns:
      Divergences in nats, float64 [rows], 0 for the same mix; NaN where a history or a list has
      no item whose genres are known.
    """
    wanted = _mix(history.row_index, history.items, history.num_rows, genres)
    rows, places = np.nonzero(lists != recommend.NO_ITEM)
    got = _mix(rows, lists[rows, places], len(lists), genres)
    smoothed = (1.0 - _SMOOTHING) * got + _SMOOTHING * wanted
    is_wanted = wanted > 0.0
    ratio = np.divide(wanted, smoothed, out=np.ones_like(wanted), where=is_wanted)
    found = np.sum(wanted * np.log(ratio), axis=1)
    is_known = is_wanted.any(axis=1) & (got > 0.0).any(axis=1)
    # Rounding may leave less than nothing.
    return np.where(is_known, np.maximum(found, 0.0), np.nan)


def _mix(row: np.ndarray, item: np.ndarray, num_rows: int, genres: np.ndarray) -> np.ndarray:
    """The distribution over genres of each row: float64 [rows, genres]; 0 where none is known."""
    counts = scipy.sparse.csr_matrix(
        (np.ones(len(row)), (row, item)), shape=(num_rows, len(genres))
    )
    shares = genres / np.maximum(genres.sum(axis=1, keepdims=True), 1)
    sums = counts @ shares
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
