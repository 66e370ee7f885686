"""Norm bounding item by item: no client moves one item further than the bound.

Norm bounding (Sun et al. 2019, arXiv 1911.07963) of each item's row by itself, as Zhang et al. 2024
(arXiv 2502.12958) try it against PIECK: `NormBound` in the authors' code, `MF-FRS/server.py` of
github.com/junzhang-zj/PIECK, clips the gradient of each item by the L2 norm. Here the item's bias,
which they do not have, counts with its row. A clip of the whole update leaves all of it to an
attacker who sends a single row; this one does not. What many clients agree on adds up all the same.
"""

# Tested in tests/aggregators/test_robust_norms.py.

import math
from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, row_sparse, transforms


class RowClip(transforms.ClientTransform):
    """Shortens each row of the item table to an L2 norm; what is no row stays as it is."""

    def __init__(self, norm: float, num_rows: int) -> None:
        """Initialises the step.

        Args:
          norm: The most that a row may have, all of its tensors together.
          num_rows: Rows of the table.
        """
        self._norm = norm
        self._num_rows = num_rows

    def encode(self, value: Any, key: tf.Tensor) -> transforms.Encoded:
        """Clips one client's rows; one that is not finite stays so."""
        del key
        value = row_sparse.keep_distinct(value, self._num_rows)
        if not isinstance(value, row_sparse.RowSparse):
            return transforms.Encoded(self._clip(value, self._is_dense_table))
        clipped = self._clip(value.value, row_sparse.is_rows)
        return transforms.Encoded(row_sparse.RowSparse(value.ids, clipped))

    def _is_dense_table(self, tensor: tf.Tensor) -> bool:
        return tensor.shape.rank > 0 and tensor.shape[0] == self._num_rows

    def _clip(self, value: Any, is_table_fn: Any) -> Any:
        flat = [_flatten_rows(t) for t in tf.nest.flatten(value) if is_table_fn(t)]
        if not flat:
            return value
        rows = tf.concat(flat, axis=1)
        # The square of a large number would be infinite.
        peak = tf.reduce_max(tf.abs(rows), axis=1)
        unit = tf.where(peak > 0.0, peak, 1.0)
        norm = unit * tf.norm(rows / unit[:, tf.newaxis], axis=1)
        factor = tf.where(tf.math.is_finite(norm), self._norm / tf.maximum(norm, self._norm), 1.0)

        def shorten(tensor: tf.Tensor) -> tf.Tensor:
            if not is_table_fn(tensor):
                return tensor
            ones = [1] * (tensor.shape.rank - 1)
            return tensor * tf.reshape(factor, [-1, *ones])

        return tf.nest.map_structure(shorten, value)


def build_clip_rows(context: registry.AggregatorContext, *, norm: float) -> RowClip:
    """Shortens each item's row of a client's update to an L2 norm (norm bounding by item).

    Args:
      context: Context that builders are given.
      norm: The most that the row of an item may have, embedding and bias together.

    Returns:
      The step.

    Raises:
      UserError: If the norm is not positive.
    """
    if not 0.0 < norm < math.inf:
        raise errors.UserError(f"--aggregator_param norm={norm}: must be positive and finite")
    return RowClip(norm, context.num_items)


def _flatten_rows(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [tf.shape(tensor)[0], math.prod(tensor.shape[1:])])
