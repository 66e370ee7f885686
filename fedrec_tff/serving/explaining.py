"""Recommendations with a reason: the items of the history that are nearest to each.

Nearness is the cosine of two items' vectors in the model. It says what the model takes for alike,
which is most of why it recommends; a tower that reads an order may have had other reasons.
"""

# Tested in tests/serving/test_explaining.py.

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.serving.history_files import NamedHistory
from fedrec_tff.serving.recommender import Recommender, choose_nearest


@dataclasses.dataclass(frozen=True)
class Item:
    """An item as people know it.

    Attributes:
      item: Raw id; a number where the data had numbers.
      title: Title; None where items have none.
    """

    item: Any
    title: str | None

    def __str__(self) -> str:
        return str(self.item) if self.title is None else self.title


@dataclasses.dataclass(frozen=True)
class Reason:
    """An item of a history that is near to a recommended one.

    Attributes:
      because: The item.
      similarity: Cosine of both items' vectors, above 0.
    """

    because: Item
    similarity: float


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A line of a table of recommendations.

    Attributes:
      history: Name of the history.
      rank: Place in the list, from 1.
      recommended: The item.
      score: Score, which orders the items of one history and has no unit.
      reasons: The nearest items of the history, nearest first; those that point away are none.
    """

    history: str
    rank: int
    recommended: Item
    score: float
    reasons: tuple[Reason, ...]


def recommend(
    model: Recommender,
    histories: Sequence[NamedHistory],
    k: int,
    num_reasons: int,
    skips_unknown: bool = False,
) -> list[Recommendation]:
    """Recommends for histories, and says what each recommended item is near to.

    Args:
      model: What recommends.
      histories: The histories.
      k: Number of items for each, at most.
      num_reasons: Number of reasons for each item, at most.
      skips_unknown: Whether what the model does not know is left out of a history.

    Returns:
      The lines of all histories, in their order, best first.

    Raises:
      UserError: If an item is unknown or ambiguous; the message names the history where there are
        several, and similar names.
    """
    found = [_find(model, history, len(histories) > 1, skips_unknown) for history in histories]
    rows = sequences.from_rows(found)
    # No list is longer than the catalogue.
    items, scores = model.top_k(rows, min(k, len(model.items.ids)))
    lines = []
    for row, history in enumerate(histories):
        is_item = items[row] != NO_ITEM
        best, known = items[row, is_item], np.unique(found[row])
        near = model.find_similar(best, known)
        lines += [
            Recommendation(
                history.name,
                place + 1,
                _describe(model, index),
                float(scores[row, place]),
                _find_reasons(model, known, near[place], num_reasons),
            )
            for place, index in enumerate(best)
        ]
    return lines


def _find(
    model: Recommender, history: NamedHistory, names_it: bool, skips_unknown: bool
) -> np.ndarray:
    found = []
    for name in history.items:
        try:
            found.append(model.items.find([name])[0])
        except errors.UserError as error:
            if not skips_unknown:
                raise (_name_history(error, history) if names_it else error) from None
    return np.array(found, np.int32)


def _name_history(error: errors.UserError, history: NamedHistory) -> errors.UserError:
    return errors.UserError(f"history {history.name}: {str(error).removeprefix('history: ')}")


def _find_reasons(
    model: Recommender, known: np.ndarray, near: np.ndarray, num_reasons: int
) -> tuple[Reason, ...]:
    return tuple(
        Reason(_describe(model, known[place]), float(near[place]))
        for place in choose_nearest(near, num_reasons, above=0.0)
    )


def _describe(model: Recommender, index: int) -> Item:
    columns = model.items.describe(np.array([index]))
    title = columns.get("title")
    return Item(columns["item"].tolist()[0], None if title is None else str(title[0]))
