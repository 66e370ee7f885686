"""A model for devices, as TensorFlow Lite files: whole for a small catalogue, else its query tower.

Each takes one history at a time: `history` is int32 [1, history_length], the newest items, oldest
first, padded at the end with -1; `seen` is int32 [1, any length], indices that are left out.

  encoder      history -> query, float32 [1, dim]
  recommender  history, seen -> index, int32 [1, k], and score, float32 [1, k]

Weights are made smaller by what they are themselves (float16, or int8 by dynamic range). Nothing is
calibrated, so no history is read for it, neither a user's nor one that was made up.
"""

import abc
import dataclasses
import enum
import itertools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation import recommend
from fedrec_tff.serving import baked_model, made_up_histories
from fedrec_tff.serving.baked_model import BakedModel
from fedrec_tff.serving.recommender import Recommender

HISTORY, SEEN = "history", "seen"
ENCODER, RECOMMENDER = "encoder", "recommender"
# Beyond so many items a device is sent the query tower alone.
MOST_ITEMS_OF_A_RECOMMENDER = 50_000
# The list that files are tried by.
NUM_COMPARED = 10


class Precision(enum.Enum):
    """How weights are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


@dataclasses.dataclass(frozen=True)
class LiteFile:
    """One file, and how near its lists come to those of the model.

    Attributes:
      name: Name of the file, `encoder_int8.tflite` and so on.
      num_bytes: Size of the file.
      overlap: Part of the model's first ten items, on made-up histories, that the file's lists
        have.
    """

    name: str
    num_bytes: int
    overlap: float


class LiteScorer(abc.ABC):
    """What scores in a file.

    Attributes:
      num_items: Size of the catalogue.
      history_length: Number of the newest items that the model reads.
    """

    num_items: int
    history_length: int

    @abc.abstractmethod
    def encode(self, history: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Encodes a history.

        Args:
          history: int32 [1, history_length], oldest first, padded at the end with any valid index.
          mask: float32 [1, history_length], 1 for an item and 0 for padding.

        Returns:
          float32 [1, dim].
        """

    @abc.abstractmethod
    def score(self, query: tf.Tensor) -> tf.Tensor:
        """Scores all items: from float32 [1, dim] to float32 [1, num_items]."""


class PlainScorer(LiteScorer):
    """Scores by numbers as they are."""

    def __init__(
        self, model: BakedModel, hold_fn: Callable[[np.ndarray], Any] = tf.constant
    ) -> None:
        """Makes constants of a model.

        Args:
          model: The model.
          hold_fn: Function that makes what the functions read of an array.
        """
        self._config = model.config
        self.num_items, self.history_length = len(model.bias), model.config.history_length
        self._embedding = self._vectors = hold_fn(model.embedding)
        if model.has_candidates_of_their_own:
            self._vectors = hold_fn(model.create_vectors())
        self._bias = hold_fn(model.bias)
        self._tower = tuple(map(hold_fn, model.tower))

    def encode(self, history: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """See `LiteScorer`."""
        return baked_model.encode(self._config, self._embedding, self._tower, history, mask)

    def score(self, query: tf.Tensor) -> tf.Tensor:
        """See `LiteScorer`."""
        return tf.linalg.matmul(query, self._vectors, transpose_b=True) + self._bias


class LiteModule(tf.Module):
    """A model as TensorFlow Lite can have it."""

    def __init__(self, scorer: LiteScorer, k: int) -> None:
        """Makes functions of a model.

        Args:
          scorer: The model.
          k: Length of the lists; all items where there are fewer.
        """
        super().__init__()
        self._scorer, self._num_items = scorer, scorer.num_items
        self._k = min(k, self._num_items)
        history = tf.TensorSpec([1, scorer.history_length], tf.int32, HISTORY)
        seen = tf.TensorSpec([1, None], tf.int32, SEEN)
        self.functions = {
            ENCODER: tf.function(self._encode, [history], autograph=False),
            RECOMMENDER: tf.function(self._recommend, [history, seen], autograph=False),
        }

    def _encode(self, history: tf.Tensor) -> dict[str, tf.Tensor]:
        is_item = history >= 0
        known, mask = tf.where(is_item, history, 0), tf.cast(is_item, tf.float32)
        return {"query": self._scorer.encode(known, mask)}

    def _recommend(self, history: tf.Tensor, seen: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self._scorer.score(self._encode(history)["query"])
        # Beyond all items is a row of zeros; a negative index counts from the end in ONNX.
        row = tf.where(seen[0] >= 0, seen[0], self._num_items)
        is_seen = tf.reduce_max(tf.one_hot(row, self._num_items), axis=0)
        scores = tf.where(is_seen > 0.0, -float("inf"), scores)
        score, index = tf.math.top_k(scores, self._k)
        return {"index": tf.where(tf.math.is_inf(score), recommend.NO_ITEM, index), "score": score}


def convert(module: tf.Module, function: Callable, precision: Precision) -> bytes:
    """Converts one function of a model.

    Args:
      module: The model.
      function: A function of the module, with its signature.
      precision: How weights are stored.

    Returns:
      The contents of a file.

    Raises:
      UserError: If the model has operations that TensorFlow Lite lacks.
    """
    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if precision is not Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision is Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    # The converter's own error has another class in each of its stages.
    except Exception as error:
        kinds = sorted({part.op for part in concrete.graph.as_graph_def().node})
        raise errors.UserError(
            f"TensorFlow Lite cannot write the model's tower ({type(error).__name__}), which is "
            f"made of {', '.join(kinds)}: export without it (--formats=)"
        ) from error


def write(model: BakedModel, exact: Recommender, folder: pathlib.Path, k: int) -> list[LiteFile]:
    """Writes the files of a model, and tries each on made-up histories.

    Args:
      model: The model.
      exact: Recommender of the same model, which the files are compared with.
      folder: Folder that is to hold the files; made here.
      k: Length of a recommender's lists.

    Returns:
      What was written.

    Raises:
      UserError: If the model has operations that TensorFlow Lite lacks.
    """
    precisions = {each.value: each for each in Precision}
    return write_scorer(PlainScorer(model), exact, folder, k, precisions)


def write_scorer(
    scorer: LiteScorer,
    exact: Recommender,
    folder: pathlib.Path,
    k: int,
    precisions: Mapping[str, Precision],
) -> list[LiteFile]:
    """As `write`, for a model whose numbers are in any form.

    Args:
      scorer: The model.
      exact: Recommender of the same model, which the files are compared with.
      folder: Folder that is to hold the files; made here.
      k: Length of a recommender's lists.
      precisions: How weights are stored, by the endings of the files' names.

    Returns:
      What was written.

    Raises:
      UserError: If the model has operations that TensorFlow Lite lacks.
    """
    folder.mkdir()
    histories = made_up_histories.create(scorer.num_items, scorer.history_length)
    expected, _ = exact.top_k(histories, NUM_COMPARED)
    module, written = LiteModule(scorer, max(k, NUM_COMPARED)), []
    files = itertools.product(list_kinds(scorer.num_items), precisions.items())
    for kind, (ending, precision) in files:
        content = convert(module, module.functions[kind], precision)
        path = folder / f"{kind}_{ending}.tflite"
        path.write_bytes(content)
        found = _LISTS[kind](content, histories, exact)
        overlap = made_up_histories.measure_overlap(found, expected)
        written.append(LiteFile(path.name, len(content), overlap))
    return written


def list_kinds(num_items: int) -> tuple[str, ...]:
    """What is written of a model: its query tower and, if it has few items, the whole."""
    return (ENCODER, RECOMMENDER) if num_items <= MOST_ITEMS_OF_A_RECOMMENDER else (ENCODER,)


def pad(history: np.ndarray, history_length: int) -> np.ndarray:
    """A history as files take it: int32 [1, history_length]."""
    padded = np.full([1, history_length], recommend.NO_ITEM, np.int32)
    newest = history[-history_length:]
    padded[0, : len(newest)] = newest
    return padded


def _recommend_by(content: bytes, histories: Sequences, exact: Recommender) -> np.ndarray:
    """Lists of a recommender: int32 [rows, NUM_COMPARED]."""
    run = tf.lite.Interpreter(model_content=content).get_signature_runner()
    rows = map(histories.row, range(histories.num_rows))
    found = [
        run(history=pad(row, exact.history_length), seen=row[np.newaxis])["index"][0]
        for row in rows
    ]
    return np.stack(found)[:, :NUM_COMPARED]


def _rank_by(content: bytes, histories: Sequences, exact: Recommender) -> np.ndarray:
    """Lists of an encoder's queries among the model's own items: int32 [rows, NUM_COMPARED]."""
    run = tf.lite.Interpreter(model_content=content).get_signature_runner()

    def score(block: Sequences) -> np.ndarray:
        rows = map(block.row, range(block.num_rows))
        found = [run(history=pad(row, exact.history_length))["query"][0] for row in rows]
        return np.stack(found) @ exact.item_vectors.T + exact.item_bias

    return recommend.top_k(score, histories, len(exact.item_bias), NUM_COMPARED)[0]


_LISTS = {ENCODER: _rank_by, RECOMMENDER: _recommend_by}
