"""DP-FedAvg: clip each user's update, sum, add Gaussian noise, divide by the expected cohort.

McMahan et al. 2018, "Learning differentially private recurrent language models" (fixed clip);
Andrew et al. 2021, "Differentially private learning with adaptive clipping" (arXiv 1905.03871).
The denominator is the expected number of clients, never the realised one, which is itself private.
"""

import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import registry, row_sparse
from fedrec_tff.privacy import mechanisms, queries

# Andrew et al. 2021, section 3: clip to the median, and move at most by a factor exp(0.2).
_TARGET_UNCLIPPED_QUANTILE = 0.5
_CLIP_LEARNING_RATE = 0.2


def build_dp_gaussian(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """A fixed clip."""
    stddev = context.clip_norm * context.noise_multiplier
    query = queries.GaussianSumQuery(context.clip_norm, stddev, context.insecure_noise_seed)
    return _build_private_mean(query, context)


def build_dp_adaptive(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """A clip that follows the median norm; part of the noise pays for estimating it."""
    noise_multiplier, clipped_count_stddev = mechanisms.split_adaptive_noise(
        context.noise_multiplier, context.clients_per_round
    )
    query = queries.AdaptiveClipSumQuery(
        initial_l2_norm_clip=context.clip_norm,
        noise_multiplier=noise_multiplier,
        target_unclipped_quantile=_TARGET_UNCLIPPED_QUANTILE,
        learning_rate=_CLIP_LEARNING_RATE,
        clipped_count_stddev=clipped_count_stddev,
        expected_num_records=context.clients_per_round,
        insecure_seed=context.insecure_noise_seed,
    )
    return _build_private_mean(query, context)


def _build_private_mean(
    query: tfp.SumAggregationDPQuery, context: registry.AggregatorContext
) -> tff.aggregators.DifferentiallyPrivateFactory:
    record_factory = None
    if context.row_sparse:
        query = row_sparse.RowSparseQuery(query, context.num_items)
        record_factory = row_sparse.RowSparseSumFactory(context.num_items)
    mean_query = tfp.NormalizedQuery(query, denominator=context.clients_per_round)
    return tff.aggregators.DifferentiallyPrivateFactory(mean_query, record_factory)
