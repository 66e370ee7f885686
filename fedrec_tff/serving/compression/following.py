"""Training that makes one model's scores follow another's, on histories that are given.

Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network": the loss is the
divergence of the student's softmax over the items from the teacher's. Of a large catalogue each
step takes a sample of items, the same for both.
"""

# Tested in tests/serving/compression/test_distillation.py.

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_BATCH = 256
_MOST_CANDIDATES = 16_384


class Arrays(NamedTuple):
    """The arrays of a model as tensors.

    Attributes:
      embedding: float32 [num_items, dim].
      bias: float32 [num_items].
      tower: float32 tensors of the query tower.
    """

    embedding: tf.Tensor
    bias: tf.Tensor
    tower: tuple[tf.Tensor, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Shaped:
    """A model whose arrays are computed when they are asked for.

    Attributes:
      config: The model's shape.
      create_arrays: Function to its arrays.
    """

    config: TwoTowerConfig
    create_arrays: Callable[[], Arrays]


def train(
    teacher: Shaped,
    student: Shaped,
    variables: Sequence[tf.Variable],
    histories: Sequences,
    steps: int,
    learning_rate: float,
    seed: int,
) -> list[float]:
    """Trains a student.

    Args:
      teacher: The model to follow.
      student: The model that is trained; its arrays are functions of `variables`.
      variables: What is changed.
      histories: Histories to compare scores on.
      steps: Number of steps, of 256 histories each.
      learning_rate: Learning rate of Adam at first; it falls to zero as a cosine does.
      seed: Seed of the order of histories, and of samples of items.

    Returns:
      The loss of each step.
    """
    num_items = int(teacher.create_arrays().bias.shape[0])
    num_candidates = min(num_items, _MOST_CANDIDATES)
    schedule = tf.keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = tf.keras.optimizers.Adam(schedule)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(history: tf.Tensor, length: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        wanted = tf.nn.softmax(_score(teacher, history, length, candidates))
        with tf.GradientTape() as tape:
            found = tf.nn.log_softmax(_score(student, history, length, candidates))
            known = tf.reduce_sum(tf.math.xlogy(wanted, wanted), axis=1)
            loss = tf.reduce_mean(known - tf.reduce_sum(wanted * found, axis=1))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    rng = np.random.default_rng(seed)
    longest = max(teacher.config.history_length, student.config.history_length)
    everything = np.arange(num_items, dtype=np.int32)
    losses = []
    for _ in range(steps):
        rows = rng.integers(0, histories.num_rows, _BATCH)
        history, length = histories.take(rows).to_padded(longest)
        candidates = everything
        if num_candidates < num_items:
            candidates = rng.choice(everything, num_candidates, replace=False)
        losses.append(float(step(*map(tf.constant, (history, length, candidates)))))
    return losses


def _score(
    model: Shaped, history: tf.Tensor, length: tf.Tensor, candidates: tf.Tensor
) -> tf.Tensor:
    """Scores of the candidates: float32 [batch, candidates]."""
    config, arrays = model.config, model.create_arrays()
    width = config.history_length
    history, length = _take_newest(history, length, width)
    mask = tf.sequence_mask(length, width, tf.float32)
    query = tower_encoding.encode_histories(config, arrays.embedding, arrays.tower, history, mask)
    rows = two_tower.gather_items(two_tower.ItemRows(arrays.embedding, arrays.bias), candidates)
    items = tower_encoding.encode_candidates(config, arrays.tower, rows)
    return two_tower.all_logits(query, items, config.temperature, config.similarity)


def _take_newest(history: tf.Tensor, length: tf.Tensor, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The newest items of left-aligned histories: int32 [batch, width], and how many they are."""
    start = tf.maximum(length - width, 0)
    place = tf.minimum(start[:, tf.newaxis] + tf.range(width), tf.shape(history)[1] - 1)
    return tf.gather(history, place, batch_dims=1), tf.minimum(length, width)
