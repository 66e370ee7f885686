"""Bounds that follow the clients' norms: clipping to a quantile of these, zeroing far above it.

See `adaptive_bound`. What is released depends on everybody's norm without a guarantee: these steps
are not for use with differential privacy, which has `dp_adaptive`.
"""

# Tested in tests/aggregators/test_robust_norms.py.

import math
from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry, wrapping
from fedrec_tff.aggregators.robust import adaptive_bound, norms


class ClipStep(adaptive_bound.NormStep):
    """Shortens updates to the estimate; those that are not finite stay so, for others to see."""

    norm_name, count_name = "clipping_norm", "clipped_count"

    def create_bound(self, estimate: tf.Tensor) -> tf.Tensor:
        """The estimate."""
        return estimate

    def apply(self, value: Any, norm: tf.Tensor, bound: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Shortens an update."""
        return norms.clip(value, norm, bound), tf.constant(1.0)


class ZeroStep(adaptive_bound.NormStep):
    """Makes zeros of updates much longer than the estimate, and of those that are not finite."""

    norm_name, count_name = "zeroing_norm", "zeroed_count"

    def __init__(self, multiplier: float, increment: float) -> None:
        """Initialises the step: the bound is the estimate times one plus the other."""
        self._multiplier, self._increment = multiplier, increment

    def create_bound(self, estimate: tf.Tensor) -> tf.Tensor:
        """Well above the estimate."""
        return self._multiplier * estimate + self._increment

    def apply(self, value: Any, norm: tf.Tensor, bound: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """Keeps an update, or makes zeros of it."""
        factor = tf.where(norm <= bound, 1.0, 0.0)
        return norms.scale(value, factor), factor


def build_adaptive_clip(
    context: registry.AggregatorContext,
    inner: wrapping.AggregationFactory,
    *,
    initial_norm: float | None = None,
    quantile: float = 0.8,
    learning_rate: float = 0.2,
) -> wrapping.AggregationFactory:
    """Shortens updates to a quantile of the clients' norms, estimated as rounds go by.

    Andrew et al. 2021 (arXiv 1905.03871), without noise: not for use with differential privacy.

    Args:
      context: Context that builders are given.
      inner: Aggregator of the clipped updates; weighted or not.
      initial_norm: The first estimate; by default --clip_norm.
      quantile: The share of clients that are not to be clipped.
      learning_rate: The estimate moves by at most a factor exp(learning_rate) in a round.

    Returns:
      A factory, weighted if the inner one is.

    Raises:
      UserError: If a parameter is out of bounds.
    """
    initial = norms.choose_norm(context, "initial_norm", initial_norm)
    estimate = adaptive_bound.QuantileEstimate(initial, quantile, learning_rate)
    return adaptive_bound.apply(ClipStep(), estimate, inner, context.num_items)


def build_adaptive_zeroing(
    context: registry.AggregatorContext,
    inner: wrapping.AggregationFactory,
    *,
    initial_norm: float = 10.0,
    quantile: float = 0.98,
    learning_rate: float = 2.302585,
    multiplier: float = 2.0,
    increment: float = 1.0,
) -> wrapping.AggregationFactory:
    """Makes zeros of updates far longer than a quantile of the clients' norms, and of bad numbers.

    Andrew et al. 2021 (arXiv 1905.03871), without noise: not for use with differential privacy. A
    weighted inner aggregator gets weight zero with these; for another they count as updates that
    are zero. The defaults are those of `tff.learning.robust_aggregator`.

    Args:
      context: Context that builders are given.
      inner: Aggregator of the other updates; weighted or not.
      initial_norm: The first estimate.
      quantile: The quantile of norms to estimate.
      learning_rate: The estimate moves by at most a factor exp(learning_rate) in a round.
      multiplier: Factor of the estimate: an update is zeroed if its norm is above the multiplied
        estimate plus the increment.
      increment: Summand of the bound, on top of the multiplied estimate.

    Returns:
      A factory, weighted if the inner one is.

    Raises:
      UserError: If a parameter is out of bounds.
    """
    for name, value in (("multiplier", multiplier), ("increment", increment)):
        if not 0.0 <= value < math.inf:
            raise errors.UserError(f"--aggregator_param {name}={value}: must not be negative")
    if multiplier + increment <= 0.0:
        raise errors.UserError("--aggregator_param multiplier=0.0: would zero all updates")
    estimate = adaptive_bound.QuantileEstimate(initial_norm, quantile, learning_rate)
    return adaptive_bound.apply(ZeroStep(multiplier, increment), estimate, inner, context.num_items)
