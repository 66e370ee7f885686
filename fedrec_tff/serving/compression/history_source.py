"""The histories that a smaller model learns from: made up, or users' own."""

# Tested in tests/serving/compression/test_distillation.py.

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.serving import made_up_histories
from fedrec_tff.serving.compression.compact_model import CompactModel
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


def find(source: str, inputs: Inputs, teacher: CompactModel) -> Sequences:
    """Finds histories to learn from.

    Args:
      source: One of `SOURCES`.
      inputs: What may be looked at.
      teacher: The model that is to be followed.

    Returns:
      Histories, none of them longer than the model reads.
    """
    if source == TRAINING:
        return _cut(inputs.training, teacher.config.history_length, inputs.seed)
    if inputs.made_up is not None:
        return inputs.made_up()
    return make_up(teacher, inputs.seed)


def make_up(teacher: CompactModel, seed: int, num_histories: int | None = None) -> Sequences:
    """Draws histories from a model.

    Args:
      teacher: The model.
      seed: Seed of what is drawn.
      num_histories: Number of histories; None for as many as are learned from.

    Returns:
      Histories, none of them longer than the model reads.
    """
    # Imports TensorFlow.
    from fedrec_tff.serving.compression import score_functions

    longest = min(teacher.config.history_length, _LONGEST)
    return made_up_histories.sample(
        score_functions.create(teacher),
        teacher.embedding.dimensions[0],
        _NUM_HISTORIES if num_histories is None else num_histories,
        longest,
        seed,
    )


def _cut(training: Sequences, length: int, seed: int) -> Sequences:
    """What each user had taken at several times, drawn uniformly, for a model reads the newest."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(training.lengths > 0)
    rows = np.repeat(rows, max(1, _NUM_HISTORIES // max(1, len(rows))))
    ends = rng.integers(1, training.lengths[rows] + 1)
    starts = np.maximum(0, ends - length)
    return sequences.gather_ranges(training.items, training.offsets[rows] + starts, ends - starts)
