"""Measures what TFF gives without this project: its federated averaging over tf.data clients.

The same model and loss as a Keras model, with the item table dense; the same users and sizes, the
same clipping and noise, TFF's native runtime. Each client's examples are made beforehand, which
spares the runtime that work.
"""

# Tested in tests/benchmarks/test_benchmark_subjects.py.

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.benchmarks import measurement, memory, plan, process_rounds, timing, users
from fedrec_tff.execution import native
from fedrec_tff.learning import optimizers
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.losses import formulas


def measure(row: plan.Row, budget: timing.Budget) -> measurement.Measurement:
    """Runs rounds of a row.

    Args:
      row: Configuration to measure, whose subject is `plan.STOCK_TFF`.
      budget: Time that the measurement may take.

    Returns:
      The figures.
    """
    setting = row.setting
    baseline = memory.resident_bytes()
    items = users.create_items(setting)
    process = build_process(setting, row.uses_dataset_iterator)
    with native.native_context():
        return process_rounds.measure(
            process,
            lambda number: create_cohort(items, setting, number),
            lambda metrics: {"loss": float(metrics["train"]["loss"])},
            setting,
            budget,
            baseline,
        )


def build_process(
    setting: plan.Setting, uses_dataset_iterator: bool
) -> tff.learning.templates.LearningProcess:
    """Builds TFF's unweighted federated averaging with a fixed clip and Gaussian noise.

    Args:
      setting: Sizes of users, items and model.
      uses_dataset_iterator: Whether the clients' data are iterated over, as in `plan.Row`.

    Returns:
      The process.
    """
    config = setting.run_config
    loops = tff.learning.LoopImplementation
    initial = tf.nest.map_structure(
        np.asarray,
        two_tower.create_initial_weights(config.two_tower, setting.num_items, setting.seed),
    )
    return tff.learning.algorithms.build_unweighted_fed_avg(
        lambda: _create_model(setting, initial),
        client_optimizer_fn=optimizers.create_optimizer(config.client_work.optimizer),
        server_optimizer_fn=optimizers.create_optimizer(config.server),
        model_aggregator=tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
            config.noise_multiplier, config.clients_per_round, config.clip_norm
        ),
        loop_implementation=(
            loops.DATASET_ITERATOR if uses_dataset_iterator else loops.DATASET_REDUCE
        ),
    )


def create_cohort(
    items: np.ndarray, setting: plan.Setting, round_number: int
) -> list[tf.data.Dataset]:
    """Draws a round's cohort: the users that the project's own process gets.

    Args:
      items: Items of all users, from `users.create_items`.
      setting: The sizes, and the seed.
      round_number: The round.

    Returns:
      One dataset of batches for each client.
    """
    rows = users.draw_cohort(setting, round_number)
    negatives = users.draw_negatives(setting, round_number)
    return [
        _create_client(items[row : row + 1], drawn, setting)
        for row, drawn in zip(rows, negatives, strict=True)
    ]


def _create_client(
    items: np.ndarray, negatives: np.ndarray, setting: plan.Setting
) -> tf.data.Dataset:
    examples = users.create_examples(items, setting.run_config.history_length)
    num_examples = len(examples.item_index)
    # TFF wants labels; the model's output is the loss already.
    labels = np.zeros(num_examples, np.int32)
    features = collections.OrderedDict(examples._asdict())

    def add_negatives(features: Any, labels: tf.Tensor) -> Any:
        return collections.OrderedDict(features, negatives=tf.constant(negatives)), labels

    return (
        tf.data.Dataset.from_tensor_slices((features, labels))
        .shuffle(num_examples)
        .batch(setting.batch_size)
        .map(add_negatives)
    )


def _create_model(
    setting: plan.Setting, initial: two_tower.TwoTowerWeights
) -> tff.learning.models.VariableModel:
    """A Keras model whose output is each example's loss, so that the loss is the project's own."""
    config = setting.run_config.two_tower
    specs = collections.OrderedDict(
        history=tf.TensorSpec([None, config.history_length], tf.int32),
        history_mask=tf.TensorSpec([None, config.history_length], tf.float32),
        item_index=tf.TensorSpec([None], tf.int32),
        negatives=tf.TensorSpec([setting.num_negatives], tf.int32),
    )
    inputs = {
        name: tf.keras.Input(spec.shape[1:], spec.shape[0], name, spec.dtype)
        for name, spec in specs.items()
    }
    losses_of_examples = _LossLayer(config, initial)(inputs)
    return tff.learning.models.from_keras_model(
        tf.keras.Model(inputs, losses_of_examples),
        loss=_OutputAsLoss(),
        input_spec=(specs, tf.TensorSpec([None], tf.int32)),
    )


class _LossLayer(tf.keras.layers.Layer):
    """The two-tower model as far as its loss: float32 [batch]."""

    def __init__(self, config: TwoTowerConfig, initial: two_tower.TwoTowerWeights) -> None:
        super().__init__()
        self._config = config
        self._log_q = -float(np.log(len(initial.items.bias)))
        self._all = [
            self.add_weight(
                name=f"weight_{index}",
                shape=value.shape,
                initializer=tf.constant_initializer(value),
            )
            for index, value in enumerate(tf.nest.flatten(initial))
        ]

    def call(self, features: Any) -> tf.Tensor:
        embedding, bias, *tower = self._all
        items = two_tower.ItemRows(embedding, bias)
        item_index, negative_index = features["item_index"], features["negatives"]
        positives = two_tower.gather_items(items, item_index)
        negatives = two_tower.gather_items(items, negative_index)
        query = tower_encoding.encode_histories(
            self._config, embedding, tuple(tower), features["history"], features["history_mask"]
        )
        return formulas.sampled_softmax(
            two_tower.pair_logits(query, positives, self._config.temperature),
            two_tower.all_logits(query, negatives, self._config.temperature),
            item_index,
            negative_index,
            tf.fill(tf.shape(item_index), self._log_q),
            tf.fill(tf.shape(negative_index), self._log_q),
        )


class _OutputAsLoss(tf.keras.losses.Loss):
    """The mean of a model's output."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        del y_true
        return y_pred
