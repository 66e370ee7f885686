"""A candidate tower with a hidden layer, and histories pooled by learned attention.

The query tower weighs a user's items by what they are: a softmax over the history, of one learned
direction. The candidate tower adds to each item's embedding what a hidden layer makes of it. The
layer starts as nothing, so that training begins with plain embeddings.
"""

from collections.abc import Sequence

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.models.query_tower import ModelContext, QueryTower, TowerTensor


class DeepCandidates(QueryTower):
    """Attention pooling for queries, a residual hidden layer for candidates."""

    def __init__(self, context: ModelContext, width: int) -> None:
        self._dim, self._width = context.embedding_dim, width

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """The direction; the hidden layer's kernel and bias; the output's kernel."""
        dim, width = self._dim, self._width
        hidden = TowerTensor((dim, width), initial_stddev=dim**-0.5)
        return (TowerTensor((dim,)), hidden, TowerTensor((width,)), TowerTensor((width, dim)))

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """A mean, weighted by how far an item points in the learned direction."""
        attention = tf.linalg.matvec(items, weights[0])
        shares = tf.nn.softmax(tf.where(mask > 0.0, attention, -1e9)) * mask
        return tf.reduce_sum(items * shares[:, :, tf.newaxis], axis=1)

    def encode_candidates(self, weights: Sequence[tf.Tensor], items: tf.Tensor) -> tf.Tensor:
        """Each row by itself."""
        _, kernel, bias, out = weights
        hidden = tf.nn.relu(tf.linalg.matmul(items, kernel) + bias)
        return items + tf.linalg.matmul(hidden, out)


def build_deep_candidates(context: ModelContext, *, width: int = 32) -> DeepCandidates:
    """Pools histories by learned attention, and puts candidates through a hidden layer.

    Args:
      context: The model's widths.
      width: Width of the hidden layer.
    """
    if width < 1:
        raise errors.UserError(f"width={width}: must be at least 1")
    return DeepCandidates(context, width)
