import fixed_negatives
import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.datasets import sequences, splits
from fedrec_tff.datasets.feature_values import FeatureValues
from fedrec_tff.evaluation import ranking
from fedrec_tff.learning import client_work, personal_tower
from fedrec_tff.learning.config import ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.on_device import device_map, local_models, own_history
from fedrec_tff.learning.personal_config import PersonalConfig
from fedrec_tff.models import scoring, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS = 30
_NEGATIVES = [1, 6, 3, 7]
_SAMPLER = fixed_negatives.FixedNegatives(_NEGATIVES, np.full(_NUM_ITEMS, 1.0 / _NUM_ITEMS))
# One, a whole bucket, and more than the causal tower below reads.
_LENGTHS = (1, 2, 16, 9, 17)
_RNG = np.random.default_rng(0)
_HISTORY = sequences.from_rows([_RNG.integers(0, _NUM_ITEMS, n) for n in _LENGTHS])
# All of one shape: one program to compile.
_SHORT = _HISTORY.take(np.arange(4))
_USERS = np.array([4, 0, 2, 1, 3], np.int32)
_SGD = OptimizerConfig("sgd", 0.3)


def _create_weights(model):
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, seed=0)
    return tf.nest.map_structure(
        lambda w: w + 0.3 * tf.random.stateless_normal(w.shape, [1, len(w.shape)]), weights
    )


def _train_on(model, work, items, features=None, personal=()):
    """The model after client work of a round on a history, over the whole table."""
    update_fn = client_work.build_dense_client_update(model, work, _SAMPLER, features)
    client = client_work.ClientData(
        tf.constant(items), tf.constant(len(items)), tf.constant([0, 0]), personal=personal
    )
    weights = _create_weights(model)
    return tf.nest.map_structure(tf.subtract, weights, update_fn(weights, client).update)


def _history(users=_USERS):
    return sequences.Sequences(_HISTORY.items, _HISTORY.offsets, users)


def test_each_user_is_scored_by_a_copy_trained_on_their_own_history():
    model = TwoTowerConfig(4, 20)
    work = ClientWorkConfig(OptimizerConfig("adam", 0.1), batch_size=0)
    finetuning = local_models.create_finetuning(work, num_epochs=2, learning_rate=0.3)
    scorer = local_models.LocalModelScorer(model, work, _SAMPLER, finetuning=finetuning)
    found = scorer.build_score_fn(_create_weights(model))(_SHORT)
    plain = scoring.build_score_fn(model, _create_weights(model))(_SHORT)

    round_work = ClientWorkConfig(_SGD, batch_size=0, local_epochs=2)
    for row in (1, 3):
        trained = _train_on(model, round_work, _SHORT.row(row))
        expected = scoring.build_score_fn(model, trained)(_SHORT.take(np.array([row])))
        np.testing.assert_allclose(found[row], expected[0], atol=2e-5)
        assert np.abs(found[row] - plain[row]).max() > 0.01


@pytest.mark.parametrize("loss", ["sampled_softmax", "full_softmax"])
def test_features_that_a_device_trains_count_for_items_it_never_touched(loss):
    index = np.arange(_NUM_ITEMS, dtype=np.int32)[:, np.newaxis] % 3
    features = FeatureValues(index, (1,))
    model = TwoTowerConfig(4, 20, num_blocks=0, item_feature_buckets=3)
    work = ClientWorkConfig(_SGD, loss, batch_size=0)
    scorer = local_models.LocalModelScorer(
        model,
        work,
        _SAMPLER,
        item_features=features,
        finetuning=local_models.create_finetuning(work, 1, 0.3),
    )
    found = scorer.build_score_fn(_create_weights(model))(_SHORT)
    trained = _train_on(model, work, _SHORT.row(3), features)
    expected = scoring.build_score_fn(model, trained, features)(_SHORT.take(np.array([3])))
    np.testing.assert_allclose(found[3], expected[0], atol=2e-5)


@pytest.mark.parametrize("query_tower", ["mean", "gru"])
def test_the_personal_part_is_fitted_to_all_of_the_history_from_what_the_device_has(query_tower):
    model = TwoTowerConfig(4, 16, query_tower=query_tower)
    config = PersonalConfig("scale_and_shift", 3, 0.4, is_persistent=True)
    work = ClientWorkConfig(_SGD, batch_size=0, personal=config)
    weights = _create_weights(model)
    states = _RNG.normal(size=(6, 8)).astype(np.float32)
    scorer = local_models.LocalModelScorer(model, work, _SAMPLER)
    with_states = scorer.build_score_fn(weights, states)
    found = with_states(_history())

    for row in (0, 2, 4):
        items = _HISTORY.row(row)
        # What came before the first of the items that a causal tower reads is cut off.
        is_cut = query_tower == "gru" and len(items) > 16
        items = items[-16:] if is_cut else items
        table = client_work.take_whole_table(
            _SAMPLER,
            weights,
            client_work.ClientData(
                tf.constant([*items, 0]), tf.constant(len(items)), tf.constant([0, 0])
            ),
            tf.constant(int(is_cut)),
        )
        personal = personal_tower.reconstruct(
            model, work, weights, table.examples, tf.constant(states[_USERS[row]])
        )
        # A score is linear in the query: scores of a model without biases and a unit table.
        plain = scoring.build_score_fn(
            model, weights._replace(items=two_tower.ItemRows(weights.items.embedding, tf.zeros(30)))
        )(_HISTORY.take(np.array([row])))
        embedding = weights.items.embedding.numpy()
        query = np.linalg.lstsq(embedding, plain[0], rcond=None)[0]
        adapted = query * (1.0 + personal[:4].numpy()) + personal[4:].numpy()
        expected = embedding @ adapted + weights.items.bias.numpy()
        np.testing.assert_allclose(found[row], expected, atol=5e-5)

    # Nobody's device, and no device: from zeros.
    unknown = scorer.build_score_fn(weights, np.zeros_like(states))(_history())
    np.testing.assert_array_equal(scorer.build_score_fn(weights)(_history()), unknown)
    np.testing.assert_array_equal(with_states(_HISTORY), unknown)
    assert np.abs(found - unknown).max() > 0.01

    # Whoever else is asked for makes no difference.
    order = np.array([3, 0, 4])
    np.testing.assert_allclose(with_states(_history().take(order)), found[order], atol=1e-6)


def test_negatives_follow_from_the_history_whatever_its_padding():
    # Beyond what 32 bits hold, and with an item whose index is that of padding.
    history = np.array([2_000_000, 0, 5, 1_999_999] * 300, np.int32)
    digest = sum(int(item) * place for place, item in enumerate(history, 1)) % 2**31
    for padding in (0, 7):
        client = client_work.ClientData(tf.constant(np.pad(history, [0, padding])), 1200, ())
        seed = own_history.add_seed(client).seed
        np.testing.assert_array_equal(seed, [0x5C0BE, digest])


def test_no_device_sees_what_it_is_asked_for():
    """Another held-out item changes no score: a device gets the history and nothing else."""
    model = TwoTowerConfig(4, 5, num_blocks=0)
    work = ClientWorkConfig(_SGD, batch_size=0, personal=PersonalConfig("embedding"))
    scorer = local_models.LocalModelScorer(
        model,
        work,
        _SAMPLER,
        finetuning=local_models.create_finetuning(work, 2, 0.5),
    )
    score_fn = scorer.build_score_fn(_create_weights(model))
    seen = []

    def spy(history):
        scores = score_fn(history)
        seen.append((history, scores))
        return scores

    others = [np.setdiff1d(np.arange(_NUM_ITEMS), _SHORT.row(i)) for i in range(4)]
    for place in (0, 1):
        targets = sequences.from_rows([[items[place]] for items in others])
        ranking.evaluate(
            spy, splits.EvaluationSet(_USERS[:4], _SHORT, targets), _NUM_ITEMS, ks=(3,)
        )
    (first_history, first), (second_history, second) = seen
    for history in (first_history, second_history):
        np.testing.assert_array_equal(history.items, _SHORT.items)
    np.testing.assert_array_equal(first, second)


def test_devices_of_several_blocks_keep_their_order():
    double = device_map.DeviceMap(
        lambda shared, device: {"a": shared * device["a"], "b": device["b"][0]},
        {"a": tf.float32, "b": tf.int32},
        block_size=4,
    )
    devices = {
        "a": np.arange(10, dtype=np.float32),
        "b": np.arange(30, dtype=np.int32).reshape(10, 3),
    }
    found = double(tf.constant(2.0), devices)
    np.testing.assert_array_equal(found["a"], 2.0 * np.arange(10))
    np.testing.assert_array_equal(found["b"], 3 * np.arange(10))
