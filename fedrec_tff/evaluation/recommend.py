"""Recommendations of a scorer: the best items that a user doesn't have yet."""

from collections.abc import Iterator

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import scoring

NO_ITEM = -1
# Rows of many items for the length of their list are looked through by the maxima of chunks.
_CHUNK, _CHUNKS_PER_ITEM = 512, 4


def top_k(
    score_fn: scoring.ScoreFn,
    history: Sequences,
    num_items: int,
    k: int,
    block_rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the items with the highest scores that are not in the row's history.

    Args:
      score_fn: Takes histories, returns scores, float32 [rows, num_items].
      history: The rows to recommend for.
      num_items: Size of the catalogue.
      k: Length of the lists, at least 1.
      block_rows: How many rows to score at a time; None bounds the memory instead.

    Returns:
      Items, int32 [rows, k], best first and on equal scores the smaller index first; and their
      scores, float32 [rows, k]. Where a row has fewer than k items left, `NO_ITEM` with a score
      of minus infinity.

    Raises:
      UserError: If k is not positive.
      ValueError: If the scorer returns another shape or NaN.
    """
    if k < 1:
        raise UserError(f"a list of recommendations needs at least one item, found k={k}")
    items = np.full((history.num_rows, k), NO_ITEM, np.int32)
    scores = np.full((history.num_rows, k), -np.inf, np.float32)
    for rows, block in scoring.score_blocks(score_fn, history, num_items, block_rows):
        block[scoring.entries_of(history, rows)] = np.nan
        best = best_items(block, k)
        is_item = best != NO_ITEM
        items[rows] = best
        scores[rows] = np.where(is_item, np.take_along_axis(block, best, axis=1), -np.inf)
    return items, scores


def best_items(scores: np.ndarray, k: int) -> np.ndarray:
    """Finds the items with the highest scores in each row.

    Args:
      scores: Scores, floating [rows, num_items]; NaN for what is no candidate.
      k: Length of the lists, at least 1.

    Returns:
      Items as `top_k` returns them, int32 [rows, k].
    """
    items = np.full((len(scores), k), NO_ITEM, np.int32)
    shortlist = _shortlist_narrow if scores.shape[1] < _CHUNK * _CHUNKS_PER_ITEM * k else _shortlist
    for row, kept in enumerate(shortlist(scores, k)):
        # A stable sort leaves the smaller of two indices first.
        best = kept[np.argsort(-scores[row, kept], kind="stable")][:k]
        items[row, : len(best)] = best
    return items


def _shortlist_narrow(scores: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Finds the items that are not worse than the row's k-th best, ascending, row by row."""
    # Negated, for ascending sorts, in which NaN comes behind everything.
    costs = -scores
    last = min(k, costs.shape[1]) - 1
    worst_kept = np.partition(costs, last, axis=1)[:, last]
    for cost, worst in zip(costs, worst_kept, strict=True):
        yield np.flatnonzero(~np.isnan(cost) if np.isnan(worst) else cost <= worst)


def _shortlist(scores: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Finds items that have the k best among them, ascending, row by row, in one pass over each.

    The k-th largest of the maxima of chunks is a bound on the k-th best score: chunks below it hold
    none of the best. Of chunks whose maximum is the bound itself the first k are enough, since each
    has an item of that score, and the smaller index goes first.
    """
    num_whole = scores.shape[1] // _CHUNK
    ends = np.arange(num_whole * _CHUNK, scores.shape[1])
    for values in scores:
        # The maximum of numbers and NaN is a number; of NaN alone, NaN.
        maxima = np.fmax.reduce(values[: len(values) - len(ends)].reshape(-1, _CHUNK), axis=1)
        bound = -np.partition(-maxima, k - 1)[k - 1]
        if np.isnan(bound):
            yield np.flatnonzero(~np.isnan(values))
            continue
        chunks = np.concatenate(
            [np.flatnonzero(maxima > bound), np.flatnonzero(maxima == bound)[:k]]
        )
        chunks.sort()
        near = (chunks[:, np.newaxis] * _CHUNK + np.arange(_CHUNK)).ravel()
        near = np.concatenate([near, ends])
        yield near[values[near] >= bound]
