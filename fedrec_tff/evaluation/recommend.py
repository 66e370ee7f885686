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
        # Negated, for ascending sorts; NaN marks what the user has, and sorts behind everything.
        costs = -block
        costs[scoring.entries_of(history, rows)] = np.nan
        last = min(k, num_items) - 1
        worst_kept = np.partition(costs, last, axis=1)[:, last]
        for row, cost, worst in zip(rows, costs, worst_kept, strict=True):
            kept = np.flatnonzero(~np.isnan(cost) if np.isnan(worst) else cost <= worst)
            best = kept[np.argsort(cost[kept], kind="stable")][:k]
            items[row, : len(best)] = best
            scores[row, : len(best)] = -cost[best]
    return items, scores
