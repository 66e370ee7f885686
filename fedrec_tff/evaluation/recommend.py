"""Recommendations of a scorer: the best items that a user doesn't have yet."""

import numpy as np

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.errors import UserError
from fedrec_tff.evaluation import scoring

NO_ITEM = -1


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
    # Negated, for ascending sorts, in which NaN comes behind everything.
    costs = -scores
    last = min(k, costs.shape[1]) - 1
    worst_kept = np.partition(costs, last, axis=1)[:, last]
    for row, (cost, worst) in enumerate(zip(costs, worst_kept, strict=True)):
        kept = np.flatnonzero(~np.isnan(cost) if np.isnan(worst) else cost <= worst)
        best = kept[np.argsort(cost[kept], kind="stable")][:k]
        items[row, : len(best)] = best
    return items
