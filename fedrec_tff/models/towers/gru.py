"""`gru`: a gated recurrent unit, then residual MLP blocks.

Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks" (arXiv
1511.06939): GRU4Rec.
"""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedrec_tff.models.dropout import Dropout
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.query_tower import CausalTower
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.models.towers import residual

if TYPE_CHECKING:
    import tensorflow as tf

_NUM_GRU_TENSORS = 4


class GruTower(CausalTower):
    """See the module."""

    aligns_histories = False

    def __init__(self, context: ModelContext, num_blocks: int) -> None:
        """Initialises the tower; see `build_gru`."""
        self._dim, self._num_blocks = context.embedding_dim, num_blocks

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """Of items and of the state a kernel each, and a bias each; the blocks'."""
        dim = self._dim
        kernel, bias = (
            TowerTensor((dim, 3 * dim), initial_stddev=dim**-0.5),
            TowerTensor((3 * dim,)),
        )
        blocks = residual.list_block_tensors(dim, self._num_blocks)
        return (kernel, kernel, bias, bias, *blocks)

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """See `CausalTower`."""
        from fedrec_tff.models.layers import recurrence, residual_blocks

        encoded = recurrence.encode(dropout(items), weights[:_NUM_GRU_TENSORS])
        return residual_blocks.apply(dropout(encoded), weights[_NUM_GRU_TENSORS:])


def build_gru(context: ModelContext, *, num_blocks: int = 1) -> GruTower:
    """A gated recurrent unit over a user's sequence.

    Args:
      context: The model's widths.
      num_blocks: Residual MLPs after the unit.

    Returns:
      The tower.
    """
    return GruTower(context, num_blocks)
