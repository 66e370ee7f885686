"""Dilated causal convolutions over a user's sequence, after NextItNet.

Yuan et al. 2019, "A simple convolutional generative network for next item recommendation"
(arXiv 1808.05163), section 3: residual blocks, each with layer normalisation and a convolution
that sees `width` items, twice as far apart from block to block.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models.query_tower import CausalTower, Dropout, ModelContext, TowerTensor

_TENSORS_PER_BLOCK = 4
_EPSILON = 1e-6


class CausalConvolutions(CausalTower):
    """Encodes what came before each position; block `i` looks at items 2^i places apart."""

    def __init__(self, context: ModelContext, width: int, num_blocks: int) -> None:
        self._dim, self._width, self._num_blocks = context.embedding_dim, width, num_blocks

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """A vector for the beginning; for each block scale, offset, kernel and bias."""
        dim, width = self._dim, self._width
        block = (
            TowerTensor((dim,), initial_value=1.0),
            TowerTensor((dim,)),
            TowerTensor((width, dim, dim), initial_stddev=(width * dim) ** -0.5),
            TowerTensor((dim,)),
        )
        return (TowerTensor((dim,), initial_stddev=dim**-0.5), *block * self._num_blocks)

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """Row `t` of the result depends on the first `t` items alone."""
        start, *blocks = weights
        # The beginning stands before the first item, so row t ends with item t - 1.
        beginning = tf.broadcast_to(start, [tf.shape(items)[0], 1, self._dim])
        states = dropout(tf.concat([beginning, items], axis=1))
        for block in range(self._num_blocks):
            first = block * _TENSORS_PER_BLOCK
            scale, offset, kernel, bias = blocks[first : first + _TENSORS_PER_BLOCK]
            seen = self._convolve(_normalize(states, scale, offset), kernel, 2**block)
            states += dropout(tf.nn.relu(seen + bias))
        return states

    def _convolve(self, states: tf.Tensor, kernel: tf.Tensor, distance: int) -> tf.Tensor:
        length = tf.shape(states)[1]
        seen = tf.linalg.matmul(states, kernel[0])
        for place in range(1, self._width):
            earlier = tf.pad(states, [[0, 0], [place * distance, 0], [0, 0]])[:, :length]
            seen += tf.linalg.matmul(earlier, kernel[place])
        return seen


def build_causal_convolutions(
    context: ModelContext, *, width: int = 3, num_blocks: int = 2
) -> CausalConvolutions:
    """Dilated causal convolutions, after NextItNet.

    With `width` 3 and 2 blocks, a query depends on the 7 newest items.

    Args:
      context: The model's widths.
      width: Items that one convolution sees.
      num_blocks: Convolutions, one after the other.
    """
    if width < 1 or num_blocks < 1:
        raise errors.UserError(f"width={width}, num_blocks={num_blocks}: must be at least 1")
    return CausalConvolutions(context, width, num_blocks)


def _normalize(states: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    centred = states - tf.reduce_mean(states, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + _EPSILON) * scale + offset
