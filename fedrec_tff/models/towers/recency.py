"""`recency`: a mean with one learned weight for each age, then residual MLP blocks."""

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


class RecencyTower(QueryTower):
    """See the module; takes the padding at either end."""

    aligns_histories = False

    def __init__(self, context: ModelContext, num_blocks: int) -> None:
        """Initialises the tower; see `build_recency`."""
        self._context, self._num_blocks = context, num_blocks

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """A weight for each place from the newest on, which starts as the mean's; the blocks'."""
        blocks = residual.list_block_tensors(self._context.embedding_dim, self._num_blocks)
        return (TowerTensor((self._context.history_length,)), *blocks)

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`."""
        from fedrec_tff.models.layers import pooling, residual_blocks

        shares = mask * pooling.weigh_by_age(weights[0], mask)
        return residual_blocks.apply(pooling.average(items, mask, shares), weights[1:])


def build_recency(context: ModelContext, *, num_blocks: int = 1) -> RecencyTower:
    """The mean of a user's newest items, weighed by their age.

    Args:
      context: The model's widths.
      num_blocks: Residual MLPs after the mean.

    Returns:
      The tower.
    """
    return RecencyTower(context, num_blocks)
