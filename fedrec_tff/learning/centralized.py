"""Centralised training of the two-tower model: all users' examples in one place, by Keras and TFRS.

What federated training is measured against: the same model, the same examples (each item of a
training sequence, predicted from those before it), and nobody's data kept apart.

The model's loss is an in-batch softmax, in which popular items are negatives the more often. With
Q(i) the share of item i among the examples, it is minimal where the logit of item i is
log P(i | query) - log Q(i), plus anything that depends on the query alone. Yi et al. 2019
("Sampling-bias-corrected neural modeling for large corpus item recommendations", equation 3)
therefore subtract log Q from the logits while training. Our logits end with a bias of each item, so
it comes to the same to train as TFRS does and to add log Q to the biases afterwards.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets import sequences, splits
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.models import retrieval_model, tower_contract, two_tower
from fedrec_tff.models.config import TwoTowerConfig

# Told the epoch that is done, from 1, and the loss of its last step.
ProgressFn = Callable[[int, float], None]


def train(
    config: TwoTowerConfig,
    split: splits.Split,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress_fn: ProgressFn = lambda epoch, loss: None,
    item_features: FeatureValues | None = None,
) -> two_tower.TwoTowerWeights:
    """Trains by Adam on shuffled batches of the training sequences' examples.

    Args:
      config: The model's shape.
      split: The data; `split.train` alone is read.
      epochs: Passes over the examples.
      batch_size: Examples in a step; each is a negative for the others.
      learning_rate: Adam's learning rate, constant.
      seed: Fixes initial weights and order; the result is the same but for rounding.
      progress_fn: Function that is told of progress, see `ProgressFn`.
      item_features: Known features of the items; None for nothing.

    Returns:
      float32 arrays.

    Raises:
      UserError: If no training sequence has two items, or the model is somebody's own and breaks
        the contract.
    """
    tower_contract.check(config)
    train_sequences = split.train
    positions = find_examples(train_sequences)
    if not len(positions):
        raise errors.UserError("two_tower needs training sequences of at least two items")
    data = create_batches(train_sequences, positions, config.history_length, batch_size, seed)
    initial = two_tower.create_initial_weights(config, split.num_items, seed)
    model = retrieval_model.TwoTowerRetrievalModel(config, initial, item_features)
    optimizer = tf.keras.optimizers.Adam(learning_rate)
    # Here, and not in the first step, where `tf.init_scope` may lift it into a graph: it does so
    # where TensorFlow was imported below `absl.app.run`.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)

    def tell(epoch: int, logs: Mapping[str, float]) -> None:
        progress_fn(epoch + 1, float(logs["loss"]))

    callback = tf.keras.callbacks.LambdaCallback(on_epoch_end=tell)
    model.fit(data, epochs=epochs, verbose=0, callbacks=[callback])
    log_share = create_log_share(train_sequences.items[positions], split.num_items)
    embedding, bias = (np.asarray(part) for part in model.current_weights.items)
    items = two_tower.ItemRows(embedding, bias + log_share)
    return two_tower.TwoTowerWeights(items, tuple(map(np.asarray, model.current_weights.tower)))


def find_examples(train_sequences: sequences.Sequences) -> np.ndarray:
    """Where in `items` there is an item with others before it in its row: int64 [examples]."""
    is_first = np.zeros(len(train_sequences.items), np.bool_)
    is_first[train_sequences.offsets[:-1][train_sequences.lengths > 0]] = True
    return np.flatnonzero(~is_first)


def create_log_share(item_index: np.ndarray, num_items: int) -> np.ndarray:
    """Log of each item's share of the examples, as if each item had one more: float32 [num_items].

    Args:
      item_index: The items that were predicted, int [examples].
      num_items: Size of the catalogue.
    """
    counts = np.bincount(item_index, minlength=num_items) + 1.0
    return np.log(counts / counts.sum()).astype(np.float32)


def create_batches(
    train_sequences: sequences.Sequences,
    positions: np.ndarray,
    history_length: int,
    batch_size: int,
    seed: int,
) -> tf.data.Dataset:
    """Shuffled batches of what `TwoTowerRetrievalModel` takes, in another order every epoch.

    Histories are gathered batch by batch, never held for all examples at once.

    Args:
      train_sequences: Training sequences, oldest item first.
      positions: Positions of the items to predict, int64 [examples].
      history_length: Number of newest items before the predicted one that go with each example.
      batch_size: Examples in a batch; what is left at the end of an epoch is left out, unless it is
        all there is.
      seed: Seed for the orders.

    Returns:
      Batches of `history`, `history_mask` and `item_index`.
    """
    items = tf.constant(train_sequences.items)
    starts = tf.constant(train_sequences.offsets[:-1][train_sequences.row_index])
    window = tf.range(history_length, dtype=tf.int64)

    def gather(position: tf.Tensor) -> dict[str, tf.Tensor]:
        # Oldest first, left-aligned.
        first = tf.maximum(tf.gather(starts, position), position - history_length)
        before = first[:, tf.newaxis] + window
        is_before = before < position[:, tf.newaxis]
        history = tf.gather(items, tf.where(is_before, before, 0))
        return {
            "history": tf.where(is_before, history, 0),
            "history_mask": tf.cast(is_before, tf.float32),
            "item_index": tf.gather(items, position),
        }

    shuffled = tf.data.Dataset.from_tensor_slices(positions).shuffle(len(positions), seed=seed)
    batches = shuffled.batch(batch_size, drop_remainder=len(positions) >= batch_size)
    return batches.map(gather, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
