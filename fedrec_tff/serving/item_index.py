"""An approximate search among the items: an index by `index_libraries`, and what it misses.

The bias of an item is one more dimension of its vector, which queries have a one in.
"""

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.serving import index_libraries, made_up_histories
from fedrec_tff.serving.index_libraries import FAISS, HNSWLIB
from fedrec_tff.serving.recommender import Recommender

NUM_COMPARED = 10

# Recall is written down to so many decimals, rounded down.
_DECIMALS = 10**4
_INDEX, _ABOUT = "items.index", "index.json"


@dataclasses.dataclass(frozen=True)
class About:
    """What is written beside an index.

    Attributes:
      kind: One of `index_libraries.NAMES`.
      recall: Part of the exact first ten items, on made-up histories, that the index finds;
        rounded down.
    """

    kind: str
    recall: float


class IndexedRecommender(Recommender):
    """Recommends by a search that may miss items, and scores exactly what it finds."""

    def __init__(self, exact: Recommender, kind: str, index: Any) -> None:
        """Wraps an index.

        Args:
          exact: Recommender of the same model, which encodes histories.
          kind: One of `index_libraries.NAMES`.
          index: The library's own object.
        """
        self.items, self.history_length = exact.items, exact.history_length
        self.reads_all = exact.reads_all
        self._exact, self._index, self._library = exact, index, index_libraries.load(kind)
        self._rows = create_rows(exact)

    def top_k(self, histories: Sequences, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender`; an item that the search misses is not in the list."""
        if k < 1:
            raise errors.UserError(
                f"a list of recommendations needs at least one item, found k={k}"
            )
        items = np.full((histories.num_rows, k), NO_ITEM, np.int32)
        scores = np.full((histories.num_rows, k), -np.inf, np.float32)
        for row, query in enumerate(_add_one(self._exact.encode(histories))):
            history = histories.row(row)
            count = min(k + len(np.unique(history)), len(self._rows))
            found = self._library.search(self._index, query, count)
            found = np.setdiff1d(found, history)
            score = self._rows[found] @ query
            best = np.argsort(-score, kind="stable")[:k]
            items[row, : len(best)], scores[row, : len(best)] = found[best], score[best]
        return items, scores

    def encode(self, histories: Sequences) -> np.ndarray:
        """See `Recommender`."""
        return self._exact.encode(histories)

    @property
    def item_vectors(self) -> np.ndarray:
        """See `Recommender`."""
        return self._exact.item_vectors

    @property
    def item_bias(self) -> np.ndarray:
        """See `Recommender`."""
        return self._exact.item_bias


def create_rows(model: Recommender) -> np.ndarray:
    """What an index is made of: vectors with the bias as their last entry, [num_items, dim + 1]."""
    rows = np.concatenate([model.item_vectors, model.item_bias[:, np.newaxis]], axis=1)
    return np.ascontiguousarray(rows, np.float32)


def write(exact: Recommender, kind: str, folder: pathlib.Path) -> About:
    """Makes an index of a model's items, and measures what it misses.

    Args:
      exact: Recommender of the model.
      kind: One of `index_libraries.NAMES`.
      folder: Folder that is to hold the index; made here.

    Returns:
      What was written beside it.

    Raises:
      UserError: If the library is not installed.
    """
    library = index_libraries.load(kind)
    index = library.build(create_rows(exact))
    folder.mkdir()
    library.save(index, folder / _INDEX)
    about = About(kind, measure_recall(exact, IndexedRecommender(exact, kind, index)))
    (folder / _ABOUT).write_text(f"{json.dumps(dataclasses.asdict(about), indent=2)}\n")
    return about


def read(exact: Recommender, folder: pathlib.Path) -> IndexedRecommender:
    """Opens what `write` wrote.

    Args:
      exact: Recommender of the same model.
      folder: Folder of the index.

    Returns:
      What recommends by the index.

    Raises:
      UserError: If there is none, it cannot be read, or its library is not installed.
    """
    if not folder.is_dir():
        raise errors.UserError(
            f"there is no {folder}: export the run with --index={HNSWLIB} or --index={FAISS}"
        )
    try:
        about = About(**json.loads((folder / _ABOUT).read_text()))
        library = index_libraries.load(about.kind)
        index = library.load(folder / _INDEX, exact.item_vectors.shape[1] + 1)
    except errors.UserError:
        raise
    # Each library has its own errors for a file that is damaged.
    except Exception as error:
        raise errors.UserError(
            f"{folder} cannot be read as an index: export the run again"
        ) from error
    return IndexedRecommender(exact, about.kind, index)


def measure_recall(exact: Recommender, indexed: IndexedRecommender) -> float:
    """Measures what an index finds of the exact lists, on made-up histories.

    Args:
      exact: Recommender of the model.
      indexed: Recommender of the same model, by the index.

    Returns:
      The part of the exact first ten items that the index finds; rounded down.
    """
    histories = made_up_histories.create(len(exact.item_bias), exact.history_length)
    expected, found = (model.top_k(histories, NUM_COMPARED)[0] for model in (exact, indexed))
    overlap = made_up_histories.measure_overlap(found, expected)
    return math.floor(overlap * _DECIMALS) / _DECIMALS


def _add_one(query: np.ndarray) -> np.ndarray:
    return np.concatenate([query, np.ones_like(query[:, :1])], axis=1)
