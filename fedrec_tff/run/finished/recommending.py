"""From histories as people write them to a table of recommendations."""

# Tested in tests/notebook/test_front_door.py.

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import recommend as recommend_lib
from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.run.finished import item_catalogue

# Takes histories and k; returns items and scores, as `evaluation.recommend.top_k` does.
TopKFn = Callable[[Sequences, int], tuple[np.ndarray, np.ndarray]]


def rank_all(score_fn: ScoreFn, num_items: int) -> TopKFn:
    """Finds the best of all items by their scores; see `evaluation.recommend.top_k`."""
    return lambda histories, k: recommend_lib.top_k(score_fn, histories, num_items, k)


def recommend(
    items: item_catalogue.ItemCatalogue, top_k_fn: TopKFn, history: Any, k: int
) -> pd.DataFrame:
    """Recommends items that are not in a history; see `TrainedRun.recommend`.

    Args:
      items: The catalogue.
      top_k_fn: Function from histories to the best items, such as `rank_all` makes.
      history: Raw ids or titles, oldest first; or several such histories.
      k: Number of items for each history, at most.

    Returns:
      A row for each item: `history` where there are several, `item`, `title` where items have
      titles, and `score`.

    Raises:
      UserError: If an item is unknown or ambiguous, or k is no whole number of at least 1.
    """
    if not isinstance(k, numbers.Integral) or isinstance(k, bool):
        raise errors.UserError(f"k={k!r}: must be a whole number")
    several = item_catalogue.split_histories(history)
    names, histories = (range(1), [list(history)]) if several is None else several
    rows = sequences.from_rows([items.find(part) for part in histories])
    # No list is longer than the catalogue.
    found, scores = top_k_fn(rows, min(int(k), len(items.ids)))
    row, place = np.nonzero(found != recommend_lib.NO_ITEM)
    table = pd.DataFrame({**items.describe(found[row, place]), "score": scores[row, place]})
    if several is not None:
        table.insert(0, "history", pd.Series([names[index] for index in row], dtype=object))
        table = table.infer_objects()
    return table
