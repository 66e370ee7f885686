"""Rules that make one update of a few: of edges, or of the clients of one edge.

A rule takes a matrix with one update a row. Plain TensorFlow for the server's part of a round: the
number of rows is known only when it runs.
"""

# Tested in tests/aggregators/test_hierarchical.py.

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fedrec_tff.aggregators.hierarchical import config

# From a matrix, float32 [rows, d], and weights, float32 [rows], to float32 [d]; a row at least.
RuleFn = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_MAX_WEISZFELD_STEPS = 64
_WEISZFELD_TOLERANCE = 1e-6
# Pillutla et al. 2022: no distance counts as less, which keeps a point from weighing infinitely.
_SMOOTHING = 1e-6


def create_rule(name: str, fraction: float) -> RuleFn:
    """Creates a rule.

    Args:
      name: Name of the rule, one of `config.RULES`.
      fraction: Share that `trimmed_mean` cuts off at either end.

    Returns:
      The rule. Only `weighted_mean` reads the weights.
    """
    rules = {
        config.MEAN: lambda rows, weights: tf.reduce_mean(rows, axis=0),
        config.WEIGHTED_MEAN: _weighted_mean,
        config.MEDIAN: lambda rows, weights: _median(rows),
        config.TRIMMED_MEAN: lambda rows, weights: _trimmed_mean(rows, fraction),
        config.GEOMETRIC_MEDIAN: lambda rows, weights: _geometric_median(rows),
    }
    return rules[name]


def combine(rule_fn: RuleFn, stack: Any, weight: tf.Tensor) -> Any:
    """Applies a rule to a stack of updates, each taken as one vector.

    Args:
      rule_fn: From `create_rule`.
      stack: A structure of float32 tensors [n, ...].
      weight: float32 [n]. An update without weight, or that is not finite, is left out.

    Returns:
      The structure, without the leading dimension; not a number if no update is left.
    """
    leaves = tf.nest.flatten(stack)
    shapes = [leaf.shape[1:] for leaf in leaves]
    matrix = tf.concat(
        [
            tf.reshape(leaf, [-1, shape.num_elements()])
            for leaf, shape in zip(leaves, shapes, strict=True)
        ],
        axis=1,
    )
    kept = (weight > 0.0) & tf.math.is_finite(weight)
    kept &= tf.reduce_all(tf.math.is_finite(matrix), axis=1)
    rows, weights = tf.boolean_mask(matrix, kept), tf.boolean_mask(weight, kept)
    vector = tf.cond(
        tf.reduce_any(kept),
        lambda: rule_fn(rows, weights),
        lambda: tf.fill([matrix.shape[1]], float("nan")),
    )
    parts = tf.split(vector, [shape.num_elements() for shape in shapes])
    return tf.nest.pack_sequence_as(
        stack, [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
    )


def _weighted_mean(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    share = weights / tf.reduce_sum(weights)
    return tf.linalg.matvec(rows, share, transpose_a=True)


def _median(rows: tf.Tensor) -> tf.Tensor:
    """Of each coordinate; the mean of the two in the middle of an even number."""
    rows, count = tf.sort(rows, axis=0), tf.shape(rows)[0]
    return (rows[(count - 1) // 2] + rows[count // 2]) / 2.0


def _trimmed_mean(rows: tf.Tensor, fraction: float) -> tf.Tensor:
    """Of each coordinate, without the largest and the smallest (Yin et al. 2018, 1803.01498)."""
    count = tf.shape(rows)[0]
    cut = tf.cast(fraction * tf.cast(count, tf.float64) + config.TRIM_ROUNDING, tf.int32)
    return tf.reduce_mean(tf.sort(rows, axis=0)[cut : count - cut], axis=0)


def _geometric_median(rows: tf.Tensor) -> tf.Tensor:
    """Smoothed Weiszfeld steps (Pillutla et al. 2022, arXiv 1912.13445), from the median on.

    From the mean, where the paper starts, one far outlier costs many more steps.
    """

    def step(number, center, moved):
        del moved
        distances = tf.maximum(tf.norm(rows - center, axis=1), _SMOOTHING)
        new = _weighted_mean(rows, 1.0 / distances)
        return number + 1, new, tf.norm(new - center) / tf.maximum(tf.norm(new), _SMOOTHING)

    def goes_on(number, center, moved):
        del center
        return (number < _MAX_WEISZFELD_STEPS) & (moved > _WEISZFELD_TOLERANCE)

    start = (tf.constant(0), _median(rows), tf.constant(float("inf")))
    return tf.while_loop(goes_on, step, start)[1]
