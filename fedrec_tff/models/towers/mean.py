"""`mean`: the mean of the history's embeddings, then residual MLP blocks."""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.query_tower import QueryTower
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.models.towers import residual

if TYPE_CHECKING:
    import tensorflow as tf


class MeanTower(QueryTower):
    """See the module; takes the padding at either end."""

    aligns_histories = False

    def __init__(self, context: ModelContext, num_blocks: int) -> None:
        """Initialises the tower; see `build_mean`."""
        self._dim, self._num_blocks = context.embedding_dim, num_blocks

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """The blocks'."""
        return residual.list_block_tensors(self._dim, self._num_blocks)

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`."""
        from fedrec_tff.models.layers import pooling, residual_blocks

        return residual_blocks.apply(pooling.average(items, mask, mask), weights)


def build_mean(context: ModelContext, *, num_blocks: int = 1) -> MeanTower:
    """The mean of a user's newest items.

    Args:
      context: The model's widths.
      num_blocks: Residual MLPs after the mean.

    Returns:
      The tower.
    """
    return MeanTower(context, num_blocks)
