"""A model as the page shows it: its name, what it promises, its recommendations and why."""

# Tested in tests/serving/playground/test_playground.py.

import dataclasses
import functools
import os
import pathlib
from collections.abc import Collection, Sequence

import numpy as np

from fedrec_tff.datasets import sequences
from fedrec_tff.evaluation.recommend import NO_ITEM
from fedrec_tff.run.folder import run_directory
from fedrec_tff.serving import export_folder, opening, promise
from fedrec_tff.serving.promise import Promise
from fedrec_tff.serving.recommender import Recommender, choose_nearest

# So many items of a history are named as the reason of a recommendation, if they are so near.
_NUM_REASONS, _LEAST_SIMILARITY = 3, 0.1


@dataclasses.dataclass(frozen=True)
class Reason:
    """An item of the history that is near to a recommendation.

    Attributes:
      index: Index of the item.
      similarity: Cosine of the two items in the model.
    """

    index: int
    similarity: float


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """An item of a list.

    Attributes:
      index: Index of the item.
      score: The model's score.
      reasons: The items of the history that are nearest, nearest first; none where none is near.
    """

    index: int
    score: float
    reasons: tuple[Reason, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ShownModel:
    """A model of the page.

    Attributes:
      name: The model's name on the page.
      recommender: The model.
      promise: What it promises to those whom it learned from.
    """

    name: str
    recommender: Recommender
    promise: Promise

    @functools.cached_property
    def index_of_id(self) -> dict[str, int]:
        """Indices of the items by their raw ids."""
        return {raw_id: index for index, raw_id in enumerate(self.recommender.items.ids)}

    def recommend(self, history: Sequence[int], k: int) -> list[Recommendation]:
        """Recommends what is not in a history.

        Args:
          history: Indices of items, oldest first.
          k: Number of items, at most.

        Returns:
          Recommendations, best first; reasons are among the items that the model reads.
        """
        row = np.array(history, np.int32)
        [items], [scores] = self.recommender.top_k(sequences.from_rows([row]), k)
        is_item = items != NO_ITEM
        items, scores = items[is_item], scores[is_item]
        read = row[len(row) - self.recommender.count_read(len(row)) :]
        near = self.recommender.find_similar(items, read)
        return [
            Recommendation(int(item), float(score), _find_reasons(read, similarity))
            for item, score, similarity in zip(items, scores, near, strict=True)
        ]


def open_models(
    paths: Sequence[str | os.PathLike[str]], named: Collection[str] = ()
) -> list[ShownModel]:
    """Opens finished runs and exports.

    What is wrong with any of the paths is told before TensorFlow is imported for the first.

    Args:
      paths: Paths of the runs' folders, or of exports'.
      named: Builders of models whose code may be run, as `named_code.check` has it.

    Returns:
      The models, each with a name of its own.

    Raises:
      UserError: If a path holds no model, or one that needs to know more than a history.
    """
    for path in paths:
        opening.check_can_be_opened(path, named=named)
    return [
        ShownModel(name, opening.open_recommender(path, named=named), read_promise(path))
        for name, path in zip(name_models(paths), paths, strict=True)
    ]


def read_promise(path: str | os.PathLike[str]) -> Promise:
    """Reads what the model of a finished run or of an export promises."""
    if export_folder.is_export(path):
        folder = export_folder.ExportFolder(pathlib.Path(path))
        return promise.read(export_folder.read_manifest(folder).privacy)
    directory = run_directory.RunDirectory(pathlib.Path(path))
    return promise.read(run_directory.read_results(directory) or {})


def name_models(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Names folders by the last of their parts that tell them apart."""
    parts = [pathlib.Path(path).absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    # One folder, twice.
    return [f"{part[-1]} ({number})" for number, part in enumerate(parts, 1)]


def _find_reasons(read: np.ndarray, similarity: np.ndarray) -> tuple[Reason, ...]:
    return tuple(
        Reason(int(read[place]), float(similarity[place]))
        for place in choose_nearest(similarity, _NUM_REASONS, above=_LEAST_SIMILARITY)
    )
