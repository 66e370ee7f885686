"""Operations of client work over a block, against TensorFlow's own kernels and published bits."""

import logging

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

_NUM_CLIENTS = 6
# Known answers of Philox4x32-10: counter, key, output (Random123 1.14, tests/kat_vectors).
_PHILOX = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def _elementwise(x, n):
    positive = tf.abs(x) + 0.5
    return {
        "exp": tf.exp(x) + tf.math.expm1(x) + tf.math.log1p(positive) + tf.math.log(positive),
        "roots": tf.sqrt(positive) + tf.math.rsqrt(positive) + tf.pow(positive, 1.5),
        "circle": tf.sin(x) + tf.cos(x) + tf.tanh(x) + tf.atan2(x, positive),
        "rounding": tf.floor(3 * x) + tf.math.ceil(3 * x) + tf.round(3 * x) + tf.sign(x),
        "logistic": tf.sigmoid(x) + tf.nn.softplus(x) + tf.nn.relu6(5 * x) + tf.nn.gelu(x),
        "choice": tf.where(x > 0, x, -2.0 * x) + tf.clip_by_value(x, -0.5, 0.5),
        "remainder": tf.math.floormod(x, 0.3) + tf.math.floordiv(x, 0.3),
        "casts": tf.cast(tf.cast(10 * x, tf.int32), tf.float32) + tf.cast(x > 0, tf.float32),
        "bits": tf.bitwise.bitwise_xor(tf.bitcast(x, tf.int32), n),
        "shifts": tf.bitwise.left_shift(n, 3) + tf.bitwise.right_shift(n, 1) + tf.bitwise.invert(n),
        "integers": n // 3 + n % 3 + tf.abs(-n) + tf.maximum(n, 4),
    }


def _shapes(x, n):
    square = tf.reshape(x[:9], [3, 3])
    return {
        "slices": x[1:10:2] + tf.reverse(x, [0])[:5],
        "pads": tf.pad(x, [[2, 1]], constant_values=1.0),
        "concat": tf.concat([x, 2 * x[:3]], 0) + tf.tile(x[:3], [5])[:15],
        "transpose": tf.transpose(square) + tf.linalg.band_part(square, 1, 0),
        "gather": tf.gather(x, [0, 11, 3]) + tf.gather_nd(square, [[0, 1], [2, 2], [1, 0]]),
        "one_hot": tf.one_hot(n % 4, 4) + tf.cast(tf.range(4), tf.float32),
        "updates": tf.tensor_scatter_nd_update(x, [[n % 12], [(n + 3) % 12]], [7.0, 8.0]),
        "adds": tf.tensor_scatter_nd_add(x, [[2], [2], [n % 12]], [1.0, 2.0, 3.0]),
        "extrema": tf.tensor_scatter_nd_max(x, [[1]], [0.1])
        + tf.tensor_scatter_nd_min(x, [[1]], [0.1]),
        "segments": tf.math.unsorted_segment_sum(x, [0, 1, 2, 0] * 3, 4),
        "stack": tf.stack(tf.unstack(square, axis=1), axis=0),
    }


def _reductions(x, n):
    square = tf.reshape(x[:9], [3, 3])
    image = tf.reshape(tf.concat([x, x[:4]], 0), [1, 4, 4, 1])
    return {
        "sums": tf.reduce_sum(square, 1) + tf.reduce_mean(square, 0) + tf.reduce_prod(square, 0),
        "extrema": tf.reduce_max(square, 0) + tf.reduce_min(square, 1),
        "where": tf.cast(tf.argmax(square, 1) + tf.argmin(square, 0), tf.float32),
        "any": tf.cast(tf.reduce_any(square > 1, 0) | tf.reduce_all(square > -1, 1), tf.float32),
        "cumulative": tf.cumsum(x) + tf.cumsum(x, exclusive=True, reverse=True),
        "softmax": tf.nn.softmax(square) + tf.nn.log_softmax(square),
        "sorted": tf.sort(x) + tf.sort(x, direction="DESCENDING"),
        "order": tf.cast(tf.argsort(x, stable=True), tf.float32)[:4]
        + tf.cast(tf.math.top_k(x, 4).indices, tf.float32),
        "products": tf.matmul(square, square, transpose_b=True)
        + tf.einsum("ij,kj->ik", square, square),
        "batched": tf.matmul(tf.reshape(x, [2, 2, 3]), tf.reshape(x, [2, 3, 2])),
        "convolution": tf.nn.conv2d(image, tf.reshape(x[:4], [2, 2, 1, 1]), 1, "SAME"),
        "pooling": tf.nn.max_pool2d(image, 2, 2, "VALID") + tf.nn.avg_pool2d(image, 2, 2, "VALID"),
    }


def _control(x, n):
    _, looped = tf.while_loop(lambda i, v: i < n, lambda i, v: (i + 1, 0.9 * v + 1.0), (0, x))
    _, nested = tf.while_loop(
        lambda i, v: i < n % 3,
        lambda i, v: (
            i + 1,
            tf.while_loop(lambda j, w: j < i + n, lambda j, w: (j + 1, w * 0.5 + 1), (0, v))[1],
        ),
        (0, x),
    )
    return {
        "loop": looped,
        "nested": nested,
        "branch": tf.cond(n > 3, lambda: x + 1.0, lambda: tf.sin(x)),
        "switch": tf.switch_case(n % 4, [lambda k=k: k * x for k in range(4)]),
        "out_of_range": tf.switch_case(n + 7, [lambda: x, lambda: 2 * x]),
    }


def _random_bits(x, n):
    del x
    drawn = {
        f"known_{index}": tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[4],
            key=tf.constant([key[0] | key[1] << 32], tf.uint64),
            counter=tf.constant(
                [counter[0] | counter[1] << 32, counter[2] | counter[3] << 32], tf.uint64
            ),
            alg=1,
            dtype=tf.uint32,
        )
        for index, (counter, key, _) in enumerate(_PHILOX)
    }
    mine = [n, 2 * n + 1]
    return {
        **drawn,
        "integers": tf.random.stateless_uniform([5], mine, 0, 1000, tf.int32, alg="philox"),
        "long": tf.bitwise.right_shift(
            tf.random.stateless_uniform([3, 3], mine, None, None, tf.int64, alg="philox"), 20
        ),
    }


def _clients():
    rng = np.random.default_rng(7)
    return [
        (rng.normal(size=12).astype(np.float32), np.int32(size)) for size in (0, 9, 1, 4, 3, 17)
    ]


def _sum_over_clients(function, context):
    client_type = (tff.TensorType(np.float32, [12]), tff.TensorType(np.int32))

    @tff.tensorflow.computation(*client_type)
    def work(x, n):
        return {name: tf.cast(t, tf.float64) for name, t in function(x, n).items()}

    @tff.federated_computation(tff.FederatedType(client_type, tff.CLIENTS))
    def computation(clients):
        return tff.federated_sum(tff.federated_map(work, clients))

    with context.install():
        return computation(_clients())


def _expect(function):
    """The same by TensorFlow's kernels, client after client."""
    results = [function(tf.constant(x), tf.constant(n)) for x, n in _clients()]
    return {
        name: np.sum([result[name].numpy().astype(np.float64) for result in results], axis=0)
        for name in results[0]
    }


def _check(function, context, caplog, rtol):
    with caplog.at_level(logging.WARNING, "fedrec_tff"):
        found = _sum_over_clients(function, context)
    assert not caplog.records, caplog.records[0].getMessage()
    for name, expected in _expect(function).items():
        np.testing.assert_allclose(found[name], expected, rtol, 1e-5, err_msg=name)
    return found


def test_elementwise(batching, caplog):
    _check(_elementwise, batching, caplog, 1e-4)


def test_shapes(batching, caplog):
    _check(_shapes, batching, caplog, 1e-6)


def test_reductions(batching, caplog):
    _check(_reductions, batching, caplog, 1e-4)


def test_loops_and_branches_of_which_each_client_takes_its_own(batching, looping, caplog):
    _check(_control, batching, caplog, 1e-5)
    _check(_control, looping, caplog, 1e-5)


def test_random_bits_are_those_of_each_clients_own_key(batching, caplog):
    found = _check(_random_bits, batching, caplog, 0.0)
    for index, (_, _, published) in enumerate(_PHILOX):
        np.testing.assert_array_equal(found[f"known_{index}"], np.float64(published) * _NUM_CLIENTS)
