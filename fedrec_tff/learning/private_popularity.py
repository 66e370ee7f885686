"""Item popularity under user-level differential privacy, and what a model can make of it.

How many users took each item is worth knowing: for drawing negatives, for where item biases start,
and as the baseline that a private model must beat. It is an exact statistic of user data, so it is
released once, as a noised sum. A user who took more items than may count is counted for some of
them, chosen uniformly: the newest would show what is in fashion, and the first what the service
shows to newcomers, but popularity is about all.

What follows from the noised counts costs no more privacy (post-processing).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import row_sparse
from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.execution import stacking
from fedrec_tff.learning import client_work, local_rows
from fedrec_tff.privacy import queries, releases

# What is drawn: which items a user counts for.
_CHOICE = "popularity"
# Keeps this release's insecure noise apart from the other streams of a seed.
_INSECURE_NOISE_STREAM = 0x909_5EED


def stack(
    population: clients_lib.ClientPopulation,
    draws: keyed_draws.KeyedDraws,
    purpose: str = _CHOICE,
) -> stacking.StackedCohort:
    """Makes one cohort of all users.

    Args:
      population: All users.
      draws: Keyed draws of the population, for which items users with too many count for. Their key
        must be as secret as the sampling of users, and a key of all bits: one for everybody would
        be one of 2**32.
      purpose: Name of the choice that is drawn, as in `KeyedDraws.blocks`: another choice for
        another release.

    Returns:
      A cohort of `client_work.ClientData`.
    """
    keys = draws.seeds(purpose)
    parts = []
    for bucket in population.buckets:
        seeds = keys[bucket.client_row]
        # A block of clients is padded when its turn comes.
        items = stacking.StoredRows(bucket.item_index, np.arange(bucket.num_clients))
        data = client_work.ClientData(items, bucket.num_interactions, seeds)
        parts.append(stacking.StackedClients(data, bucket.client_row))
    return stacking.StackedCohort(tuple(parts))


def build_private_popularity(
    num_items: int,
    release: releases.PopularityRelease,
    insecure_noise_seed: int | None = None,
) -> tff.Computation:
    """Builds the release.

    Each client sends one for each of the distinct items that it counts for. Repetitions, padding
    and indices that are no items are left out on the client, so a user's influence is bounded by
    `release.sensitivity` whatever the data. Every invocation is a release of its own and costs
    `release.event`.

    Args:
      num_items: Size of the catalogue.
      release: Release with the number of items that count, and the noise.
      insecure_noise_seed: Seed for the noise, only in tests: the noise is then the same each time,
        and protects nobody; None for secret noise.

    Returns:
      A computation from clients' `client_work.ClientData` to noised counts, float32 [num_items].
    """
    seed = None if insecure_noise_seed is None else insecure_noise_seed ^ _INSECURE_NOISE_STREAM
    return build_item_sums(num_items, release, lambda used: used, seed)


def build_item_sums(
    num_items: int,
    release: releases.PopularityRelease | releases.CatalogueRelease,
    weigh_fn: Callable[[tf.Tensor], tf.Tensor],
    insecure_noise_seed: int | None = None,
) -> tff.Computation:
    """Builds a noised sum of what users say of a few of their items.

    Args:
      num_items: Size of the catalogue.
      release: Release with the number of items for which a user counts, by how much at most, and
        the noise.
      weigh_fn: Function of what a user says of each of them: from float32 [n], one for an item and
        zero for what fills the rows up, to float32 [n], zero where that is.
      insecure_noise_seed: Seed for the noise, only in tests; None for secret noise.

    Returns:
      A computation from clients' `client_work.ClientData` to noised sums, float32 [num_items].
    """
    query = queries.GaussianSumQuery(release.sensitivity, release.noise_stddev, insecure_noise_seed)
    factory = tff.aggregators.DifferentiallyPrivateFactory(
        row_sparse.RowSparseQuery(query, num_items), row_sparse.RowSparseSumFactory(num_items)
    )

    @tff.tensorflow.computation(client_work.CLIENT_DATA_TYPE)
    def weigh_items(client):
        counted = _count_items(client, num_items, release.items_per_user)
        return counted._replace(value=weigh_fn(counted.value))

    process = factory.create(weigh_items.type_signature.result)

    @tff.federated_computation(tff.FederatedType(client_work.CLIENT_DATA_TYPE, tff.CLIENTS))
    def release_sums(clients):
        weighed = tff.federated_map(weigh_items, clients)
        return process.next(process.initialize(), weighed).result

    return release_sums


def create_popularity_probabilities_from_counts(
    counts: np.ndarray, noise_stddev: float
) -> np.ndarray:
    """Turns noised counts into probabilities, for `negative_sampling.NegativeSampler`.

    Counts are raised to a floor of half the noise's standard deviation, and of at least one. For an
    item that nobody took, noise alone is below that floor 69 times in 100, and below 3.3 times the
    floor 95 times in 100: so the tail comes out nearly uniform. With a lower floor the logarithms
    of these probabilities, which training uses, would tell the tail's items apart by noise; a
    higher one would hide what the counts do tell.

    Args:
      counts: float [num_items], noised.
      noise_stddev: Standard deviation of the noise on each count.

    Returns:
      float64 [num_items], summing to one; no item has probability zero.
    """
    raised = np.maximum(np.asarray(counts, np.float64), max(1.0, noise_stddev / 2.0))
    return raised / raised.sum()


def create_initial_bias(probabilities: np.ndarray) -> np.ndarray:
    """Item biases with which a model whose embeddings say nothing ranks by popularity.

    The logarithm of the probabilities, with a mean of zero; a softmax over these biases gives the
    probabilities. `two_tower` adds biases after the division by the temperature, so the temperature
    plays no part.

    Args:
      probabilities: float [num_items], all positive.

    Returns:
      float32 [num_items].
    """
    log_probabilities = np.log(np.asarray(probabilities, np.float64))
    return (log_probabilities - log_probabilities.mean()).astype(np.float32)


def _count_items(
    client: client_work.ClientData, num_items: int, items_per_user: int
) -> row_sparse.RowSparse:
    """One for each of at most `items_per_user` distinct items; zero for what fills the rows up."""
    length = tf.shape(client.item_index)[0]
    is_item = tf.logical_and(client.item_index >= 0, client.item_index < num_items)
    valid = tf.logical_and(is_item, tf.range(length) < client.num_interactions)
    rows = local_rows.build_local_rows(client.item_index, valid)
    # Integers: XLA makes other floats than TensorFlow's kernels do from the same bits.
    keys = tf.random.stateless_uniform(
        [length], client.seed, 0, tf.int32.max, tf.int32, alg="philox"
    )
    keys = tf.where(rows.used, keys, tf.int32.max)
    # In the order of the items, as private sums of rows want them.
    chosen = tf.sort(tf.argsort(keys)[:items_per_user])
    return row_sparse.RowSparse(
        ids=tf.gather(rows.ids, chosen), value=tf.cast(tf.gather(rows.used, chosen), tf.float32)
    )
