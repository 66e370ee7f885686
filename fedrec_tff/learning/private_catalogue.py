"""A private run's catalogue, chosen from what users took: see `privacy.partition_selection`."""

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.datasets import clients as clients_lib
from fedrec_tff.datasets import keyed_draws
from fedrec_tff.execution import stacking
from fedrec_tff.learning import private_popularity
from fedrec_tff.privacy import releases

# What is drawn: which items a user counts for.
_CHOICE = "catalogue"
# Keeps this release's insecure noise apart from the other streams of a seed.
_INSECURE_NOISE_STREAM = 0xCA7A_5EED


def stack(
    population: clients_lib.ClientPopulation, draws: keyed_draws.KeyedDraws
) -> stacking.StackedCohort:
    """Makes one cohort of all users; as `private_popularity.stack`."""
    return private_popularity.stack(population, draws, _CHOICE)


def build_private_catalogue(
    num_items: int,
    release: releases.CatalogueRelease,
    insecure_noise_seed: int | None = None,
) -> tff.Computation:
    """Builds the sums that the catalogue is chosen from.

    Each client spreads a vector of length one evenly over the distinct items that it counts for.

    Args:
      num_items: Number of items there are to choose from. Their number is not public, nor are the
        sums: what `partition_selection.select` chooses by `release.threshold` is.
      release: Release with the number of items that count, and the noise.
      insecure_noise_seed: Seed for the noise, only in tests; None for secret noise.

    Returns:
      A computation from clients' `client_work.ClientData` to noised sums, float32 [num_items].
    """
    seed = None if insecure_noise_seed is None else insecure_noise_seed ^ _INSECURE_NOISE_STREAM
    return private_popularity.build_item_sums(num_items, release, _spread, seed)


def _spread(used: tf.Tensor) -> tf.Tensor:
    return used * tf.math.rsqrt(tf.maximum(tf.reduce_sum(used), 1.0))
