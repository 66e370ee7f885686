"""A ceiling for client work: plain local training of one user after the other, compiled by XLA.

Nothing federated is in it: no update is formed, checked, clipped, or added to a table. It takes the
steps that a client takes (its own negatives, a shuffled pass in batches, SGD over the rows that it
touches), written without the project's client work, and keeps a checksum of the trained weights,
so that the compiler cannot leave anything out.
"""

# Tested in tests/benchmarks/test_benchmark_subjects.py.

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.benchmarks import measurement, memory, plan, timing, users
from fedrec_tff.execution import xla_flags
from fedrec_tff.learning import local_rows, negative_sampling
from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.losses import formulas


class LoopResult(NamedTuple):
    """What is left of a cohort's training.

    Attributes:
      checksum: float32, the sum of all trained weights of all users.
      loss_sum: float32, over all examples.
    """

    checksum: tf.Tensor
    loss_sum: tf.Tensor


class _Steps(NamedTuple):
    """What the steps of one user work on."""

    sequence: tf.Tensor
    negatives: tf.Tensor
    order: tf.Tensor


class BareLoop:
    """Trains users one after the other, each from the same initial weights."""

    def __init__(self, setting: plan.Setting) -> None:
        """Initialises the loop; compiles nothing yet.

        Args:
          setting: The sizes. Every user has `interactions_per_user`, without padding.
        """
        config = setting.run_config
        self._model = config.two_tower
        self._rate = config.client_learning_rate
        self._batch_size = setting.batch_size
        self._length = setting.interactions_per_user
        self._sampler = negative_sampling.NegativeSampler(setting.num_items, setting.num_negatives)
        xla_flags.keep_nan()
        self._run = tf.function(self._trace, jit_compile=True, autograph=False)

    def run(
        self, weights: two_tower.TwoTowerWeights, items: np.ndarray, seeds: np.ndarray
    ) -> LoopResult:
        """Trains a cohort.

        Args:
          weights: The initial weights.
          items: int32 [num_clients, interactions_per_user].
          seeds: int32 [num_clients, 2].

        Returns:
          The loop's result.
        """
        return self._run(weights, tf.constant(items), tf.constant(seeds))

    def _trace(
        self, weights: two_tower.TwoTowerWeights, items: tf.Tensor, seeds: tf.Tensor
    ) -> LoopResult:
        def train(client, checksum, loss_sum):
            trained, loss = self._train(weights, tf.gather(items, client), tf.gather(seeds, client))
            total = tf.add_n([tf.reduce_sum(tensor) for tensor in tf.nest.flatten(trained)])
            return client + 1, checksum + total, loss_sum + loss

        _, *result = tf.while_loop(
            lambda client, *_: client < tf.shape(items)[0],
            train,
            (tf.constant(0), tf.constant(0.0), tf.constant(0.0)),
        )
        return LoopResult(*result)

    def _train(
        self, weights: two_tower.TwoTowerWeights, sequence: tf.Tensor, seed: tf.Tensor
    ) -> tuple[two_tower.TwoTowerWeights, tf.Tensor]:
        """One user: the trained weights, of items only the rows touched, and the loss's sum."""
        negatives = self._sampler.sample(seed)
        touched = tf.concat([sequence, negatives], 0)
        rows = local_rows.build_local_rows(touched, tf.ones_like(touched, tf.bool))
        local = two_tower.TwoTowerWeights(
            two_tower.gather_items(weights.items, rows.ids), weights.tower
        )
        keys = tf.random.stateless_uniform(
            [self._length], seed + 1, 0, tf.int32.max, tf.int32, alg="philox"
        )
        steps = _Steps(rows.index[: self._length], rows.index[self._length :], tf.argsort(keys))
        num_steps = -(-self._length // self._batch_size)
        _, local, loss_sum = tf.while_loop(
            lambda step, *_: step < num_steps,
            lambda step, local, loss_sum: self._step(steps, step, local, loss_sum),
            (tf.constant(0), local, tf.constant(0.0)),
        )
        return local, loss_sum

    def _step(
        self,
        steps: _Steps,
        step: tf.Tensor,
        weights: two_tower.TwoTowerWeights,
        loss_sum: tf.Tensor,
    ) -> tuple[tf.Tensor, two_tower.TwoTowerWeights, tf.Tensor]:
        slots = step * self._batch_size + tf.range(self._batch_size)
        mask = tf.cast(slots < self._length, tf.float32)
        positions = tf.gather(steps.order, tf.minimum(slots, self._length - 1))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            batch_loss = tf.reduce_sum(mask * self._losses(steps, weights, positions))
            loss = batch_loss / tf.reduce_sum(mask)
        gradients = tape.gradient(loss, weights)
        trained = tf.nest.map_structure(
            lambda weight, gradient: weight - self._rate * tf.convert_to_tensor(gradient),
            weights,
            gradients,
        )
        return step + 1, trained, loss_sum + batch_loss

    def _losses(
        self, steps: _Steps, weights: two_tower.TwoTowerWeights, positions: tf.Tensor
    ) -> tf.Tensor:
        window = positions[:, tf.newaxis] + tf.range(-self._model.history_length, 0)
        history = tf.gather(steps.sequence, tf.maximum(window, 0))
        history_mask = tf.cast(window >= 0, tf.float32)
        positive_index = tf.gather(steps.sequence, positions)
        positives = two_tower.gather_items(weights.items, positive_index)
        negatives = two_tower.gather_items(weights.items, steps.negatives)
        query = tower_encoding.encode_histories(
            self._model, weights.items.embedding, weights.tower, history, history_mask
        )
        return formulas.sampled_softmax(
            two_tower.pair_logits(query, positives, self._model.temperature),
            two_tower.all_logits(query, negatives, self._model.temperature),
            positive_index,
            steps.negatives,
            # Uniform sampling: the correction is the same for all, and falls out.
            tf.zeros_like(positions, tf.float32),
            tf.zeros_like(steps.negatives, tf.float32),
        )


def measure(row: plan.Row, budget: timing.Budget) -> measurement.Measurement:
    """Trains the cohorts of a round.

    Args:
      row: Configuration to measure, whose subject is `plan.BARE_LOOP`.
      budget: Time that the measurement may take.

    Returns:
      The figures.
    """
    setting = row.setting
    baseline = memory.resident_bytes()
    items = users.create_items(setting)
    weights = two_tower.create_initial_weights(
        setting.run_config.two_tower, setting.num_items, setting.seed
    )
    loop = BareLoop(setting)
    num_clients = setting.clients_per_round
    num_examples = num_clients * setting.interactions_per_user

    def create_input(number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = users.draw_cohort(setting, number)
        return items[rows], users.draw_seeds(setting, number)

    def run(cohort: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        result = loop.run(weights, *cohort)
        np.asarray(result.checksum)
        return {"loss": float(result.loss_sum) / num_examples}

    timings = timing.time_rounds(create_input, run, budget)
    return measurement.summarize(timings, num_clients, num_examples, baseline, memory.peak_bytes())
