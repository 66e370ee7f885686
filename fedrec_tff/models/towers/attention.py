"""`attention`: blocks of causal self-attention.

Kang and McAuley 2018, "Self-attentive sequential recommendation" (arXiv 1808.09781): SASRec, with
layer norm first.
"""

# Tested in tests/models/test_tower_encoding.py.

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedrec_tff.models.dropout import Dropout
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.query_tower import CausalTower
from fedrec_tff.models.tower_tensor import TowerTensor

if TYPE_CHECKING:
    import tensorflow as tf

_SMALL_STDDEV = 0.02


class AttentionTower(CausalTower):
    """See the module."""

    aligns_histories = False
    embedding_stddev = _SMALL_STDDEV

    def __init__(self, context: ModelContext, num_blocks: int, num_heads: int) -> None:
        """Initialises the tower; see `build_attention`."""
        self._context, self._num_blocks, self._num_heads = context, num_blocks, num_heads

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """The positions', each block's, and those of the last layer norm."""
        dim = self._context.embedding_dim
        shape = (self._context.history_length + 1, dim)
        positions = TowerTensor(shape, initial_stddev=_SMALL_STDDEV)
        return (positions, *(_list_block_tensors(dim) * self._num_blocks), *_list_norm_tensors(dim))

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """See `CausalTower`."""
        from fedrec_tff.models.layers import self_attention

        return self_attention.encode(items, weights, self._num_heads, dropout)


def build_attention(
    context: ModelContext, *, num_blocks: int = 1, num_heads: int = 1
) -> AttentionTower:
    """Causal self-attention over a user's sequence.

    Args:
      context: The model's widths.
      num_blocks: Blocks of self-attention.
      num_heads: Heads of each block, a divisor of the width.

    Returns:
      The tower.
    """
    return AttentionTower(context, num_blocks, num_heads)


def _list_norm_tensors(dim: int) -> tuple[TowerTensor, ...]:
    return (TowerTensor((dim,), initial_value=1.0), TowerTensor((dim,)))


def _list_block_tensors(dim: int) -> tuple[TowerTensor, ...]:
    stddev = dim**-0.5
    return (
        *_list_norm_tensors(dim),
        TowerTensor((dim, 3 * dim), initial_stddev=stddev),
        TowerTensor((dim, dim), initial_stddev=stddev / 2.0),
        *_list_norm_tensors(dim),
        TowerTensor((dim, dim), initial_stddev=stddev),
        TowerTensor((dim,)),
        TowerTensor((dim, dim), initial_stddev=stddev / 2.0),
        TowerTensor((dim,)),
    )
