"""Local differential privacy: every client clips its update and adds noise of its own.

The mean over the expected number of clients has 1 / sqrt(m) of one client's noise: a lot, since
each client's noise alone protects it, from the server too. The noise is on every coordinate, so
updates are dense; and which rows a row-sparse update has would give its user away.

Only the `compiled` and `debug` contexts draw it from a source that nobody can predict: see
`privacy.local_queries`.
"""

import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import registry
from fedrec_tff.privacy import local_queries


def build_local_gaussian(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """L2 clip and Gaussian noise."""
    mechanism = context.mechanism
    query = local_queries.LocalGaussianSumQuery(mechanism.clip_norm, mechanism.noise_stddev)
    return _build_private_mean(query, context)


def build_local_laplace(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """L1 clip and Laplace noise; the noise multiplier is its scale over the clip norm."""
    mechanism = context.mechanism
    query = local_queries.LocalLaplaceSumQuery(mechanism.clip_norm, mechanism.noise_stddev)
    return _build_private_mean(query, context)


def _build_private_mean(
    query: tfp.SumAggregationDPQuery, context: registry.AggregatorContext
) -> tff.aggregators.DifferentiallyPrivateFactory:
    if context.row_sparse:
        raise ValueError("local noise is on every coordinate: row-sparse updates are not supported")
    mean_query = tfp.NormalizedQuery(query, denominator=context.clients_per_round)
    return tff.aggregators.DifferentiallyPrivateFactory(mean_query)
