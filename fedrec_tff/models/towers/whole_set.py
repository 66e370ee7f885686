"""`set`: the mean of a user's newest items, for data that have no order.

In training each item of a random stretch is predicted from all the others, those after it too, as
in Kabbur et al. 2013, "FISM: factored item similarity models for top-n recommender systems". The
model that is used is `mean`'s.
"""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.towers.mean import MeanTower

if TYPE_CHECKING:
    import tensorflow as tf


class WholeSetTower(MeanTower):
    """See the module."""

    reads_whole_sets = True

    def encode_others(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, index: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`."""
        from fedrec_tff.models.layers import pooling, residual_blocks

        return residual_blocks.apply(pooling.average_others(items, index, mask), weights)


def build_whole_set(context: ModelContext, *, num_blocks: int = 1) -> WholeSetTower:
    """The mean of a user's newest items, trained to predict each of them from all the others.

    Args:
      context: The model's widths.
      num_blocks: Residual MLPs after the mean.

    Returns:
      The tower.
    """
    return WholeSetTower(context, num_blocks)
