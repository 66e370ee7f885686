"""Residual MLP blocks, after what reads the history."""

# Tested in tests/models/test_tower_encoding.py.

from collections.abc import Sequence

import tensorflow as tf

_NUM_TENSORS_PER_BLOCK = 4


def apply(query: tf.Tensor, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Applies blocks to queries.

    Args:
      query: float32 [..., dim].
      tensors: Tensors `(kernel_in, bias_in, kernel_out, bias_out)` of each block, in one sequence.

    Returns:
      float32 [..., dim].
    """
    for block in range(0, len(tensors), _NUM_TENSORS_PER_BLOCK):
        kernel_in, bias_in, kernel_out, bias_out = tensors[block : block + _NUM_TENSORS_PER_BLOCK]
        hidden = tf.nn.relu(tf.linalg.matmul(query, kernel_in) + bias_in)
        query += tf.linalg.matmul(hidden, kernel_out) + bias_out
    return query
