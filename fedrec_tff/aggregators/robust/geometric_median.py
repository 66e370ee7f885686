"""The geometric median: the point with the least sum of distances to all updates.

Pillutla et al. 2022, "Robust aggregation for federated learning" (RFA, arXiv 1912.13445), algorithm
2: smoothed Weiszfeld iterations. They have clients compute each of a few iterations, under a secure
sum. Here the server has all updates: every iterate is a mean of them with other weights, so that
their inner products are enough, and it can go on until nothing changes.
"""

# Tested in tests/aggregators/test_robust_selection.py.

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.robust import buffers, collection, gram

# Of the weights, times the number of clients.
_TOLERANCE = 1e-6


def build_geometric_median(
    context: registry.AggregatorContext,
    *,
    num_iterations: int = 100,
    smoothing: float = 1e-6,
    rows_per_client: int | None = None,
) -> collection.CollectionFactory:
    """The geometric median, by smoothed Weiszfeld iterations (RFA, Pillutla et al. 2022).

    Args:
      context: Context that builders are given.
      num_iterations: The most iterations; fewer where the weights change no more.
      smoothing: Distances shorter than this count as this.
      rows_per_client: Item rows to keep of a row-sparse client, on average; by default all.

    Returns:
      The factory.

    Raises:
      UserError: If a number is not positive.
    """
    if num_iterations < 1:
        raise errors.UserError(
            f"--aggregator_param num_iterations={num_iterations}: must be at least 1"
        )
    if not smoothing > 0.0:
        raise errors.UserError(f"--aggregator_param smoothing={smoothing}: must be positive")

    def combine(updates: buffers.Updates, num_rows: int) -> tuple[tf.Tensor, tf.Tensor]:
        weights = _find_weights(gram.create_gram_matrix(updates), num_iterations, smoothing)
        return gram.combine(updates, num_rows, weights)

    return collection.CollectionFactory(context, combine, rows_per_client)


def _find_weights(products: tf.Tensor, num_iterations: int, smoothing: float) -> tf.Tensor:
    """The weights of the updates in their geometric median: float64 [num_clients], of sum 1."""
    num_clients = tf.shape(products)[0]
    scale = tf.cast(num_clients, tf.float64)
    squares = tf.linalg.diag_part(products)

    def step(weights, _):
        to_updates = tf.linalg.matvec(products, weights)
        square = tf.reduce_sum(weights * to_updates)
        distances = tf.sqrt(tf.maximum(square - 2.0 * to_updates + squares, 0.0))
        inverse = 1.0 / tf.maximum(distances, smoothing)
        new_weights = inverse / tf.reduce_sum(inverse)
        return new_weights, scale * tf.reduce_max(tf.abs(new_weights - weights))

    weights, _ = tf.while_loop(
        lambda _, change: change > _TOLERANCE,
        step,
        (tf.fill([num_clients], 1.0 / scale), tf.constant(float("inf"), tf.float64)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([])),
        maximum_iterations=num_iterations,
        parallel_iterations=1,
    )
    return weights
