"""The query towers that `--query_tower` names.

- `mean`: the mean of the embeddings, then residual MLP blocks.
- `recency`: a weighted mean, with one learned weight for each place from the newest on.
- `gru`: a gated recurrent unit, then residual MLP blocks.
- `attention`: causal self-attention.
- `set`: the mean of a user's `history_length` newest items, then residual MLP blocks. In training
  each item of a random stretch is predicted from all the others, those after it too (as in Kabbur
  et al. 2013, "FISM: factored item similarity models for top-n recommender systems"): for data that
  have no order.
"""

# Tested in tests/models/test_tower_encoding.py.

from collections.abc import Sequence

import tensorflow as tf

from fedrec_tff.models import attention, gru, residual_blocks
from fedrec_tff.models import config as config_lib
from fedrec_tff.models.config import TwoTowerConfig
from fedrec_tff.models.dropout import Dropout
from fedrec_tff.models.query_tower import CausalTower, QueryTower
from fedrec_tff.models.tower_tensor import TowerTensor

_NUM_GRU_TENSORS = 4


class _BuiltinTower:
    def __init__(self, config: TwoTowerConfig) -> None:
        """Keeps the shape, which knows the tensors without TensorFlow."""
        self._config = config

    @property
    def tensors(self) -> tuple[TowerTensor, ...]:
        """See `QueryTower`."""
        return self._config.query_tensors


class MeanTower(_BuiltinTower, QueryTower):
    """See the module; takes the padding at either end."""

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`."""
        return residual_blocks.apply(_average(items, mask, mask), weights)


class SetTower(MeanTower):
    """See the module."""

    def encode_others(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, index: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Encodes for each item of a set all the others.

        Args:
          weights: float32 tensors, as `tensors` lists them.
          items: float32 [length, dim], embeddings of items.
          index: int32 [length], which items these are; one may be there several times.
          mask: float32 [length], 1 for an item and 0 for padding.

        Returns:
          float32 [length, dim]. Row `t` does not depend on item `t`, wherever it is.
        """
        is_other = tf.not_equal(index[:, tf.newaxis], index[tf.newaxis, :])
        # What a place holds that is padding does not matter: it has all the items for others.
        is_other = tf.logical_or(is_other, tf.equal(mask, 0.0)[:, tf.newaxis])
        shares = tf.cast(is_other, tf.float32) * mask[tf.newaxis, :]
        total = tf.linalg.matmul(shares, items)
        count = tf.reduce_sum(shares, axis=1, keepdims=True)
        return residual_blocks.apply(total / tf.maximum(count, 1.0), weights)


class RecencyTower(_BuiltinTower, QueryTower):
    """See the module; takes the padding at either end."""

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`."""
        shares = mask * _weigh_by_age(weights[0], mask)
        return residual_blocks.apply(_average(items, mask, shares), weights[1:])


class GruTower(_BuiltinTower, CausalTower):
    """See the module."""

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """See `CausalTower`."""
        encoded = gru.encode(dropout(items), weights[:_NUM_GRU_TENSORS])
        return residual_blocks.apply(dropout(encoded), weights[_NUM_GRU_TENSORS:])


class AttentionTower(_BuiltinTower, CausalTower):
    """See the module."""

    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """See `CausalTower`."""
        return attention.encode(items, weights, self._config.num_heads, dropout)


_TOWERS = {
    config_lib.MEAN: MeanTower,
    config_lib.RECENCY: RecencyTower,
    config_lib.GRU: GruTower,
    config_lib.ATTENTION: AttentionTower,
    config_lib.SET: SetTower,
}


def create_tower(config: TwoTowerConfig) -> QueryTower:
    """Creates the tower that `config.query_tower` names."""
    return _TOWERS[config.query_tower](config)


def _average(items: tf.Tensor, mask: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """The mean of items by their shares, zero where there are none: float32 [batch, dim]."""
    total = tf.reduce_sum(items * shares[:, :, tf.newaxis], axis=1)
    weight = tf.reduce_sum(shares, axis=1, keepdims=True)
    has_items = tf.greater(tf.reduce_sum(mask, axis=1, keepdims=True), 0.0)
    return total / tf.where(has_items, weight, 1.0)


def _weigh_by_age(weights: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """What an item counts by its age, 0 for the newest: float32, the mask's shape.

    The exponential keeps weights positive; they start as one.
    """
    num_newer = tf.cumsum(mask, axis=1, exclusive=True, reverse=True)
    return tf.exp(tf.gather(weights, tf.cast(num_newer, tf.int32)))
