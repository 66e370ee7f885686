"""Stateful random operations of a graph, made stateless: Philox over the key that is given."""

import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff.execution import stateless_random

_KEY = 0x0123456789ABCDEF
_COUNTER = 0xFEDCBA9876543210
_SHAPE = [3, 5]


def _philox4x32(counter, key, num_words):
    """Philox4x32-10 of Salmon et al. 2011, in Python's integers: uint32 [num_words]."""
    words, mask = [], 2**32 - 1
    for block in range(-(-num_words // 4)):
        number = (counter + block) % 2**128
        x = [(number >> 32 * i) & mask for i in range(4)]
        k = [key & mask, key >> 32]
        for _ in range(10):
            a, b = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
            x = [(b >> 32) ^ x[1] ^ k[0], b & mask, (a >> 32) ^ x[3] ^ k[1], a & mask]
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        words += x
    return np.array(words[:num_words], np.uint32)


def _words(operation, num_words):
    """The stream of an operation: its number is the upper half of the counter."""
    return _philox4x32(_COUNTER + (operation << 64), _KEY, num_words)


def _floats(words):
    """TensorFlow's uniform floats: the lower 23 bits are the fraction."""
    return ((words & 0x7FFFFF) | 0x3F800000).astype(np.uint32).view(np.float32) - 1


def _run(build):
    """Rewrites the graph that `build` makes, and runs it: its outputs, and what is left."""
    with tf.Graph().as_default() as graph:
        names = [tensor.name for tensor in build()]
    graph_def = graph.as_graph_def()
    inputs = stateless_random.rewrite(graph_def).inputs
    assert stateless_random.stateful_ops(graph_def) == []

    def draw(key, counter):
        return tf.graph_util.import_graph_def(
            graph_def, {inputs.key: key, inputs.counter: counter}, names
        )

    outputs = tf.function(draw)(tf.constant([_KEY], tf.uint64), tf.constant(_COUNTER, tf.uint64))
    return [tensor.numpy() for tensor in outputs]


def test_our_philox_is_the_published_one():
    # Known answers of Random123.
    assert [hex(w) for w in _philox4x32(0, 0, 4)] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]


def test_uniform_numbers():
    (drawn,) = _run(lambda: [tf.random.uniform(_SHAPE)])
    np.testing.assert_array_equal(drawn, _floats(_words(0, 15)).reshape(_SHAPE))


def test_normal_numbers():
    (drawn,) = _run(lambda: [tf.random.normal(_SHAPE)])
    words = _words(0, 16).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log(np.maximum(_floats(words[:, 0]), np.float32(1e-7))))
    angle = 2 * np.pi * _floats(words[:, 1])
    expected = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).ravel()[:15]
    np.testing.assert_allclose(drawn.ravel(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_uniform_integers(dtype):
    (drawn,) = _run(lambda: [tf.random.uniform(_SHAPE, -3, 5, dtype)])
    assert drawn.dtype == dtype.as_numpy_dtype
    words = _words(0, 30 if dtype == tf.int64 else 15)
    # Of two words the lower comes first; of a power of two, the lowest bits remain.
    lower = words[:: 2 if dtype == tf.int64 else 1]
    np.testing.assert_array_equal(drawn.ravel(), lower.astype(np.int64) % 8 - 3)


def test_truncated_normal_numbers():
    (drawn,) = _run(lambda: [tf.random.truncated_normal(_SHAPE)])
    key, counter = tf.constant([_KEY], tf.uint64), tf.constant([_COUNTER, 0], tf.uint64)
    expected = tf.raw_ops.StatelessTruncatedNormalV2(
        shape=_SHAPE, key=key, counter=counter, alg=1, dtype=tf.float32
    )
    np.testing.assert_array_equal(drawn, expected)


def test_operations_of_one_graph_are_different_streams():
    first, second, third = _run(lambda: [tf.random.uniform([4]) for _ in range(3)])
    for index, drawn in enumerate((first, second, third)):
        np.testing.assert_array_equal(drawn, _floats(_words(index, 4)))
    assert len(np.unique([first, second, third])) == 12


def test_operations_with_a_seed_draw_what_a_new_session_does():
    def build():
        return [
            tf.random.uniform([4], seed=7),
            tf.random.normal([3], seed=8),
            tf.random.uniform([2]),
        ]

    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        expected = session.run(build())
    drawn = _run(build)
    for found, reference in zip(drawn[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(found, reference)


def test_shapes_known_only_at_run_time_and_float64():
    def build():
        size = tf.reduce_sum(tf.ones([7], tf.int64))
        return [tf.random.uniform([size, 2], dtype=tf.float64), tf.random.normal([size], 5.0, 0.0)]

    uniform, constant = _run(build)
    assert uniform.shape == (7, 2)
    assert uniform.dtype == np.float64
    assert 0 <= uniform.min() < uniform.max() < 1
    assert len(np.unique(uniform)) == 14
    np.testing.assert_array_equal(constant, [5.0] * 7)


def test_control_dependencies_stay():
    def build():
        value = tf.compat.v1.placeholder_with_default(9.0, [])
        with tf.control_dependencies([tf.debugging.assert_less(value, 5.0)]):
            return [tf.random.uniform([])]

    with pytest.raises(tf.errors.InvalidArgumentError):
        _run(build)


def test_a_graph_that_draws_nothing_is_left_alone():
    with tf.Graph().as_default() as graph:
        tf.random.stateless_uniform([2], [1, 2])
    graph_def = graph.as_graph_def()
    before = graph_def.SerializeToString(deterministic=True)
    assert stateless_random.rewrite(graph_def).inputs is None
    assert graph_def.SerializeToString(deterministic=True) == before


def test_what_cannot_be_rewritten_is_told():
    with tf.Graph().as_default() as graph:
        tf.random.shuffle([1, 2])
        tf.function(lambda: tf.random.normal([]))()
        tf.random.uniform([])
    graph_def = graph.as_graph_def()
    stateless_random.rewrite(graph_def)
    assert stateless_random.stateful_ops(graph_def) == ["RandomShuffle", "RandomStandardNormal"]
