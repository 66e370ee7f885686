"""Measures centralised training: `fit` of the TFRS model, with the loss that clients train with."""

# Tested in tests/benchmarks/test_benchmark_subjects.py.

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.benchmarks import measurement, memory, plan, timing, users
from fedrec_tff.models import retrieval_model, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import formulas

# Enough that no cache holds them; more would only fill memory.
_MAX_USERS = 1000
_SHUFFLE_BUFFER = 10_000
_MIN_STEPS_PER_EPOCH = 100


def measure(row: plan.Row, budget: timing.Budget) -> measurement.Measurement:
    """Runs epochs of about as many examples as a round has.

    Args:
      row: Configuration to measure, whose subject is `plan.TFRS_FIT`.
      budget: Time that the measurement may take.

    Returns:
      The figures.
    """
    setting = row.setting
    baseline = memory.resident_bytes()
    steps = max(
        setting.clients_per_round * setting.interactions_per_user // setting.batch_size,
        _MIN_STEPS_PER_EPOCH,
    )
    timer = timing.RoundTimer(budget)
    model = create_model(setting)
    model.fit(
        create_data(setting),
        steps_per_epoch=steps,
        epochs=timing.NUM_WARM_UP + budget.max_rounds,
        verbose=0,
        callbacks=[_EpochCallback(timer)],
    )
    return measurement.summarize(
        timer.finish(), None, steps * setting.batch_size, baseline, memory.peak_bytes()
    )


def create_model(setting: plan.Setting) -> "SampledSoftmaxModel":
    """Creates the model, ready to fit.

    Args:
      setting: Sizes of users, items and model.

    Returns:
      The model with its initial weights.
    """
    config = setting.run_config
    model = SampledSoftmaxModel(
        config.two_tower,
        two_tower.create_initial_weights(config.two_tower, setting.num_items, setting.seed),
        setting.num_negatives,
    )
    model.compile(optimizer=tf.keras.optimizers.SGD(config.client_learning_rate))
    return model


def create_data(setting: plan.Setting) -> tf.data.Dataset:
    """Shuffled batches without end of the first users' examples.

    Args:
      setting: Sizes of users, items and model.

    Returns:
      A data set that `fit` takes.
    """
    items = users.create_items(setting)[:_MAX_USERS]
    examples = users.create_examples(items, setting.run_config.history_length)
    return (
        tf.data.Dataset.from_tensor_slices(examples._asdict())
        .shuffle(_SHUFFLE_BUFFER, seed=setting.seed)
        .repeat()
        .batch(setting.batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


class SampledSoftmaxModel(retrieval_model.TwoTowerRetrievalModel):
    """The TFRS model with the loss that clients train with; the negatives are each batch's own."""

    def __init__(
        self, config: TwoTowerConfig, weights: two_tower.TwoTowerWeights, num_negatives: int
    ) -> None:
        """Wraps weights.

        Args:
          config: The model's shape.
          weights: Initial weights.
          num_negatives: Items drawn uniformly for each batch.
        """
        super().__init__(config, weights)
        self._num_negatives = num_negatives
        self._num_items = int(weights.items.bias.shape[0])

    def compute_loss(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The mean of the batch's losses: float32 scalar."""
        del training
        positive_index = features["item_index"]
        negative_index = tf.random.uniform([self._num_negatives], 0, self._num_items, tf.int32)
        items = two_tower.ItemRows(self._item_embedding, self._item_bias)
        query = self.encode_query(features["history"], features["history_mask"])
        positives = two_tower.gather_items(items, positive_index)
        negatives = two_tower.gather_items(items, negative_index)
        log_q = -float(np.log(self._num_items))
        example_losses = formulas.sampled_softmax(
            two_tower.pair_logits(query, positives, self._config.temperature),
            two_tower.all_logits(query, negatives, self._config.temperature),
            positive_index,
            negative_index,
            tf.fill(tf.shape(positive_index), log_q),
            tf.fill([self._num_negatives], log_q),
        )
        return tf.reduce_mean(example_losses)


class _EpochCallback(tf.keras.callbacks.Callback):
    """Times epochs; Keras has their logs in host memory when it calls."""

    def __init__(self, timer: timing.RoundTimer) -> None:
        super().__init__()
        self._timer = timer
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        del epoch, logs
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops it."""
        del epoch, logs
        self._timer.add(time.perf_counter() - self._start, {})
        self.model.stop_training = self._timer.is_done
