"""Inner products of a round's updates, and their combinations.

Whatever an aggregator makes of distances between updates, and of points that are combinations of
them, it can make of the matrix of inner products: then an iteration costs the square of the number
of clients, not their number times that of the weights.
"""

# Tested in tests/aggregators/test_robust_selection.py.

import tensorflow as tf

from fedrec_tff.aggregators.robust import buffers

# Numbers of a block of updates, as a dense matrix: 64 MiB.
_BLOCK_SIZE = 2**24


def create_gram_matrix(updates: buffers.Updates) -> tf.Tensor:
    """Inner products of all pairs of updates: float64 [num_clients, num_clients].

    Products are made in float32, of blocks of table rows as dense matrices.
    """
    num_clients, width = updates.num_clients, updates.rows.shape[1]
    order = tf.argsort(updates.row_ids)
    _, columns = tf.unique(tf.gather(updates.row_ids, order))
    clients, rows = tf.gather(updates.row_clients, order), tf.gather(updates.rows, order)
    num_columns = tf.reduce_max(tf.concat([columns + 1, [0]], axis=0))
    block = tf.maximum(_BLOCK_SIZE // tf.maximum(num_clients * width, 1), 1)

    def add_block(first, gram):
        begin, end = tf.unstack(tf.searchsorted(columns, tf.stack([first, first + block])))
        index = tf.stack([clients[begin:end], columns[begin:end] - first], axis=1)
        shape = tf.stack([num_clients, tf.minimum(block, num_columns - first), width])
        matrix = tf.scatter_nd(index, rows[begin:end], shape)
        matrix = tf.reshape(matrix, tf.stack([num_clients, shape[1] * width]))
        return first + block, gram + _square(matrix)

    _, gram = tf.while_loop(
        lambda first, _: first < num_columns,
        add_block,
        (tf.constant(0), _square(updates.rest)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        parallel_iterations=1,
    )
    return gram


def create_squared_distances(gram: tf.Tensor) -> tf.Tensor:
    """Between all pairs of updates: float64 [num_clients, num_clients], from their products."""
    squares = tf.linalg.diag_part(gram)
    distances = squares[:, tf.newaxis] + squares - 2.0 * gram
    distances = tf.maximum(distances, 0.0)
    return tf.linalg.set_diag(distances, tf.zeros_like(squares))


def combine(
    updates: buffers.Updates, num_rows: int, weights: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A linear combination of updates.

    Args:
      updates: Updates of a round.
      num_rows: Rows of the table.
      weights: float64 [num_clients].

    Returns:
      float32 [num_rows, width] and float32 [rest_size].
    """
    weights = tf.cast(weights, tf.float32)
    rows = updates.rows * tf.gather(weights, updates.row_clients)[:, tf.newaxis]
    table = tf.math.unsorted_segment_sum(rows, updates.row_ids, num_rows)
    return table, tf.linalg.matvec(updates.rest, weights, transpose_a=True)


def _square(matrix: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.matmul(matrix, matrix, transpose_b=True), tf.float64)
