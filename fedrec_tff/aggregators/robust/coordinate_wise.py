"""Coordinate-wise median and trimmed mean.

Yin et al. 2018, "Byzantine-robust distributed learning: towards optimal statistical rates" (arXiv
1803.01498), definitions 1 and 2.

A client of a recommender says something of a few items and nothing, zero, of all others. So in the
median over all clients an item that less than half of them touched does not move at all, and with a
trimmed mean of fraction `b` one that a share `b` of them touched. `touched_only` asks those alone
who touched the item, and scales what they say by their share of the cohort, as a mean would.
The price: among few who touched an item, few attackers are a majority. An item that attackers
alone touch is theirs, scaled by their share of the cohort: bound norms first (`clip`).
"""

# Tested in tests/aggregators/test_robust_selection.py.

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.robust import buffers, collection, grouping

_ROUNDING = 1e-6


def build_median(
    context: registry.AggregatorContext,
    *,
    touched_only: bool = True,
    rows_per_client: int | None = None,
) -> collection.CollectionFactory:
    """The median of each coordinate (Yin et al. 2018, arXiv 1803.01498).

    Args:
      context: Context that builders are given.
      touched_only: Whether an item's row is the median over those clients whose row of it is not
        zero, times their share of the cohort; otherwise that over all clients, zero wherever less
        than half of them touched the item.
      rows_per_client: Item rows to keep of a row-sparse client, on average; by default all.

    Returns:
      The factory.
    """
    return _build(context, 0.5, touched_only, rows_per_client)


def build_trimmed_mean(
    context: registry.AggregatorContext,
    *,
    fraction: float = 0.2,
    touched_only: bool = True,
    rows_per_client: int | None = None,
) -> collection.CollectionFactory:
    """The mean of each coordinate without its extremes (Yin et al. 2018, arXiv 1803.01498).

    Args:
      context: Context that builders are given.
      fraction: The share of values, rounded down to a number, left out at either end.
      touched_only: Whether an item's row is the trimmed mean over those clients whose row of it is
        not zero, times their share of the cohort; otherwise that over all clients.
      rows_per_client: Item rows to keep of a row-sparse client, on average; by default all.

    Returns:
      The factory.

    Raises:
      UserError: If the fraction is not in [0, 0.5).
    """
    if not 0.0 <= fraction < 0.5:
        raise errors.UserError(
            f"--aggregator_param fraction={fraction}: must be at least 0 and below 0.5"
        )
    return _build(context, fraction, touched_only, rows_per_client)


def _build(
    context: registry.AggregatorContext,
    fraction: float,
    touched_only: bool,
    rows_per_client: int | None,
) -> collection.CollectionFactory:
    def combine(updates: buffers.Updates, num_rows: int) -> tuple[tf.Tensor, tf.Tensor]:
        num_clients = updates.num_clients
        table = tf.zeros([num_rows, updates.rows.shape[1]])
        for group in grouping.iterate_groups(updates, num_rows, context.max_clients):
            values = tf.gather(updates.rows, group.parts)
            values = tf.where(group.is_part[:, :, tf.newaxis], values, float("inf"))
            total = group.counts if touched_only else tf.fill(tf.shape(group.counts), num_clients)
            mean = _trim(tf.sort(values, axis=1), group.counts, total, fraction)
            if touched_only:
                share = tf.cast(group.counts / num_clients, tf.float32)
                mean *= share[:, tf.newaxis]
            table = tf.tensor_scatter_nd_update(table, group.ids[:, tf.newaxis], mean)
        everyone = num_clients[tf.newaxis]
        rest = _trim(tf.sort(updates.rest, axis=0)[tf.newaxis], everyone, everyone, fraction)
        return table, rest[0]

    return collection.CollectionFactory(context, combine, rows_per_client)


def _trim(values: tf.Tensor, counts: tf.Tensor, total: tf.Tensor, fraction: float) -> tf.Tensor:
    """The mean of the middle of values and zeros.

    The zeros, `total - counts` of them, are not there: they come after all that is negative, so
    that the rank of a value that is not is by so many higher.

    Args:
      values: float32 [rows, places, width], ascending; infinite beyond the counts.
      counts: int32 [rows], how many places are values.
      total: int32 [rows], how many values and zeros there are.
      fraction: Left out at either end; 0.5 for the median.

    Returns:
      float32 [rows, width].
    """
    share = tf.cast(total, tf.float64) * fraction
    # A tenth of 30 is 3, not the number just below that floats make of it.
    num_trimmed = tf.minimum(tf.cast(tf.floor(share + _ROUNDING), tf.int32), (total - 1) // 2)
    place = tf.range(tf.shape(values)[1])[:, tf.newaxis]
    rank = place + tf.where(values < 0.0, 0, (total - counts)[:, tf.newaxis, tf.newaxis])
    first, last = num_trimmed, total - num_trimmed
    is_kept = (rank >= first[:, tf.newaxis, tf.newaxis]) & (rank < last[:, tf.newaxis, tf.newaxis])
    num_kept = tf.cast(last - first, tf.float32)[:, tf.newaxis]
    return tf.reduce_sum(tf.where(is_kept, values, 0.0), axis=1) / num_kept
