"""An approximate search among the items: a graph of near neighbours, by hnswlib or faiss.

Both are HNSW (Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search
using hierarchical navigable small world graphs", arXiv 1603.09320). The bias of an item is one more
dimension of its vector, which queries have a one in. They are extras: `requirements-serving.txt`.
"""

import abc
import dataclasses
import importlib
import json
import math
import pathlib
from types import ModuleType
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.serving import made_up_histories
from fedrec_tff.serving.recommender import Recommender

HNSWLIB, FAISS = "hnswlib", "faiss"
KINDS = (HNSWLIB, FAISS)
NUM_COMPARED = 10
REQUIREMENTS = "requirements-serving.txt"

_NEIGHBOURS, _EFFORT_OF_BUILDING, _EFFORT_OF_SEARCH = 32, 200, 128
_SEED = 0
# Recall is written down to so many decimals, rounded down.
_DECIMALS = 10**4
_INDEX, _ABOUT = "items.index", "index.json"


@dataclasses.dataclass(frozen=True)
class About:
    """What is written beside an index.

    Attributes:
      kind: One of `KINDS`.
      recall: Part of the exact first ten items, on made-up histories, that the index finds;
        rounded down.
    """

    kind: str
    recall: float


class _Library(abc.ABC):
    """What both libraries do: vectors to a graph, queries to items and products."""

    @abc.abstractmethod
    def build(self, vectors: np.ndarray) -> Any:
        """Makes an index of float32 [num_items, width]."""

    @abc.abstractmethod
    def save(self, index: Any, path: pathlib.Path) -> None:
        """Writes an index."""

    @abc.abstractmethod
    def load(self, path: pathlib.Path, width: int) -> Any:
        """Reads an index."""

    @abc.abstractmethod
    def search(self, index: Any, query: np.ndarray, count: int) -> np.ndarray:
        """Items that are near to one query, float32 [width]: integers, at most `count`."""


class _Hnswlib(_Library):
    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def build(self, vectors: np.ndarray) -> Any:
        index = self._module.Index("ip", vectors.shape[1])
        # One thread: with several, which vector comes first is up to chance.
        index.set_num_threads(1)
        index.init_index(
            len(vectors),
            M=_NEIGHBOURS,
            ef_construction=_EFFORT_OF_BUILDING,
            random_seed=_SEED,
        )
        index.add_items(vectors, np.arange(len(vectors)))
        return index

    def save(self, index: Any, path: pathlib.Path) -> None:
        index.save_index(str(path))

    def load(self, path: pathlib.Path, width: int) -> Any:
        index = self._module.Index("ip", width)
        index.load_index(str(path))
        return index

    def search(self, index: Any, query: np.ndarray, count: int) -> np.ndarray:
        while count:
            index.set_ef(max(_EFFORT_OF_SEARCH, count))
            try:
                found = index.knn_query(query[np.newaxis], count, num_threads=1)[0][0]
                return found.astype(np.int64)
            except RuntimeError:
                # So many cannot be reached from where the search begins.
                count //= 2
        return np.zeros(0, np.int64)


class _Faiss(_Library):
    def __init__(self, module: ModuleType) -> None:
        self._module = module
        module.omp_set_num_threads(1)

    def build(self, vectors: np.ndarray) -> Any:
        index = self._module.IndexHNSWFlat(
            vectors.shape[1], _NEIGHBOURS, self._module.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = _EFFORT_OF_BUILDING
        index.add(vectors)
        return index

    def save(self, index: Any, path: pathlib.Path) -> None:
        self._module.write_index(index, str(path))

    def load(self, path: pathlib.Path, width: int) -> Any:
        del width
        return self._module.read_index(str(path))

    def search(self, index: Any, query: np.ndarray, count: int) -> np.ndarray:
        index.hnsw.efSearch = max(_EFFORT_OF_SEARCH, count)
        found = index.search(query[np.newaxis], count)[1][0]
        return found[found >= 0]


_LIBRARIES = {HNSWLIB: _Hnswlib, FAISS: _Faiss}


def check_installed(kind: str) -> None:
    """Checks that a library is there.

    Args:
      kind: One of `KINDS`.

    Raises:
      UserError: If it is not; the message says how to install it.
    """
    _import(kind)


class IndexedRecommender(Recommender):
    """Recommends by a search that may miss items, and scores exactly what it finds."""

    def __init__(self, exact: Recommender, kind: str, index: Any) -> None:
        """Wraps an index.

        Args:
          exact: Recommender of the same model, which encodes histories.
          kind: One of `KINDS`.
          index: The library's own object.
        """
        self.items, self.history_length = exact.items, exact.history_length
        self._exact, self._index, self._library = exact, index, _import(kind)
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
      kind: One of `KINDS`.
      folder: Folder that is to hold the index; made here.

    Returns:
      What was written beside it.

    Raises:
      UserError: If the library is not installed.
    """
    library = _import(kind)
    index = library.build(create_rows(exact))
    folder.mkdir()
    library.save(index, folder / _INDEX)
    about = About(kind, _measure_recall(exact, IndexedRecommender(exact, kind, index)))
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
        library = _import(about.kind)
        index = library.load(folder / _INDEX, exact.item_vectors.shape[1] + 1)
    except errors.UserError:
        raise
    # Each library has its own errors for a file that is damaged.
    except Exception as error:
        raise errors.UserError(
            f"{folder} cannot be read as an index: export the run again"
        ) from error
    return IndexedRecommender(exact, about.kind, index)


def _measure_recall(exact: Recommender, indexed: IndexedRecommender) -> float:
    histories = made_up_histories.create(len(exact.item_bias), exact.history_length)
    expected, found = (model.top_k(histories, NUM_COMPARED)[0] for model in (exact, indexed))
    overlap = made_up_histories.measure_overlap(found, expected)
    return math.floor(overlap * _DECIMALS) / _DECIMALS


def _import(kind: str) -> _Library:
    try:
        return _LIBRARIES[kind](importlib.import_module(kind))
    except ImportError as error:
        raise errors.UserError(
            f"--index={kind} needs the package {kind}, which is not installed: "
            f"pip install --no-deps -r {REQUIREMENTS}"
        ) from error


def _add_one(query: np.ndarray) -> np.ndarray:
    return np.concatenate([query, np.ones_like(query[:, :1])], axis=1)
