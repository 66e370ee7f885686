"""Scores by the model that each user's own device has: the global one with what it adds itself.

A device that is asked for recommendations knows its user's history, and may first

* reconstruct the personal part of the model (`personal_tower`) from all of it,
* fine-tune a copy of the global part on all of it, by the client work of a round (Cheng et al.
  2021, "Fine-tuning is fine in federated learning", arXiv 2108.07313),

in this order, and then score the catalogue. Nothing of this leaves the device. Many devices are
simulated at once; none of them keeps a table of its own, but for the rows that it changed.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import feature_values
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.learning import (
    client_work,
    local_rows,
    local_training,
    negative_sampling,
)
from fedrec_tff.learning import config as learning_config
from fedrec_tff.learning.algorithms import registry
from fedrec_tff.learning.config import ClientWorkConfig
from fedrec_tff.learning.on_device import device_map, own_history
from fedrec_tff.models import side_features, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_SHORTEST_BUCKET = 16


class _Device(NamedTuple):
    """One device.

    Attributes:
      client: Data that the device has, without a seed; `personal` is what it begins with, ()
        without a personal part.
      length: int32 scalar, how many items the history has, those that were cut off among them.
    """

    client: client_work.ClientData
    length: tf.Tensor


class _DeviceScores(NamedTuple):
    """What a device computes.

    Attributes:
      query: float32 [dim]; () where `logits` are of the whole catalogue.
      ids: int32 [slots], the items whose rows the device changed, and some of them twice; () where
        it changed none, or all.
      logits: float32, of `ids` or of the whole catalogue; () where it changed none.
    """

    query: Any
    ids: Any
    logits: Any


class LocalModelScorer:
    """Scores histories as the users' own devices would; compiled once for all models of a run."""

    def __init__(
        self,
        model: TwoTowerConfig,
        work: ClientWorkConfig,
        sampler: negative_sampling.NegativeSampler,
        item_features: FeatureValues | None = None,
        user_features: FeatureValues | None = None,
        finetuning: ClientWorkConfig | None = None,
    ) -> None:
        """Initialises the scorer.

        Args:
          model: The model's shape.
          work: Settings of client work; they have the personal part's configuration, if there is
            one.
          sampler: Sampler of negatives, which follow from the history: see `own_history`.
          item_features: Known features of the items; None for nothing.
          user_features: Known features of the users, a row for each; None for nothing.
          finetuning: Settings by which a device trains its copy of the global part; None for no
            fine-tuning.
        """
        self._model, self._personal = model, work.personal
        self._item_features, self._user_features = item_features, user_features
        is_whole = (finetuning or work).needs_whole_table
        if finetuning is not None:
            # Features, or a candidate tower, that a device trains change every item.
            is_whole |= bool(model.item_feature_buckets)
            is_whole |= model.loaded_tower.has_candidate_tower
        device_fn = _build_device_fn(model, work, sampler, item_features, finetuning, is_whole)
        if finetuning is None:
            signature = _DeviceScores(tf.float32, (), ())
        elif is_whole:
            signature = _DeviceScores((), (), tf.float32)
        else:
            signature = _DeviceScores(tf.float32, tf.int32, tf.float32)
        self._map = device_map.DeviceMap(device_fn, signature)

    def build_score_fn(
        self, weights: two_tower.TwoTowerWeights, states: np.ndarray | None = None
    ) -> Callable[[Sequences], np.ndarray]:
        """Builds a scorer of histories.

        Args:
          weights: The global model.
          states: float32 [num_users, size], what devices keep of the personal part, for histories
            that say whose they are; a device without any begins with zeros, as all do with None.

        Returns:
          A function from histories (one row per user, oldest item first) to float32 scores
          [rows, num_items].
        """
        weights = tf.nest.map_structure(tf.convert_to_tensor, weights)
        baked = side_features.bake(self._model, weights, self._item_features)
        items = tower_encoding.encode_candidates(self._model, baked.tower, baked.items)
        shape = self._model.temperature, self._model.similarity

        def score_fn(history: Sequences) -> np.ndarray:
            scores = np.empty([history.num_rows, items.bias.shape[0]], np.float32)
            for rows, devices in self._create_devices(history, states):
                found = self._map(weights, devices)
                if isinstance(found.query, tuple):
                    scores[rows] = found.logits
                    continue
                block = two_tower.all_logits(tf.constant(found.query), items, *shape).numpy()
                if not isinstance(found.ids, tuple):
                    np.put_along_axis(block, found.ids, found.logits, axis=1)
                scores[rows] = block
            return scores

        return score_fn

    def _create_devices(
        self, history: Sequences, states: np.ndarray | None
    ) -> Sequence[tuple[np.ndarray, _Device]]:
        """The devices by the lengths of their histories, each with its rows of `history`."""
        longest = int(history.lengths.max(initial=0))
        if self._model.takes_one_step:
            longest = min(longest, self._model.history_length)
        sizes = [_SHORTEST_BUCKET]
        while sizes[-1] < longest:
            sizes.append(2 * sizes[-1])
        if self._model.takes_one_step:
            sizes[-1] = min(sizes[-1], self._model.history_length)
        population = clients_lib.stack_clients(history, sizes, max(longest, 1))
        devices = []
        for bucket in population.buckets:
            rows, item_index = bucket.client_row, np.asarray(bucket.item_index)
            client = client_work.ClientData(
                # One more cell: the query is that of the position after the last item.
                np.pad(item_index, [(0, 0), (0, 1)]),
                bucket.num_interactions,
                (),
                self._take_user_features(history, rows),
                self._take_states(history, rows, states),
            )
            devices.append((rows, _Device(client, history.lengths[rows].astype(np.int32))))
        return devices

    def _take_user_features(self, history: Sequences, rows: np.ndarray) -> Any:
        if self._user_features is None:
            return ()
        if history.user_index is None:
            width = self._user_features.index.shape[1]
            return np.full([len(rows), width], feature_values.PADDING, np.int32)
        return self._user_features.index[history.user_index[rows]]

    def _take_states(self, history: Sequences, rows: np.ndarray, states: np.ndarray | None) -> Any:
        if self._personal is None:
            return ()
        if states is None or history.user_index is None:
            size = self._personal.num_weights(self._model.embedding_dim)
            return np.zeros([len(rows), size], np.float32)
        return states[history.user_index[rows]]


def create_finetuning(
    work: ClientWorkConfig, num_epochs: int, learning_rate: float
) -> ClientWorkConfig:
    """How a device fine-tunes: as in training, by plain SGD, without what bounds a round's steps.

    Args:
      work: Settings of client work.
      num_epochs: Passes over the user's examples.
      learning_rate: Step size.

    Returns:
      A configuration whose steps keep no state.
    """
    optimizer = dataclasses.replace(
        work.optimizer, name="sgd", learning_rate=learning_rate, momentum=0.0, schedule=None
    )
    return dataclasses.replace(
        work,
        optimizer=optimizer,
        local_epochs=num_epochs,
        proximal_weight=0.0,
        max_local_steps=None,
        normalizes_update=False,
        algorithm=learning_config.FEDAVG,
    )


def _build_device_fn(
    model: TwoTowerConfig,
    work: ClientWorkConfig,
    sampler: negative_sampling.NegativeSampler,
    item_features: FeatureValues | None,
    finetuning: ClientWorkConfig | None,
    is_whole: bool,
) -> Callable[[two_tower.TwoTowerWeights, _Device], _DeviceScores]:
    """What one device computes; `is_whole`: over the whole table, not over the rows it touches."""
    create_table = client_work.take_whole_table if is_whole else client_work.gather_local_table
    if finetuning is not None:
        algorithm = registry.create_algorithm(finetuning, model.takes_one_step)

    def compute_scores(weights: two_tower.TwoTowerWeights, device: _Device) -> _DeviceScores:
        client = own_history.add_seed(device.client)
        first = own_history.find_first(model, device.length)
        table = create_table(sampler, weights, client, first, item_features)
        examples, trained = table.examples, table.weights
        adapt_fn = own_history.fit(model, work, trained, examples, client.personal)
        if finetuning is not None:
            trained, _, _ = local_training.train(
                model, finetuning, algorithm, trained, examples, client.seed, adapt_fn
            )
        known = local_training.add_item_features(model, trained, examples)
        query = own_history.encode_next(model, known, examples, adapt_fn)
        if finetuning is None:
            return _DeviceScores(query[0], (), ())
        candidates = tower_encoding.encode_candidates(model, known.tower, known.items)
        logits = two_tower.all_logits(query, candidates, model.temperature, model.similarity)[0]
        if is_whole:
            return _DeviceScores((), (), logits)
        # A slot that is not used holds an item of another slot, which was trained in that one.
        used_slot = local_rows.find_slots(table.rows.ids, table.rows.ids)
        return _DeviceScores(query[0], table.rows.ids, tf.gather(logits, used_slot))

    return compute_scores
