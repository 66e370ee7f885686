"""Krum and multi-Krum: the updates that have the nearest neighbours.

Blanchard et al. 2017, "Machine learning with adversaries: Byzantine tolerant gradient descent"
(NeurIPS), section 4. Krum's guarantee needs at least `2 f + 3` clients, of which `f` attack.

Clients of a recommender touch different items, so that their updates are far from one another, and
the nearest ones are often just the shortest. Krum then learns from one client with little to say;
multi-Krum, the mean of all but the outliers, is what to try first.
"""

# Tested in tests/aggregators/test_robust_selection.py.

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.robust import buffers, collection, gram

_ROUNDING = 1e-6


def build_krum(
    context: registry.AggregatorContext,
    *,
    attacker_fraction: float = 0.2,
    rows_per_client: int | None = None,
) -> collection.CollectionFactory:
    """The one update that is nearest to its neighbours (Blanchard et al. 2017).

    Args:
      context: Context that builders are given.
      attacker_fraction: The share of a cohort that may attack; rounded down to a number.
      rows_per_client: Item rows to keep of a row-sparse client, on average; by default all.

    Returns:
      The factory.

    Raises:
      UserError: If the fraction is not in [0, 0.5).
    """
    return _build(context, attacker_fraction, 1, rows_per_client)


def build_multi_krum(
    context: registry.AggregatorContext,
    *,
    attacker_fraction: float = 0.2,
    num_selected: int | None = None,
    rows_per_client: int | None = None,
) -> collection.CollectionFactory:
    """The mean of the updates that are nearest to their neighbours (Blanchard et al. 2017).

    Args:
      context: Context that builders are given.
      attacker_fraction: The share of a cohort that may attack; rounded down to a number.
      num_selected: Number of updates to take the mean of, or all if there are fewer; by default as
        many as do not attack.
      rows_per_client: Item rows to keep of a row-sparse client, on average; by default all.

    Returns:
      The factory.

    Raises:
      UserError: If the fraction is not in [0, 0.5), or the number not positive.
    """
    if num_selected is not None and num_selected < 1:
        raise errors.UserError(
            f"--aggregator_param num_selected={num_selected}: must be at least 1"
        )
    return _build(context, attacker_fraction, num_selected, rows_per_client)


def _build(
    context: registry.AggregatorContext,
    attacker_fraction: float,
    num_selected: int | None,
    rows_per_client: int | None,
) -> collection.CollectionFactory:
    if not 0.0 <= attacker_fraction < 0.5:
        raise errors.UserError(
            f"--aggregator_param attacker_fraction={attacker_fraction}: must be at least 0 and "
            "below 0.5"
        )

    def combine(updates: buffers.Updates, num_rows: int) -> tuple[tf.Tensor, tf.Tensor]:
        num_clients = updates.num_clients
        share = attacker_fraction * tf.cast(num_clients, tf.float64)
        num_attackers = tf.cast(tf.floor(share + _ROUNDING), tf.int32)
        distances = gram.create_squared_distances(gram.create_gram_matrix(updates))
        # The nearest to a client is itself, at no distance. In cohorts too small for the guarantee
        # there is still one neighbour.
        num_nearest = 1 + tf.maximum(num_clients - num_attackers - 2, 1)
        scores = tf.reduce_sum(tf.sort(distances, axis=1)[:, :num_nearest], axis=1)
        num_best = num_clients - num_attackers if num_selected is None else num_selected
        best = tf.argsort(scores, stable=True)[:num_best]
        weights = tf.reduce_sum(tf.one_hot(best, num_clients, dtype=tf.float64), axis=0)
        return gram.combine(updates, num_rows, weights / tf.cast(tf.size(best), tf.float64))

    return collection.CollectionFactory(context, combine, rows_per_client)
