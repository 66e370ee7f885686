"""What a query tower is: the interface of the built-in ones and of one's own.

A tower is a pure function of its weights. It holds numbers and strings, never tensors or variables:
the same object is traced into several graphs, and its weights travel between server and devices.
Nothing here imports TensorFlow until something is encoded.
"""

# Tested in tests/models/test_custom_towers.py.

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fedrec_tff.models.dropout import Dropout
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.tower_tensor import TowerTensor

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["CausalTower", "Dropout", "ModelContext", "QueryTower", "TowerTensor"]


class QueryTower(abc.ABC):
    """Reads what a user took lately, and gives a vector that items are scored against.

    Attributes:
      is_causal: Whether it is a `CausalTower`.
      reads_whole_sets: Whether in training each of a user's items is predicted from all the others,
        whatever their order, by `encode_others`.
      aligns_histories: Whether histories come with the padding at the end, and its embeddings are
        zero. The built-in towers do without.
      embedding_stddev: Standard deviation that item embeddings are drawn with at first; None for
        one over the root of their width (less where items have features).
    """

    is_causal: ClassVar[bool] = False
    reads_whole_sets: ClassVar[bool] = False
    aligns_histories: ClassVar[bool] = True
    embedding_stddev: float | None = None

    @property
    @abc.abstractmethod
    def tensors(self) -> tuple[TowerTensor, ...]:
        """The shapes and first values of the weights, in the order in which methods get them."""

    @abc.abstractmethod
    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Encodes what users took lately.

        Args:
          weights: float32 tensors, as `tensors` lists them.
          items: float32 [batch, history_length, dim], embeddings of items, oldest first.
          mask: float32 [batch, history_length], 1 for an item and 0 for padding. A tower of one's
            own gets the padding at the end, and its embeddings are zero.

        Returns:
          float32 [batch, dim]. A history without any items has a query, too.
        """

    def encode_others(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, index: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Encodes for each item of a set all the others, where the tower `reads_whole_sets`.

        Args:
          weights: float32 tensors, as `tensors` lists them.
          items: float32 [length, dim], embeddings of items.
          index: int32 [length], which items these are; one may be there several times.
          mask: float32 [length], 1 for an item and 0 for padding.

        Returns:
          float32 [length, dim]. Row `t` does not depend on item `t`, wherever it is.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no sets")

    @property
    def has_candidate_tower(self) -> bool:
        """Whether `encode_candidates` changes anything."""
        return type(self).encode_candidates is not QueryTower.encode_candidates

    def encode_candidates(self, weights: Sequence[tf.Tensor], items: tf.Tensor) -> tf.Tensor:
        """The candidate tower: what queries are multiplied with; as the items are, by default.

        A device calls it for the rows of the item table that it touches, an evaluation for the
        whole catalogue: a row of the result is a function of the same row alone.

        Args:
          weights: float32 tensors, as `tensors` lists them.
          items: float32 [rows, dim], embeddings of items.

        Returns:
          float32 [rows, dim].
        """
        del weights
        return items


class CausalTower(QueryTower):
    """A tower that encodes what came before each position of a sequence in one pass.

    A client's step then takes all positions of its sequence at once.
    """

    is_causal = True

    @abc.abstractmethod
    def encode_sequence(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, dropout: Dropout
    ) -> tf.Tensor:
        """Encodes what came before each position, and all of it.

        Args:
          weights: float32 tensors, as `tensors` lists them.
          items: float32 [batch, length, dim], embeddings of items, oldest first; `length` may be
            anything from 0 to the history's length, and unknown while the graph is made.
          dropout: Dropout of this step; where a model is used, and not trained, it drops nothing.

        Returns:
          float32 [batch, length + 1, dim]. Row `t` depends on the first `t` items alone.
        """

    def encode_histories(
        self, weights: Sequence[tf.Tensor], items: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See `QueryTower`: the row after as many items as the history has."""
        import tensorflow as tf

        encoded = self.encode_sequence(weights, items, Dropout(0.0, None))
        count = tf.cast(tf.reduce_sum(mask, axis=1), tf.int32)
        return tf.gather(encoded, count, batch_dims=1)
