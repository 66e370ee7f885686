"""`attention_and_mean`: self-attention for what is next, and a mean for what somebody likes.

Lin, Pan and Ming 2020, "FISSA: Fusing item similarity models with self-attention networks for
sequential recommendation" (RecSys 2020): a user's local and global preference are added. Here the
global one is the direction of the mean of all that came before, and each of its numbers has one
learned weight, where FISSA has attention over the items and a gate that sees the candidate, which
two towers cannot.
"""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedrec_tff.models.dropout import Dropout
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.models.towers.attention import AttentionTower

if TYPE_CHECKING:
    import tensorflow as tf


class AttentionAndMeanTower(AttentionTower):
    """See the module."""

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """The weights of the mean's numbers, then those of `attention`."""
        weights = TowerTensor((self._context.embedding_dim,), initial_value=1.0)
        return (weights, *super().tensors)

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """See `CausalTower`."""
        from fedrec_tff.models.layers import directions

        # The last layer norm gives the other part this length.
        length = self._context.embedding_dim**0.5
        taste = weights[0] * (length * directions.average_before(dropout(items)))
        return super().encode_sequence(weights[1:], items, dropout) + taste


def build_attention_and_mean(
    context: ModelContext, *, num_blocks: int = 1, num_heads: int = 1
) -> AttentionAndMeanTower:
    """Causal self-attention over a user's sequence, and the mean of all of it.

    Args:
      context: The model's widths.
      num_blocks: Blocks of self-attention.
      num_heads: Heads of each block, a divisor of the width.

    Returns:
      The tower.
    """
    return AttentionAndMeanTower(context, num_blocks, num_heads)
