"""A gated recurrent unit over sequences of items: GRU4Rec's encoder.

Cho et al. 2014 (arXiv 1406.1078), with the reset gate after the recurrent product, as Keras and
cuDNN have it; Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks"
(arXiv 1511.06939).
"""

# Tested in tests/models/test_tower_encoding.py.

from collections.abc import Sequence

import tensorflow as tf


def encode(items: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """Encodes what came before each position, and all of it.

    Args:
      items: float32 [batch, length, dim], embeddings of items, oldest first.
      weights: `(kernel, recurrent_kernel, bias, recurrent_bias)`: [dim, 3 dim] twice and [3 dim]
        twice, for the update gate, the reset gate and the candidate, in this order.

    Returns:
      float32 [batch, length + 1, dim]. Row `t` depends on the first `t` items alone; row 0 is zero.
    """
    kernel, recurrent_kernel, bias, recurrent_bias = weights
    inputs = tf.transpose(tf.linalg.matmul(items, kernel) + bias, [1, 0, 2])
    length = tf.shape(inputs)[0]
    start = tf.zeros([tf.shape(items)[0], items.shape[-1]])
    states = tf.TensorArray(tf.float32, size=length, element_shape=start.shape)

    def step_fn(step, state, states):
        from_input = tf.split(inputs[step], 3, axis=-1)
        product = tf.linalg.matmul(state, recurrent_kernel) + recurrent_bias
        from_state = tf.split(product, 3, axis=-1)
        update = tf.sigmoid(from_input[0] + from_state[0])
        reset = tf.sigmoid(from_input[1] + from_state[1])
        candidate = tf.tanh(from_input[2] + reset * from_state[2])
        state = update * state + (1.0 - update) * candidate
        return step + 1, state, states.write(step, state)

    # XLA needs to know how much there will be to remember for the gradient.
    _, _, states = tf.while_loop(
        lambda step, *_: step < length,
        step_fn,
        (tf.constant(0), start, states),
        maximum_iterations=length,
    )
    return tf.transpose(tf.concat([start[tf.newaxis], states.stack()], axis=0), [1, 0, 2])
