"""Centralised training of causal towers: batches of sequences in one place, by Keras and TFRS.

What federated training of `gru` and `attention` is measured against. Model, loss and stretches are
those of client work (`local_training`); what differs is that nobody's data are kept apart: a step
is Adam's on the mean over all positions of a batch of users, who share their negatives.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from fedrec_tff import errors
from fedrec_tff.datasets import sequences, splits
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.execution import tensorflow_errors, xla_flags
from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning import local_training, negative_sampling
from fedrec_tff.models import side_features, tower_contract, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

# Told the epoch that is done, from 1, and the loss of its last step.
ProgressFn = Callable[[int, float], None]
_Gradient = tf.Tensor | tf.IndexedSlices

_WORK = learning_config.ClientWorkConfig(learning_config.OptimizerConfig("sgd", 1.0))
_SEED_LIMIT = 2**31 - 1


class SequenceModel(tfrs.Model):
    """Holds the weights of a causal tower as variables; the loss is that of client work.

    Features are a mapping with `sequence` (int32 [batch, length], oldest first, padded at the end),
    `num_interactions` and `first` (int32 [batch], see `local_training.Examples`) and `seed` (int32
    [2], of negatives and dropout).
    """

    def __init__(
        self,
        config: TwoTowerConfig,
        weights: two_tower.TwoTowerWeights,
        sampler: negative_sampling.NegativeSampler,
        item_features: FeatureValues | None = None,
    ) -> None:
        """Wraps weights.

        Args:
          config: The model's shape, with a causal tower.
          weights: Initial values of the weights.
          sampler: Sampler of negatives.
          item_features: Known features of the items; None for nothing.
        """
        super().__init__()
        self._item_features = item_features
        self._config = config
        self._sampler = sampler
        self._structure = weights
        self._flat = [tf.Variable(w, name=f"w{i}") for i, w in enumerate(tf.nest.flatten(weights))]

    @property
    def current_weights(self) -> two_tower.TwoTowerWeights:
        """The variables' values, as arrays."""
        return tf.nest.pack_sequence_as(self._structure, [w.numpy() for w in self._flat])

    def compute_loss(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Sampled softmax with log-Q correction, the mean over the batch's positions.

        Args:
          features: Features of a batch, as the class describes them.
          training: Whether activations are dropped.

        Returns:
          float32 scalar.
        """
        weights = tf.nest.pack_sequence_as(
            self._structure, [tf.convert_to_tensor(w) for w in self._flat]
        )
        weights = side_features.bake(self._config, weights, self._item_features)
        sequence, seed = features["sequence"], features["seed"]
        queries = tower_encoding.encode_sequences(
            self._config,
            weights.items.embedding,
            weights.tower,
            sequence,
            seed if training else None,
        )
        place = tf.range(tf.shape(sequence)[1])[tf.newaxis]
        is_example = tf.logical_and(
            place >= features["first"][:, tf.newaxis],
            place < features["num_interactions"][:, tf.newaxis],
        )
        items = tf.reshape(sequence, [-1])
        negatives = self._sampler.sample(seed)
        examples = local_training.Examples(
            sequence=items,
            negatives=negatives,
            sequence_log_q=self._sampler.log_q(items),
            negatives_log_q=self._sampler.log_q(negatives),
            num_interactions=tf.size(items),
            first=tf.constant(0),
            num_items=self._sampler.num_items,
        )
        loss, _ = local_training.compute_loss(
            self._config,
            _WORK,
            weights,
            examples,
            tf.range(tf.size(items)),
            tf.reshape(queries, [-1, self._config.embedding_dim]),
            tf.reshape(tf.cast(is_example, tf.float32), [-1]),
        )
        return loss


class DenseAdam(tf.keras.optimizers.Adam):
    """Adam that takes the gradients of tables whole.

    Keras sorts the rows that a step touches and updates these alone; items' features touch more
    rows than there are, so that was more than half of a compiled step.
    """

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[_Gradient | None, tf.Variable]], **kwargs: Any
    ) -> tf.Variable:
        """See the base class."""
        dense = [
            (None if gradient is None else tf.convert_to_tensor(gradient), weight)
            for gradient, weight in grads_and_vars
        ]
        return super().apply_gradients(dense, **kwargs)


def train(
    config: TwoTowerConfig,
    split: splits.Split,
    epochs: int,
    sequences_per_batch: int,
    learning_rate: float,
    num_negatives: int,
    seed: int,
    progress_fn: ProgressFn = lambda epoch, loss: None,
    warn_fn: Callable[[str], None] = warnings.warn,
    item_features: FeatureValues | None = None,
) -> two_tower.TwoTowerWeights:
    """Trains by Adam, its learning rate falling to zero along a cosine.

    A model that XLA cannot compile is trained as plain graphs.

    Args:
      config: The model's shape, with a causal tower.
      split: The data; `split.train` alone is read.
      epochs: Passes over the users; a longer sequence gives a random stretch in each.
      sequences_per_batch: Users in a step.
      learning_rate: Adam's learning rate, at first.
      num_negatives: Items that a step draws by popularity, in common for its users.
      seed: Fixes initial weights, order, stretches, negatives and dropout.
      progress_fn: Function that is told of progress, see `ProgressFn`.
      warn_fn: Function that is told a line if XLA cannot compile the model.
      item_features: Known features of the items; None for nothing.

    Returns:
      float32 arrays.

    Raises:
      UserError: If no training sequence has an item, or the model is somebody's own and breaks the
        contract.
    """
    tower_contract.check(config)
    train_sequences = split.train
    if not len(train_sequences.items):
        raise errors.UserError("two_tower needs training sequences with items")
    sampler = negative_sampling.NegativeSampler(
        split.num_items,
        num_negatives,
        negative_sampling.create_popularity_probabilities(train_sequences, split.num_items),
    )
    initial = two_tower.create_initial_weights(config, split.num_items, seed)
    batches_per_epoch = -(-train_sequences.num_rows // sequences_per_batch)
    schedule = tf.keras.optimizers.schedules.CosineDecay(learning_rate, epochs * batches_per_epoch)

    def tell(epoch: int, logs: Mapping[str, float]) -> None:
        progress_fn(epoch + 1, float(logs["loss"]))

    def fit(is_compiled: bool) -> two_tower.TwoTowerWeights:
        model = SequenceModel(config, initial, sampler, item_features)
        optimizer = DenseAdam(schedule)
        # Not in the first step: see `centralized`.
        optimizer.build(model.trainable_variables)
        xla_flags.keep_nan()
        model.compile(optimizer=optimizer, jit_compile=is_compiled)
        model.fit(
            _create_dataset(config, train_sequences, epochs, sequences_per_batch, seed),
            epochs=epochs,
            steps_per_epoch=batches_per_epoch,
            verbose=0,
            callbacks=[tf.keras.callbacks.LambdaCallback(on_epoch_end=tell)],
        )
        return model.current_weights

    try:
        return fit(is_compiled=True)
    except tensorflow_errors.COMPILATION_ERRORS as error:
        reason = tensorflow_errors.summarize(error)
    # The first step failed, so nothing was trained yet.
    warn_fn(f"central training runs slowly, not compiled: {reason}")
    return fit(is_compiled=False)


def iterate_epoch(
    train_sequences: sequences.Sequences,
    length: int,
    sequences_per_batch: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of every user once, in a random order.

    Args:
      train_sequences: Training sequences, oldest item first.
      length: Length of the longest stretch; longer sequences give one at random.
      sequences_per_batch: Users in a batch; the last is filled up with empty rows.
      rng: Generator of order, stretches and seeds.

    Yields:
      What `SequenceModel` takes.
    """
    order = rng.permutation(train_sequences.num_rows)
    for start in range(0, len(order), sequences_per_batch):
        rows = order[start : start + sequences_per_batch]
        counts = np.minimum(train_sequences.lengths[rows], length)
        skipped = rng.integers(0, train_sequences.lengths[rows] - counts + 1)
        stretches = sequences.gather_ranges(
            train_sequences.items, train_sequences.offsets[:-1][rows] + skipped, counts
        )
        items, counts = stretches.to_padded(length)
        missing = sequences_per_batch - len(rows)
        yield {
            "sequence": np.pad(items, [(0, missing), (0, 0)]),
            "num_interactions": np.pad(counts, (0, missing)),
            "first": np.pad((skipped > 0).astype(np.int32), (0, missing)),
            "seed": rng.integers(0, _SEED_LIMIT, 2, np.int32),
        }


def _create_dataset(
    config: TwoTowerConfig,
    train_sequences: sequences.Sequences,
    epochs: int,
    sequences_per_batch: int,
    seed: int,
) -> tf.data.Dataset:
    """The batches of all epochs, one after the other."""
    length = config.history_length + 1

    def generate() -> Iterator[dict[str, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(epochs):
            yield from iterate_epoch(train_sequences, length, sequences_per_batch, rng)

    counts = tf.TensorSpec([sequences_per_batch], tf.int32)
    signature = {
        "sequence": tf.TensorSpec([sequences_per_batch, length], tf.int32),
        "num_interactions": counts,
        "first": counts,
        "seed": tf.TensorSpec([2], tf.int32),
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)
