"""The L2 norm of one client's update, and how to shorten it."""

# Tested in tests/aggregators/test_robust_norms.py.

from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, row_sparse


def choose_norm(context: registry.AggregatorContext, name: str, value: float | None) -> float:
    """A builder's parameter that is a norm, or the run's clip norm in its place.

    Args:
      context: Context that builders are given.
      name: Name of the parameter.
      value: The parameter's; None if it was not given.

    Raises:
      UserError: If neither is given, or it is not positive.
    """
    chosen = context.clip_norm if value is None else value
    if chosen is None:
        raise errors.UserError(f"--aggregator_param {name}: must be set, or --clip_norm")
    if not 0.0 < chosen < float("inf"):
        raise errors.UserError(f"--aggregator_param {name}={chosen}: must be positive and finite")
    return chosen


def create_norm(value: Any) -> tf.Tensor:
    """The L2 norm of an update: float32 scalar, not finite where the update is not.

    Args:
      value: A structure of float32 tensors; of a `row_sparse.RowSparse` with one row for each id
        (see `row_sparse.keep_distinct`), the norm is that of the dense update.
    """
    flat = tf.nest.flatten(_without_ids(value))
    peak = tf.reduce_max([tf.reduce_max(tf.abs(t)) for t in flat])
    # The square of a large number would be infinite; tensors without rows have no peak.
    unit = tf.where(peak > 0.0, peak, 1.0)
    return unit * tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(t / unit)) for t in flat]))


def scale(value: Any, factor: tf.Tensor) -> Any:
    """Multiplies an update by a scalar; zero times infinity is zero."""

    def multiply(tensor: tf.Tensor) -> tf.Tensor:
        return tf.math.multiply_no_nan(tensor, factor)

    if isinstance(value, row_sparse.RowSparse):
        return row_sparse.RowSparse(value.ids, tf.nest.map_structure(multiply, value.value))
    return tf.nest.map_structure(multiply, value)


def clip(value: Any, norm: tf.Tensor, bound: tf.Tensor) -> Any:
    """Shortens an update to a norm; one that is not finite stays so, for others to see.

    Args:
      value: The update.
      norm: float32 scalar, its norm.
      bound: float32 scalar, the norm to shorten it to.
    """
    factor = tf.where(tf.math.is_finite(norm), bound / tf.maximum(norm, bound), 1.0)
    return scale(value, factor)


def _without_ids(value: Any) -> Any:
    return value.value if isinstance(value, row_sparse.RowSparse) else value
