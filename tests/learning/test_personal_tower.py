import fixed_negatives
import numpy as np
import numpy_training
import pytest
import tensorflow as tf
from scipy import special

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.learning import client_work, negative_sampling, optimizers, personal_tower
from fedrec_tff.learning import process as process_lib
from fedrec_tff.learning.config import LOSSES, ClientWorkConfig, OptimizerConfig
from fedrec_tff.learning.on_device import personal_state
from fedrec_tff.learning.personal_config import PersonalConfig
from fedrec_tff.models import two_tower
from fedrec_tff.models.config import TwoTowerConfig

_NUM_ITEMS, _DIM = 9, 3
_MODEL = TwoTowerConfig(embedding_dim=_DIM, history_length=2, num_blocks=1, temperature=0.7)
_WEIGHTS = numpy_training.create_weights(_NUM_ITEMS, _DIM, seed=0)
_ITEMS = np.array([3, 5, 3, 8, 0])
_NEGATIVES = np.array([1, 6, 3, 7])
_SAMPLER = fixed_negatives.FixedNegatives(_NEGATIVES, np.full(_NUM_ITEMS, 1.0 / _NUM_ITEMS))
_TOWERS = ("embedding", "scale_and_shift")
_BUILDERS = {
    "dense": client_work.build_dense_client_update,
    "row_sparse": client_work.build_row_sparse_client_update,
}


def _work(personal, **kwargs):
    kwargs = {"batch_size": 0, **kwargs}
    return ClientWorkConfig(OptimizerConfig("sgd", 0.3), personal=personal, **kwargs)


def _client(items=_ITEMS, personal=(), num_padding=3):
    padded = tf.constant([*items, *[0] * num_padding], tf.int32)
    return client_work.ClientData(
        padded, tf.constant(len(items)), tf.constant([1, 2]), personal=personal
    )


def _update(work, client, weights=_WEIGHTS, model=_MODEL, form="dense"):
    tensors = tf.nest.map_structure(tf.constant, weights)
    return _BUILDERS[form](model, work, _SAMPLER)(tensors, client)


def _flatten(update):
    """The dense form of an update, as a vector."""
    if isinstance(update, row_sparse.RowSparse):
        embedding, bias = np.zeros((_NUM_ITEMS, _DIM)), np.zeros(_NUM_ITEMS)
        np.add.at(embedding, update.ids.numpy(), update.value.items.embedding.numpy())
        np.add.at(bias, update.ids.numpy(), update.value.items.bias.numpy())
        items = two_tower.ItemRows(embedding, bias)
        update = two_tower.TwoTowerWeights(items, update.value.tower)
    return numpy_training.flatten(update)


def _numpy_loss(tower, vector, personal, positions):
    """The mean loss of sampled softmax with a personal part, by loops."""
    weights = numpy_training.unflatten(vector, _WEIGHTS)
    losses = []
    for position in positions:
        query = numpy_training.encode(_MODEL, weights, _ITEMS[:position])
        if tower == "embedding":
            query = query + personal
        else:
            query = query * (1.0 + personal[:_DIM]) + personal[_DIM:]
        own = _ITEMS[position]
        kept = [own, *_NEGATIVES[own != _NEGATIVES]]
        logits = weights.items.embedding[kept] @ query / 0.7 + weights.items.bias[kept]
        losses.append(special.logsumexp(logits) - logits[0])
    return np.mean(losses)


def _differentiate(loss_fn, vector):
    steps = 1e-6 * np.eye(len(vector))
    return np.array([(loss_fn(vector + s) - loss_fn(vector - s)) / 2e-6 for s in steps])


@pytest.mark.parametrize("form", _BUILDERS)
@pytest.mark.parametrize("tower", _TOWERS)
def test_two_rounds_are_those_of_the_algorithm_by_hand(tower, form):
    config = PersonalConfig(tower, 2, 0.4, support_fraction=0.5)
    server, expected = _WEIGHTS, numpy_training.flatten(_WEIGHTS)
    for _ in range(2):
        # Of five examples, the two oldest are the support.
        personal = np.zeros(config.num_weights(_DIM))
        for _ in range(2):
            step = _differentiate(lambda p, x=expected: _numpy_loss(tower, x, p, [0, 1]), personal)
            personal = personal - 0.4 * step
        gradient = _differentiate(
            lambda x, p=personal: _numpy_loss(tower, x, p, [2, 3, 4]), expected
        )
        expected = expected - 0.3 * gradient

        result = _update(_work(config), _client(), server, form=form)
        server = numpy_training.unflatten(
            numpy_training.flatten(server) - _flatten(result.update), _WEIGHTS
        )
        server = tf.nest.map_structure(np.float32, server)
        assert result.weight == 3.0
        np.testing.assert_allclose(numpy_training.flatten(server), expected, atol=2e-5)


@pytest.mark.parametrize("query_tower", ["mean", "recency", "gru", "attention"])
def test_without_steps_nothing_differs_from_no_personal_part(query_tower):
    model = TwoTowerConfig(_DIM, 4, query_tower=query_tower)
    weights = two_tower.create_initial_weights(model, _NUM_ITEMS, seed=0)
    for size in (0, 2):
        plain = _update(_work(None, batch_size=size), _client(), weights, model, "row_sparse")
        none = PersonalConfig("scale_and_shift", reconstruction_steps=0)
        found = _update(_work(none, batch_size=size), _client(), weights, model, "row_sparse")
        for left, right in zip(tf.nest.flatten(plain), tf.nest.flatten(found), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "in_batch_softmax"])
def test_user_with_one_example_trains_the_global_part_and_has_no_support(loss):
    config = PersonalConfig("embedding", 3, 1.0)
    plain = _update(_work(None, loss=loss), _client([4]))
    found = _update(_work(config, loss=loss), _client([4]))
    np.testing.assert_array_equal(_flatten(found.update), _flatten(plain.update))
    assert np.linalg.norm(_flatten(found.update)) > 0.01


@pytest.mark.parametrize(
    ("length", "fraction", "num_support"), [(5, 0.5, 2), (2, 0.9, 1), (1, 0.5, 0), (0, 0.5, 0)]
)
def test_support_are_the_oldest_and_a_query_is_left(length, fraction, num_support):
    config = PersonalConfig("embedding", support_fraction=fraction)
    items = _ITEMS[:length]
    table = client_work.take_whole_table(_SAMPLER, _WEIGHTS, _client(items), 0)
    support = personal_tower.take_support(config, table.examples)
    queries = personal_tower.take_queries(config, table.examples)
    assert (support.first, support.num_interactions) == (0, num_support)
    assert (queries.first, queries.num_interactions) == (num_support, length)


def test_batches_hold_queries_alone():
    """Batches of two, over three of six examples, in random orders."""
    work = _work(PersonalConfig("embedding", 1, 0.4), batch_size=2, local_epochs=3)
    stored = tf.zeros([_DIM])
    # The queries are the positions from 3 on, and read the items from position 1 on.
    result = _update(work, _client([3, 5, 3, 8, 0, 2], stored))
    swapped = _update(work, _client([7, 5, 3, 8, 0, 2], stored))
    assert result.metrics.num_examples == 9.0
    np.testing.assert_array_equal(_flatten(swapped.update), _flatten(result.update))
    other_query = _update(work, _client([3, 5, 3, 7, 0, 2], stored))
    assert np.any(_flatten(other_query.update) != _flatten(result.update))


@pytest.mark.parametrize("tower", _TOWERS)
def test_a_device_that_had_nothing_hands_in_what_a_round_would_reconstruct(tower):
    config = PersonalConfig(tower, 3, 0.4, is_persistent=True)
    work, sampler = _work(config), _SAMPLER
    size = config.num_weights(_DIM)
    refit = personal_state.build_refit(_MODEL, work, sampler)
    # Two devices: one has nothing, the other has been fitted before.
    before = np.stack([np.zeros(size), np.full(size, 0.2)]).astype(np.float32)
    single = _client()
    both = client_work.ClientData(
        np.tile(single.item_index, [2, 1]),
        np.array([5, 5], np.int32),
        np.tile(single.seed, [2, 1]),
        (),
        before,
    )
    after = refit(_WEIGHTS, both)
    assert after.shape == (2, size)
    stored = _update(work, _client(personal=tf.constant(after[0])))
    reconstructed = _update(work, single)
    np.testing.assert_allclose(_flatten(stored.update), _flatten(reconstructed.update), atol=1e-6)

    # The other goes on from what it has.
    personal, vector = before[1].astype(np.float64), numpy_training.flatten(_WEIGHTS)
    for _ in range(3):
        gradient = _differentiate(lambda p: _numpy_loss(tower, vector, p, [0, 1]), personal)
        personal = personal - 0.4 * gradient
    np.testing.assert_allclose(after[1], personal, atol=2e-5)


def test_the_personal_part_is_in_no_type_of_what_is_sent_or_kept_by_the_server():
    def build(personal, size):
        update = client_work.build_row_sparse_client_update(
            _MODEL, _work(personal), negative_sampling.NegativeSampler(_NUM_ITEMS, 4)
        )
        process = process_lib.build_learning_process(
            _MODEL,
            _NUM_ITEMS,
            update,
            row_sparse.RowSparseMeanFactory(_NUM_ITEMS),
            optimizers.create_optimizer(OptimizerConfig("sgd", 1.0)),
            seed=0,
            client_data_type=client_work.create_client_data_type(personal_size=size),
        )
        return update, process

    kept = PersonalConfig("scale_and_shift", is_persistent=True)
    (plain, plain_process), (personal, process) = build(None, 0), build(kept, 2 * _DIM)
    # The server's state and what it measures, and what it sends with a round, are the same.
    assert process.initialize.type_signature == plain_process.initialize.type_signature
    assert process.next.type_signature.result == plain_process.next.type_signature.result
    tensors = tf.nest.map_structure(tf.constant, _WEIGHTS)
    sent = personal(tensors, _client(personal=tf.fill([2 * _DIM], 0.125)))
    without = plain(tensors, _client())
    tf.nest.assert_same_structure(sent, without)
    for leaf, expected in zip(tf.nest.flatten(sent), tf.nest.flatten(without), strict=True):
        assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)
    assert not any(np.any(leaf.numpy() == 0.125) for leaf in tf.nest.flatten(sent.update))


def test_scale_and_shift_is_film():
    query = np.array([[1.0, 2.0, 3.0]], np.float32)
    personal = tf.constant([0.5, 0.0, -1.0, 10.0, 20.0, 30.0])
    found = personal_tower.adapt("scale_and_shift", query, personal)
    np.testing.assert_allclose(found, [[11.5, 22.0, 30.0]])
