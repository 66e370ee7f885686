"""What the page asks, and what it is told: from plain values to plain values, which are JSON's.

Items are named by their raw ids, which two models have in common where they were trained on the
same items. Nothing that is answered is about a user: a history is what somebody has put together on
the page, and an example of one is made of items alone.
"""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.serving.playground import item_search
from fedrec_tff.serving.playground.shown_model import Recommendation, ShownModel

MAX_HITS = 20
MAX_K = 100
MAX_HISTORY = 200
MAX_TEXT = 200
_EXAMPLE_LENGTH = 5
# An example's items are some of the nearest among so many.
_NUM_NEAREST, _NUM_DRAWN = 20, 2_000


class Playground:
    """One or more models, and the items that any of them knows."""

    def __init__(self, models: Sequence[ShownModel], seed: int | None = None) -> None:
        """Prepares what is asked often.

        Args:
          models: The models, at least one.
          seed: Seed of the examples; None for others at each start.
        """
        self._models = list(models)
        self._items = _merge_items(models)
        self._ids = list(self._items)
        titles = [item["title"] for item in self._items.values()]
        self._search = item_search.ItemSearch(self._ids, titles)
        self._random = random.Random(seed)

    def describe(self) -> dict[str, Any]:
        """The models, and the limits of what may be asked."""
        return {
            "num_items": len(self._items),
            "max_k": MAX_K,
            "max_history": MAX_HISTORY,
            "models": [_describe_model(model) for model in self._models],
        }

    def search(self, text: str) -> dict[str, Any]:
        """Finds items by a part of their title, or by id.

        Args:
          text: What was typed.

        Returns:
          `hits`, items, and `num_found`, how many there are in all.

        Raises:
          UserError: If the text is too long.
        """
        if len(text) > MAX_TEXT:
            raise errors.UserError(f"search with {MAX_TEXT} characters at most")
        found, count = self._search.find(text, MAX_HITS)
        return {"hits": [self._items[self._ids[index]] for index in found], "num_found": count}

    def create_example(self) -> dict[str, Any]:
        """Makes up a history: an item that is drawn, and some that the first model has near it.

        Returns:
          `history`, items, oldest first. It is nobody's: no user's data are read.
        """
        model = self._models[0]
        ids = model.recommender.items.ids
        drawn = self._random.sample(range(len(ids)), min(_NUM_DRAWN, len(ids)))
        seed, others = drawn[0], np.array(drawn[1:], np.int32)
        [near] = model.recommender.find_similar(np.array([seed], np.int32), others)
        nearest = others[np.argsort(-near, kind="stable")[:_NUM_NEAREST]].tolist()
        chosen = self._random.sample(nearest, min(_EXAMPLE_LENGTH - 1, len(nearest)))
        return {"history": [self._items[ids[index]] for index in (*chosen, seed)]}

    def recommend(self, history: Any, k: Any) -> dict[str, Any]:
        """Recommends by each model.

        Args:
          history: Raw ids, oldest first.
          k: Number of items.

        Returns:
          `history`, its items; `unknown`, ids that no model knows; and `lists`, one for each model:
          `items` with their score, their weight beside the first one, the reasons and, under
          `places`, where they are in the other lists; `not_known`, what this model does not know of
          the history; and `num_read`, how many of the newest items it reads.

        Raises:
          UserError: If the request is malformed or too large.
        """
        _check_history(history)
        _check_k(k)
        known = [raw_id for raw_id in history if raw_id in self._items]
        lists = [self._recommend(model, known, k) for model in self._models]
        places = [_number_items(found["items"]) for found in lists]
        for number, found in enumerate(lists):
            others = [place for other, place in enumerate(places) if other != number]
            for item in found["items"]:
                item["places"] = [place.get(item["id"]) for place in others]
        return {
            "history": [self._items[raw_id] for raw_id in known],
            "unknown": [raw_id for raw_id in history if raw_id not in self._items],
            "lists": lists,
        }

    def _recommend(self, model: ShownModel, history: Sequence[str], k: int) -> dict[str, Any]:
        indices = model.index_of_id
        row = [indices[raw_id] for raw_id in history if raw_id in indices]
        found = model.recommend(row, k)
        best = found[0].score if found else 0.0
        return {
            "items": [self._describe(model, one, best) for one in found],
            "not_known": [raw_id for raw_id in history if raw_id not in indices],
            "num_read": model.recommender.count_read(len(row)),
        }

    def _describe(self, model: ShownModel, found: Recommendation, best: float) -> dict[str, Any]:
        ids = model.recommender.items.ids
        reasons = [
            {**self._items[ids[reason.index]], "similarity": reason.similarity}
            for reason in found.reasons
        ]
        return {
            **self._items[ids[found.index]],
            "score": found.score,
            "weight": math.exp(found.score - best),
            "why": reasons,
        }


def _merge_items(models: Iterable[ShownModel]) -> dict[str, dict[str, Any]]:
    """What is shown of the items that any model knows, by raw id; the first model tells first."""
    merged: dict[str, dict[str, Any]] = {}
    for model in models:
        items = model.recommender.items
        titles = items.ids if items.titles is None else items.titles
        genres = [""] * len(items.ids) if items.genres is None else items.genres
        for raw_id, title, genre in zip(items.ids, titles, genres, strict=True):
            item = merged.setdefault(raw_id, {"id": raw_id, "title": title, "genres": []})
            item["genres"] = item["genres"] or _split(genre)
    return merged


def _split(genres: str) -> list[str]:
    return [part.strip() for part in genres.split("|") if part.strip()]


def _describe_model(model: ShownModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "num_items": len(model.recommender.items.ids),
        "history_length": model.recommender.history_length,
        "is_private": model.promise.is_private,
        "summary": model.promise.summary,
        "statement": model.promise.statement,
    }


def _number_items(items: Iterable[dict[str, Any]]) -> dict[str, int]:
    return {item["id"]: place for place, item in enumerate(items, 1)}


def _check_history(history: Any) -> None:
    if not isinstance(history, list) or not all(isinstance(part, str) for part in history):
        raise errors.UserError("history: a list of item ids is needed, each a text")
    if len(history) > MAX_HISTORY:
        raise errors.UserError(f"history: {MAX_HISTORY} items at most, found {len(history)}")


def _check_k(k: Any) -> None:
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MAX_K:
        raise errors.UserError(f"k: a whole number from 1 to {MAX_K} is needed")
