"""How different from each other the items of a list are: the mean distance of all its pairs.

Intra-list diversity is one minus the intra-list similarity of Ziegler et al. (2005, "Improving
recommendation lists through topic diversification"), as Vargas and Castells (2011) have it, here
without discounts by position. Distances are one minus the cosine of two vectors, or one minus the
Jaccard index of two sets of genres.
"""

import numpy as np

from fedrec_tff.evaluation import recommend

_CELLS_PER_BLOCK = 2**22


def vector_distance(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Averages the cosine distances of all pairs of a list.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      vectors: Vector of each item, floating [num_items, dim]; items whose vector is zero or NaN
        are left out.

    Returns:
      float64 [rows], from 0 to 2; NaN for a list with fewer than two such items.
    """
    found = np.full(len(lists), np.nan)
    for rows in _blocks(len(lists), lists.shape[1] * vectors.shape[1]):
        listed = lists[rows]
        chosen = np.where((listed != recommend.NO_ITEM)[..., np.newaxis], vectors[listed], np.nan)
        norms = np.linalg.norm(chosen.astype(np.float64), axis=2, keepdims=True)
        is_known = norms[..., 0] > 0.0
        # A unit vector each; of what is unknown, nothing.
        unit = np.divide(chosen, norms, out=np.zeros(chosen.shape), where=is_known[..., np.newaxis])
        count = is_known.sum(axis=1)
        cosines = (np.square(unit.sum(axis=1)).sum(axis=1) - count) / 2.0
        found[rows] = _average(count * (count - 1) / 2.0 - cosines, count * (count - 1) / 2.0)
    return found


def genre_distance(lists: np.ndarray, genres: np.ndarray) -> np.ndarray:
    """Averages the Jaccard distances of all pairs of a list.

    Args:
      lists: int32 [rows, k], padded with `recommend.NO_ITEM`.
      genres: bool [num_items, num_genres]; items without a genre are left out.

    Returns:
      float64 [rows], from 0 to 1; NaN for a list with fewer than two such items.
    """
    found = np.full(len(lists), np.nan)
    length = lists.shape[1]
    is_pair = np.triu(np.ones((length, length), bool), 1)
    for rows in _blocks(len(lists), length * max(length, genres.shape[1])):
        listed = lists[rows]
        is_item = (listed != recommend.NO_ITEM)[..., np.newaxis]
        chosen = (genres[listed] & is_item).astype(np.float32)
        both = chosen @ chosen.transpose(0, 2, 1)
        size = chosen.sum(axis=2)
        either = size[:, :, np.newaxis] + size[:, np.newaxis, :] - both
        is_known = is_pair & (size > 0)[:, :, np.newaxis] & (size > 0)[:, np.newaxis, :]
        distance = 1.0 - both.astype(np.float64) / np.maximum(either, 1.0)
        sums = np.where(is_known, distance, 0.0).sum(axis=(1, 2))
        found[rows] = _average(sums, is_known.sum(axis=(1, 2)).astype(np.float64))
    return found


def _blocks(num_rows: int, cells_per_row: int) -> list[slice]:
    size = max(1, _CELLS_PER_BLOCK // max(cells_per_row, 1))
    return [slice(start, start + size) for start in range(0, num_rows, size)]


def _average(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0.0)
