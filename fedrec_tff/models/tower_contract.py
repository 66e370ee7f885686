"""What the pipeline asks of a query tower, tried on made-up items; no user's data are touched."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models import plugin as plugin_lib
from fedrec_tff.models import tower_encoding, tower_graph, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.query_tower import Dropout

_SEQUENCES = "sequences"
_NUM_ITEMS = 12
# Where a weight starts at one value, it is tried near it.
_STDDEV = 0.1
# Floats are added in another order; relative to the largest.
_TOLERANCE = 1e-4


class Outcome(NamedTuple):
    """What one check found.

    Attributes:
      name: Name of the check.
      problem: Problem, and the way out; None if there is none.
      promise: Promise that was checked.
    """

    name: str
    problem: str | None
    promise: str


@functools.lru_cache
def check(config: TwoTowerConfig) -> None:
    """Refuses a tower of somebody's own that breaks the contract; does nothing for a built-in one.

    Takes a second, once in a process for each shape. Not to be called while a graph is traced.

    Args:
      config: The model's shape.

    Raises:
      UserError: At the first mistake, naming the plug-in.
    """
    if config.plugin is None:
        return
    for outcome in run_checks(config):
        if outcome.problem is not None:
            raise errors.UserError(f"{plugin_lib.FLAG.say(config.plugin.name)}: {outcome.problem}")


def run_checks(config: TwoTowerConfig) -> Iterator[Outcome]:
    """Tries a tower.

    Args:
      config: The shape of a model with a plug-in that can be loaded.

    Yields:
      What each check found, until one fails.
    """
    trial = Trial(config)
    for name, promise, find_problem in _CHECKS:
        if name == _SEQUENCES and not config.is_causal:
            continue
        try:
            problem = find_problem(trial)
        # Whatever the author's code, or TensorFlow at its sight, raises.
        except Exception as error:
            problem = tower_graph.describe_error(error)
        yield Outcome(name, problem, promise)
        if problem is not None:
            return


class Trial:
    """A tower with made-up weights and histories.

    Attributes:
      config: The model's shape.
      tower: The tower.
      weights: Weights of the model, with every number of the towers random.
      history: int32 [rows, history_length], histories of several lengths, padded at the end with
        other items.
      lengths: Lengths of the histories; the first is 0 and the last all of `history_length`.
    """

    def __init__(self, config: TwoTowerConfig) -> None:
        """Makes weights and histories up, always the same."""
        rng = np.random.default_rng(11)
        length = config.history_length
        self.config = config
        self.tower = tower_encoding.find_tower(config)
        self.initial = two_tower.create_initial_weights(config, _NUM_ITEMS, seed=11)
        tower = tuple(
            tf.constant(
                tensor.initial_value
                + (tensor.initial_stddev or _STDDEV) * rng.normal(size=tensor.shape),
                tf.float32,
            )
            for tensor in config.tower
        )
        self.weights = two_tower.TwoTowerWeights(self.initial.items, tower)
        self.lengths = sorted({0, 1, min(2, length), length // 2, length})
        self.history = rng.integers(0, _NUM_ITEMS, [len(self.lengths), length]).astype(np.int32)

    @property
    def own_weights(self) -> list[tf.Tensor]:
        """The weights that the tower gets."""
        return list(self.weights.tower[: len(self.config.query_tensors)])

    def embed(self, index: np.ndarray) -> tf.Tensor:
        """Embeddings of items: float32, the index's shape and the width."""
        return tf.gather(self.weights.items.embedding, index)

    def encode(self, history: np.ndarray, mask: np.ndarray) -> tf.Tensor:
        """Encodes histories as an evaluation does."""
        return tower_encoding.encode_histories(
            self.config, self.weights.items.embedding, self.weights.tower, history, mask
        )

    def encode_all(self) -> tf.Tensor:
        """Encodes all histories."""
        return self.encode(self.history, self._mask())

    def encode_each(self) -> tf.Tensor:
        """Encodes one history after the other."""
        pairs = zip(self.history, self._mask(), strict=True)
        return tf.concat([self.encode(h[np.newaxis], m[np.newaxis]) for h, m in pairs], axis=0)

    def _mask(self) -> np.ndarray:
        return tf.sequence_mask(self.lengths, self.config.history_length, tf.float32).numpy()


def compute_gradients(
    trial: Trial, weights: two_tower.TwoTowerWeights, length: int
) -> tuple[tf.Tensor, list[tf.Tensor | None]]:
    """What the example after a number of items gives: its loss over all items, and gradients.

    Args:
      trial: The tower.
      weights: Weights at which the gradients are taken.
      length: Number of items that came before.

    Returns:
      The loss, and for each tensor of the weights the gradient; None where it has no part in it.
    """
    config = trial.config
    sequence = trial.history[-1][:length]
    with tf.GradientTape() as tape:
        leaves = tf.nest.flatten(weights)
        tape.watch(leaves)
        embedding = weights.items.embedding
        if config.is_causal:
            index = tf.constant([*sequence, 0], tf.int32)
            encoded = tower_encoding.encode_sequence(config, embedding, weights.tower, index, None)
            query = encoded[-1:]
        else:
            history = np.zeros([1, config.history_length], np.int32)
            history[0, :length] = sequence
            mask = (np.arange(config.history_length) < length).astype(np.float32)
            query = tower_encoding.encode_histories(
                config, embedding, weights.tower, history, mask[np.newaxis]
            )
        items = tower_encoding.encode_candidates(config, weights.tower, weights.items)
        logits = two_tower.all_logits(query, items, config.temperature, config.similarity)
        loss = tf.reduce_logsumexp(logits) - logits[0, 0]
    gradients = tape.gradient(loss, leaves)
    return loss, [None if g is None else tf.convert_to_tensor(g) for g in gradients]


def _find_flag_problem(trial: Trial) -> str | None:
    if trial.config.dropout and not trial.config.is_causal:
        return "--dropout is handed to a query_tower.CausalTower alone, and this is none: drop it"
    return None


def _find_impurity(trial: Trial) -> str | None:
    # Twice: a tensor that was kept from one graph is of no use in another.
    for _ in range(2):
        kinds = tower_graph.find_impure_operations(trial.tower, trial.config.context)
    if kinds:
        return (
            f"its methods must be pure functions of weights and items, and use {', '.join(kinds)}: "
            "name what is trained in `tensors`, and draw random numbers by `dropout` alone"
        )
    return None


def _find_history_problem(trial: Trial) -> str | None:
    encoded = trial.encode_all()
    problem = _find_form_problem(
        "encode_histories", encoded, [len(trial.lengths), trial.config.embedding_dim]
    )
    if problem is not None:
        return problem
    for length, row in zip(trial.lengths, encoded.numpy(), strict=True):
        if not np.isfinite(row).all():
            return (
                f"the query of a history of {length} items is not finite: mind what is divided by, "
                "or taken the root or logarithm of, where all or nothing is padding"
            )
    if not _are_close(encoded, trial.encode_each()):
        return (
            "the query of a history depends on which others are in the batch: normalise over a "
            "history, never over the batch"
        )
    return None


def _find_sequence_problem(trial: Trial) -> str | None:
    config = trial.config
    index = trial.history[-1:]
    encoded = _encode_sequence(trial, index)
    length, dim = config.history_length, config.embedding_dim
    problem = _find_form_problem("encode_sequence", encoded, [1, length + 1, dim])
    if problem is not None:
        return problem
    if not np.isfinite(encoded).all():
        return "encode_sequence gives numbers that are not finite"
    nothing = _encode_sequence(trial, index[:, :0])
    problem = _find_form_problem("encode_sequence of no items", nothing, [1, 1, dim])
    if problem is not None:
        return problem
    for count in trial.lengths:
        changed = np.concatenate([index[:, :count], (index[:, count:] + 1) % _NUM_ITEMS], axis=1)
        if not _are_close(
            encoded[:, : count + 1], _encode_sequence(trial, changed)[:, : count + 1]
        ):
            return (
                f"encode_sequence looks ahead: rows up to {count} change if only items after the "
                f"first {count} do; row t may depend on the first t items alone"
            )
    mask = tf.sequence_mask(trial.lengths, length, tf.float32).numpy()
    histories = trial.encode(np.repeat(index, len(mask), axis=0), mask)
    if not _are_close(histories, tf.gather(encoded[0], trial.lengths)):
        return (
            "encode_histories and encode_sequence disagree: the query of a history of t items must "
            "be row t (CausalTower's own encode_histories is)"
        )
    return None


def _find_candidate_problem(trial: Trial) -> str | None:
    items = trial.weights.items.embedding
    encoded = trial.tower.encode_candidates(trial.own_weights, items)
    problem = _find_form_problem("encode_candidates", encoded, items.shape.as_list())
    if problem is not None:
        return problem
    if not np.isfinite(encoded).all():
        return "encode_candidates gives numbers that are not finite"
    some = [7, 2]
    alone = trial.tower.encode_candidates(trial.own_weights, tf.gather(items, some))
    if not _are_close(tf.gather(encoded, some), alone):
        return (
            "encode_candidates of a row depends on which other rows there are, and devices have "
            "some of them only: make each row a function of the same row"
        )
    return None


def _find_gradient_problem(trial: Trial) -> str | None:
    for when, weights in (("initial", trial.initial), ("random", trial.weights)):
        for length in trial.lengths:
            loss, gradients = compute_gradients(trial, weights, length)
            known = [g for g in gradients if g is not None]
            if not all(np.isfinite(tensor).all() for tensor in (loss, *known)):
                return (
                    f"with {when} weights, a user whose example comes after {length} items has a "
                    "gradient that is not finite: mind roots and norms of zero"
                )
    return None


def _find_repetition_problem(trial: Trial) -> str | None:
    config = trial.config
    encoded = trial.encode_all()
    if not _are_close(encoded, trial.encode_all()):
        return "the same histories have another query each time: drop what is random"
    again = plugin_lib.create_tower(config.plugin, config.context)
    if again.tensors != trial.tower.tensors:
        return "its builder gives other `tensors` each time it is called: drop what is random"
    items = trial.embed(trial.history[-1:])
    mask = tf.ones(items.shape[:2])
    pairs = [
        (
            tower.encode_histories(trial.own_weights, items, mask),
            tower.encode_candidates(trial.own_weights, items[0]),
        )
        for tower in (trial.tower, again)
    ]
    if not all(_are_close(one, other) for one, other in zip(*pairs, strict=True)):
        return (
            "its builder gives another function each time it is called, so that no process could "
            "go on with a run of another: drop what is random"
        )
    if config.is_causal:
        drops = [_encode_sequence(trial, trial.history[-1:], rate=0.5) for _ in range(2)]
        if not _are_close(*drops):
            return "the same seed of the dropout drops something else: drop what is random"
    return None


_CHECKS: tuple[tuple[str, str, Callable[[Trial], str | None]], ...] = (
    ("flags", "no flag is idle", _find_flag_problem),
    ("pure functions", "no variables, random numbers or Python code in its graphs", _find_impurity),
    (
        _SEQUENCES,
        "one pass gives the query of every history, and does not look ahead",
        _find_sequence_problem,
    ),
    (
        "histories",
        "float32 [batch, dim], finite for a history of nothing too; other histories do not matter",
        _find_history_problem,
    ),
    (
        "candidates",
        "float32 [rows, dim], finite; other rows do not matter",
        _find_candidate_problem,
    ),
    ("gradients", "finite, for users with one example too", _find_gradient_problem),
    ("repetition", "the same for the same input, and in another process", _find_repetition_problem),
)


def _encode_sequence(trial: Trial, index: np.ndarray, rate: float = 0.0) -> tf.Tensor:
    dropout = Dropout(rate, tf.constant([1, 2]) if rate else None)
    return trial.tower.encode_sequence(trial.own_weights, trial.embed(index), dropout)


def _find_form_problem(name: str, found: tf.Tensor, shape: list[int]) -> str | None:
    if not tf.is_tensor(found):
        return f"{name} must return a tensor, and returns {type(found).__name__}"
    if found.dtype != tf.float32 or found.shape.as_list() != shape:
        return (
            f"{name} must return float32 {shape}, and returns {found.dtype.name} "
            f"{found.shape.as_list()}"
        )
    return None


def _are_close(first: tf.Tensor, second: tf.Tensor) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    scale = np.max(np.abs(first), initial=1e-6)
    return np.allclose(first, second, _TOLERANCE, _TOLERANCE * scale)
