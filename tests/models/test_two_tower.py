import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.models import tower_encoding, two_tower
from fedrec_tff.models.config import TwoTowerConfig

_EMBEDDING = np.array([[1.0, 2.0], [3.0, -4.0], [-5.0, 6.0]], np.float32)


def _random_tower(num_blocks, dim, seed):
    rng = np.random.default_rng(seed)
    shapes = [(dim, dim), (dim,), (dim, dim), (dim,)] * num_blocks
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def _encode(embedding, tower, history, mask):
    config = TwoTowerConfig(np.shape(embedding)[1], history.shape[1], len(tower) // 4)
    return tower_encoding.encode_histories(config, embedding, tower, history, mask)


def test_query_is_the_mean_of_the_unmasked_history_by_hand():
    history = np.array([[0, 1, 2], [2, 2, 0], [1, 0, 0], [0, 0, 0]], np.int32)
    mask = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]], np.float32)
    query = _encode(_EMBEDDING, (), history, mask)
    np.testing.assert_allclose(
        query, [[-1 / 3, 4 / 3], [-5.0, 6.0], [1.0, 2.0], [0.0, 0.0]], rtol=1e-6
    )


def test_residual_block_by_hand():
    # hidden = relu(q @ [[1, 0], [0, -1]] + [-2, 1]); q + hidden @ [[1, 2], [3, 4]] + [10, 20].
    tower = (
        np.array([[1, 0], [0, -1]], np.float32),
        np.array([-2, 1], np.float32),
        np.array([[1, 2], [3, 4]], np.float32),
        np.array([10, 20], np.float32),
    )
    query = _encode(_EMBEDDING, tower, np.array([[1]], np.int32), np.ones([1, 1], np.float32))
    # q = [3, -4]; hidden = relu([1, 5]) = [1, 5]; hidden @ kernel_out = [16, 22].
    np.testing.assert_allclose(query, [[29.0, 38.0]])
    query = _encode(_EMBEDDING, tower, np.array([[2]], np.int32), np.ones([1, 1], np.float32))
    # q = [-5, 6]; hidden = relu([-7, -5]) = 0.
    np.testing.assert_allclose(query, [[5.0, 26.0]])


@pytest.mark.parametrize("num_blocks", [0, 1, 2])
def test_query_equals_numpy(num_blocks):
    rng = np.random.default_rng(num_blocks)
    embedding = rng.normal(size=(9, 4)).astype(np.float32)
    tower = _random_tower(num_blocks, 4, seed=1)
    history = rng.integers(9, size=(6, 5)).astype(np.int32)
    mask = (rng.random((6, 5)) < 0.6).astype(np.float32)
    mask[0] = 0.0
    expected = []
    for row in range(6):
        chosen = embedding[history[row]][mask[row] == 1.0].astype(np.float64)
        query = chosen.mean(axis=0) if len(chosen) else np.zeros(4)
        for block in range(num_blocks):
            kernel_in, bias_in, kernel_out, bias_out = tower[4 * block : 4 * block + 4]
            hidden = np.maximum(query @ kernel_in + bias_in, 0.0)
            query = query + hidden @ kernel_out + bias_out
        expected.append(query)
    query = _encode(embedding, tower, history, mask)
    np.testing.assert_allclose(query, expected, rtol=1e-5, atol=1e-5)


def test_masked_history_may_hold_any_index():
    tower = _random_tower(1, 2, seed=2)
    mask = np.array([[1, 0, 0]], np.float32)
    first = _encode(_EMBEDDING, tower, np.array([[1, 0, 0]], np.int32), mask)
    second = _encode(_EMBEDDING, tower, np.array([[1, 2, 1]], np.int32), mask)
    np.testing.assert_array_equal(first, second)


def test_temperature_divides_the_dot_product_and_not_the_bias():
    query = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)
    items = two_tower.ItemRows(_EMBEDDING, np.array([10.0, 20.0, 30.0], np.float32))
    # Dot products [[2, 6, -10], [6, -12, 18]], halved, plus the bias.
    np.testing.assert_allclose(
        two_tower.all_logits(query, items, 2.0), [[11.0, 23.0, 25.0], [13.0, 14.0, 39.0]]
    )
    pairs = two_tower.gather_items(items, np.array([2, 0], np.int32))
    np.testing.assert_allclose(two_tower.pair_logits(query, pairs, 2.0), [25.0, 13.0])


def test_cosines_do_not_depend_on_lengths():
    query = np.array([[2.0, 0.0], [3.0, 3.0]], np.float32)
    embedding = np.array([[5.0, 0.0], [0.0, 0.1], [0.0, 0.0]], np.float32)
    items = two_tower.ItemRows(embedding, np.array([10.0, 20.0, 30.0], np.float32))
    root = np.sqrt(0.5)
    expected = [[12.0, 20.0, 30.0], [10.0 + 2.0 * root, 20.0 + 2.0 * root, 30.0]]
    np.testing.assert_allclose(
        two_tower.all_logits(query, items, 0.5, "cosine"), expected, rtol=1e-6
    )
    pairs = two_tower.gather_items(items, np.array([0, 1], np.int32))
    np.testing.assert_allclose(
        two_tower.pair_logits(query, pairs, 0.5, "cosine"), [12.0, 20.0 + 2.0 * root], rtol=1e-6
    )


def test_a_vector_of_zeros_has_no_direction_and_no_gradient():
    vectors = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        scaled = two_tower.scale_for("cosine", vectors)
        total = tf.reduce_sum(scaled)
    np.testing.assert_allclose(scaled, [[0.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    # Of the sum of v / |v|: (1 - (0.6 + 0.8) v / |v|) / |v|.
    expected = [[0.0, 0.0], [(1.0 - 1.4 * 0.6) / 5.0, (1.0 - 1.4 * 0.8) / 5.0]]
    np.testing.assert_allclose(tape.gradient(total, vectors), expected, rtol=1e-5, atol=1e-7)


def test_initial_weights_are_a_function_of_the_seed():
    config = TwoTowerConfig(embedding_dim=8, history_length=3, num_blocks=2)

    def create(seed):
        weights = two_tower.create_initial_weights(config, num_items=20, seed=seed)
        return [np.asarray(t) for t in (*weights.items, *weights.tower)]

    first, again, other = create(3), create(3), create(4)
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)
    assert np.abs(first[0] - other[0]).min() > 0.0
    kernels = [first[2], first[6], other[2], other[6]]
    for i, left in enumerate(kernels):
        for right in kernels[:i]:
            assert np.abs(left - right).max() > 0.01


def test_initial_weights_have_the_documented_shapes_and_scale():
    config = TwoTowerConfig(embedding_dim=16, history_length=3, num_blocks=1)
    weights = two_tower.create_initial_weights(config, num_items=2_000, seed=0)
    embedding = weights.items.embedding.numpy()
    assert embedding.shape == (2_000, 16)
    assert weights.items.bias.shape == (2_000,)
    assert [tuple(t.shape) for t in weights.tower] == [(16, 16), (16,), (16, 16), (16,)]
    # 32,000 draws of standard deviation 1/4: the mean's own deviation is 0.0014, the other's 0.001.
    assert abs(embedding.mean()) < 0.007
    assert abs(embedding.std() - 0.25) < 0.005


def test_the_tower_starts_as_the_identity():
    config = TwoTowerConfig(embedding_dim=4, history_length=2, num_blocks=2)
    weights = two_tower.create_initial_weights(config, num_items=5, seed=1)
    query = _encode(
        weights.items.embedding,
        weights.tower,
        np.array([[1, 3]], np.int32),
        np.ones([1, 2], np.float32),
    )
    embedding = weights.items.embedding.numpy()
    np.testing.assert_allclose(query[0], (embedding[1] + embedding[3]) / 2, rtol=1e-6)
    # Yet it can learn: the layer before the zero kernel is not zero.
    assert np.abs(weights.tower[0]).max() > 0.0


@pytest.mark.parametrize(("dim", "num_blocks", "num_items"), [(4, 0, 7), (4, 1, 7), (3, 2, 11)])
def test_number_of_weights_is_that_of_the_initial_ones(dim, num_blocks, num_items):
    config = TwoTowerConfig(embedding_dim=dim, num_blocks=num_blocks)
    weights = two_tower.create_initial_weights(config, num_items, seed=0)
    sizes = [np.size(t) for t in (*weights.items, *weights.tower)]
    assert config.num_weights(num_items) == sum(sizes)
