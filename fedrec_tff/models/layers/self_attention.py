"""Causal self-attention over sequences of items: SASRec's encoder, with layer norm first.

Kang and McAuley 2018, "Self-attentive sequential recommendation" (arXiv 1808.09781); layer norm
before attention and before the feed-forward layer, and one at the end, as in Xiong et al. 2020
(arXiv 2002.04745). What comes first in a sequence is read after a token for the beginning, whose
embedding is its position's.
"""

# Tested in tests/models/test_tower_encoding.py.

from collections.abc import Sequence

import tensorflow as tf

from fedrec_tff.models import dropout as dropout_lib

_NUM_TENSORS_PER_BLOCK = 10
_EPSILON = 1e-6
_MASKED = -1e9


def encode(
    items: tf.Tensor, weights: Sequence[tf.Tensor], num_heads: int, dropout: dropout_lib.Dropout
) -> tf.Tensor:
    """Encodes what came before each position, and all of it.

    Args:
      items: float32 [batch, length, dim], embeddings of items, oldest first.
      weights: The tower's, as `TwoTowerConfig.tower` lists them.
      num_heads: Number of heads of self-attention; it divides `dim`.
      dropout: Dropout of this step.

    Returns:
      float32 [batch, length + 1, dim]. Row `t` depends on the first `t` items alone.
    """
    positions, *blocks, scale, offset = weights
    dim = items.shape[-1]
    length = tf.shape(items)[1] + 1
    # As in Vaswani et al. 2017, section 3.4: embeddings are small where they are also outputs.
    states = tf.pad(items * dim**0.5, [[0, 0], [1, 0], [0, 0]]) + positions[:length]
    states = dropout(states)
    index = tf.range(length)
    is_later = index[tf.newaxis, :] > index[:, tf.newaxis]
    for first in range(0, len(blocks), _NUM_TENSORS_PER_BLOCK):
        states = _apply_block(
            states, blocks[first : first + _NUM_TENSORS_PER_BLOCK], is_later, num_heads, dropout
        )
    return _normalize(states, scale, offset)


def _apply_block(
    states: tf.Tensor,
    weights: Sequence[tf.Tensor],
    is_later: tf.Tensor,
    num_heads: int,
    dropout: dropout_lib.Dropout,
) -> tf.Tensor:
    scale, offset, kernel_qkv, kernel_out, *rest = weights
    attended = _attend(_normalize(states, scale, offset), kernel_qkv, is_later, num_heads)
    states += dropout(tf.linalg.matmul(attended, kernel_out))
    scale, offset, kernel_in, bias_in, kernel_out, bias_out = rest
    hidden = tf.linalg.matmul(_normalize(states, scale, offset), kernel_in) + bias_in
    hidden = dropout(tf.nn.relu(hidden))
    return states + dropout(tf.linalg.matmul(hidden, kernel_out) + bias_out)


def _attend(
    states: tf.Tensor, kernel_qkv: tf.Tensor, is_later: tf.Tensor, num_heads: int
) -> tf.Tensor:
    """Multi-head attention to what is not later: float32, the states' shape."""
    shape, dim = tf.shape(states), states.shape[-1]
    width = dim // num_heads
    # [batch, length, 3, heads, width], and then [3, batch, heads, length, width].
    split = tf.reshape(
        tf.linalg.matmul(states, kernel_qkv), [shape[0], shape[1], 3, num_heads, width]
    )
    queries, keys, values = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
    logits = tf.linalg.matmul(queries, keys, transpose_b=True) * width**-0.5
    shares = tf.nn.softmax(tf.where(is_later, _MASKED, logits))
    mixed = tf.transpose(tf.linalg.matmul(shares, values), [0, 2, 1, 3])
    return tf.reshape(mixed, [shape[0], shape[1], dim])


def _normalize(states: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Layer normalisation (Ba et al. 2016, arXiv 1607.06450)."""
    centred = states - tf.reduce_mean(states, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + _EPSILON) * scale + offset
