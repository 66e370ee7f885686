"""Centralised training of causal towers: its batches, its loss, and a model that learned."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.datasets import loading, synthetic
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.evaluation import popularity, ranking
from fedrec_tff.learning import centralized_sequences, negative_sampling
from fedrec_tff.models import scoring, tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_CONFIG = TwoTowerConfig(16, 8, num_blocks=1, query_tower="attention", dropout=0.1)


def test_every_user_is_in_an_epoch_once_with_a_stretch_of_their_own():
    rows = [list(range(10 * u, 10 * u + n)) for u, n in enumerate([3, 5, 9, 1, 4, 7, 2])]
    train = sequences_lib.from_rows(rows)
    seen = []
    for batch in centralized_sequences.iterate_epoch(train, 4, 3, np.random.default_rng(0)):
        assert batch["sequence"].shape == (3, 4)
        counts = batch["num_interactions"]
        for items, count, first in zip(batch["sequence"], counts, batch["first"], strict=True):
            if not count:
                continue
            user = items[0] // 10
            seen.append(user)
            start = items[0] % 10
            assert items[:count].tolist() == rows[user][start : start + count]
            assert count == min(len(rows[user]), 4)
            assert first == (start > 0)
    assert sorted(seen) == list(range(7))


def test_the_loss_is_the_mean_over_all_positions_of_a_softmax_against_the_negatives():
    config = TwoTowerConfig(8, 4, num_blocks=1, query_tower="gru")
    weights = two_tower.create_initial_weights(config, 20, 0)
    sampler = negative_sampling.NegativeSampler(20, 6, np.arange(1, 21) / 210.0)
    model = centralized_sequences.SequenceModel(config, weights, sampler)
    batch = {
        "sequence": np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]], np.int32),
        "num_interactions": np.array([5, 3], np.int32),
        "first": np.array([1, 0], np.int32),
        "seed": np.array([1, 2], np.int32),
    }
    negatives = sampler.sample(tf.constant(batch["seed"])).numpy()
    embedding, bias = (w.numpy() for w in weights.items)
    log_q = np.log(np.arange(1, 21) / 210.0)
    losses = []
    for items, start, stop in ((batch["sequence"][0], 1, 5), (batch["sequence"][1], 0, 3)):
        queries = tower_encoding.encode_sequence(
            config, weights.items.embedding, weights.tower, tf.constant(items), None
        ).numpy()
        for position in range(start, stop):
            logits = embedding @ queries[position] + bias - log_q
            target = logits[items[position]]
            others = logits[negatives[negatives != items[position]]]
            losses.append(np.log(np.exp(target) + np.exp(others).sum()) - target)
    found = model.compute_loss(tf.nest.map_structure(tf.constant, batch))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-4)


def test_items_have_what_is_known_of_them():
    config = TwoTowerConfig(8, 4, num_blocks=1, query_tower="gru")
    weights = two_tower.create_initial_weights(config, 20, 0)
    sampler = negative_sampling.NegativeSampler(20, 6, np.arange(1, 21) / 210.0)
    rng = np.random.default_rng(1)
    table = rng.normal(size=(5, 9)).astype(np.float32)
    values = FeatureValues(np.arange(20, dtype=np.int32)[:, np.newaxis] % 5, (1,))
    added = table[values.index[:, 0]]
    embedding, bias = weights.items
    plain = weights._replace(
        items=two_tower.ItemRows(embedding + added[:, :-1], bias + added[:, -1])
    )
    batch = {
        "sequence": tf.constant([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]]),
        "num_interactions": tf.constant([5, 3]),
        "first": tf.constant([1, 0]),
        "seed": tf.constant([1, 2]),
    }
    model = centralized_sequences.SequenceModel(
        dataclasses.replace(config, item_feature_buckets=5),
        weights._replace(tower=(*weights.tower, table)),
        sampler,
        values,
    )
    expected = centralized_sequences.SequenceModel(config, plain, sampler).compute_loss(batch)
    with tf.GradientTape() as tape:
        found = model.compute_loss(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    gradients = tape.gradient(found, model.trainable_variables)
    assert np.abs(tf.convert_to_tensor(gradients[-1])).max() > 1e-4


def test_a_trained_tower_ranks_better_than_popularity():
    users = synthetic.SyntheticConfig(num_users=250, num_items=120, mean_length=25.0, seed=4)
    split = loading.load(loading.DatasetConfig(synthetic=users)).split
    told = []
    weights = centralized_sequences.train(
        _CONFIG, split, 12, 25, 0.01, 64, 0, lambda epoch, loss: told.append((epoch, loss))
    )
    assert [epoch for epoch, _ in told] == list(range(1, 13))
    assert told[-1][1] < told[0][1]
    ours, popular = (
        ranking.evaluate(score_fn, split.validation, split.num_items)["ndcg@10"]
        for score_fn in (
            scoring.build_score_fn(_CONFIG, weights),
            popularity.PopularityRecommender(split.train, split.num_items).score_fn,
        )
    )
    assert ours > 1.3 * popular


def test_data_without_items_are_refused():
    split = loading.load(loading.DatasetConfig(synthetic=synthetic.SyntheticConfig(50, 30))).split
    empty = type(split)(**{**vars(split), "train": sequences_lib.from_rows([[], []])})
    with pytest.raises(errors.UserError, match="needs training sequences"):
        centralized_sequences.train(_CONFIG, empty, 1, 2, 0.01, 4, 0)


def test_adam_over_whole_tables_is_keras_adam():
    rows = tf.constant([[1, 1, 4], [0, 1, 3]])  # some of a table's rows, some of them repeated
    found = []
    for optimizer_class in (centralized_sequences.DenseAdam, tf.keras.optimizers.Adam):
        table = tf.Variable(tf.reshape(tf.range(10, dtype=tf.float32), [5, 2]))
        optimizer = optimizer_class(0.1)
        for row in rows:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, row) ** 2)
            gradient = tape.gradient(loss, table)
            assert isinstance(gradient, tf.IndexedSlices)
            optimizer.apply_gradients([(gradient, table)])
        found.append(table.numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)
