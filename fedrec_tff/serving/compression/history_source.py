"""The histories that a smaller model learns from: made up, or users' own."""

# Tested in tests/serving/compression/test_distillation.py.

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.evaluation.scoring import ScoreFn
from fedrec_tff.serving.compression import made_up_histories
from fedrec_tff.serving.compression.method import Inputs

MADE_UP, TRAINING = "made_up", "training"
SOURCES = (MADE_UP, TRAINING)
_NUM_HISTORIES = 8192
# Longer ones say little more of a model, and take as many steps to draw.
_LONGEST = 50


def check(name: str, histories: str, steps: int, learning_rate: float) -> None:
    """Refuses parameters of a method that trains.

    Args:
      name: Name of the method.
      histories: One of `SOURCES`.
      steps: Number of steps.
      learning_rate: Learning rate.

    Raises:
      UserError: If one is out of range.
    """
    if histories not in SOURCES:
        raise errors.UserError(
            f"--methods: {name} histories={histories}: choose {' or '.join(SOURCES)}"
        )
    if steps < 1:
        raise errors.UserError(f"--methods: {name} steps={steps}: choose at least 1")
    if learning_rate <= 0.0:
        raise errors.UserError(
            f"--methods: {name} learning_rate={learning_rate:g}: choose more than 0"
        )


def find(
    source: str, inputs: Inputs, score_fn: ScoreFn, num_items: int, history_length: int
) -> Sequences:
    """Finds histories to learn from.

    Args:
      source: One of `SOURCES`.
      inputs: What may be looked at.
      score_fn: Scores of the model that is to be followed.
      num_items: Size of the catalogue.
      history_length: Number of items that the model reads.

    Returns:
      Histories, none of them longer than the model reads.
    """
    if source == TRAINING:
        return _cut(inputs.training, history_length, inputs.seed)
    longest = min(history_length, _LONGEST)
    return made_up_histories.draw(score_fn, num_items, _NUM_HISTORIES, longest, inputs.seed)


def _cut(training: Sequences, length: int, seed: int) -> Sequences:
    """What each user had taken at several times, drawn uniformly, for a model reads the newest."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(training.lengths > 0)
    rows = np.repeat(rows, max(1, _NUM_HISTORIES // max(1, len(rows))))
    ends = rng.integers(1, training.lengths[rows] + 1)
    starts = np.maximum(0, ends - length)
    return sequences.gather_ranges(training.items, training.offsets[rows] + starts, ends - starts)
