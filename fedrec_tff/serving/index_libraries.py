"""The libraries of an approximate search, which are extras: `requirements-serving.txt`.

Both make a graph of near neighbours, HNSW (Malkov and Yashunin 2018, "Efficient and robust
approximate nearest neighbor search using hierarchical navigable small world graphs", arXiv
1603.09320).
"""

# Tested in tests/serving/test_item_index.py.

import abc
import importlib
import pathlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from fedrec_tff import errors

HNSWLIB, FAISS = "hnswlib", "faiss"
NAMES = (HNSWLIB, FAISS)
REQUIREMENTS = "requirements-serving.txt"

_NEIGHBOURS, _EFFORT_OF_BUILDING, _EFFORT_OF_SEARCH = 32, 200, 128
_SEED = 0


class Library(abc.ABC):
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


class _Hnswlib(Library):
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


class _Faiss(Library):
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


_LIBRARIES: Mapping[str, Callable[[ModuleType], Library]] = {HNSWLIB: _Hnswlib, FAISS: _Faiss}


def load(name: str) -> Library:
    """Imports a library.

    Args:
      name: One of `NAMES`.

    Returns:
      The library.

    Raises:
      UserError: If it is not installed; the message says how to install it.
    """
    try:
        return _LIBRARIES[name](importlib.import_module(name))
    except ImportError as error:
        raise errors.UserError(
            f"--index={name} needs the package {name}, which is not installed: "
            f"pip install --no-deps -r {REQUIREMENTS}"
        ) from error
