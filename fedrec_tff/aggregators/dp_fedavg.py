"""DP-FedAvg: clip each user's update, sum, add Gaussian noise, divide by the expected cohort.

McMahan et al. 2018, "Learning differentially private recurrent language models" (fixed clip);
Andrew et al. 2021, "Differentially private learning with adaptive clipping" (arXiv 1905.03871);
Ghazi et al. 2023, "Sparsity-preserving differentially private training of large embedding models"
(arXiv 2311.08357).

The denominator is the expected number of clients, never the realised one, which is itself private.
"""

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import registry, row_lists, row_sparse
from fedrec_tff.privacy import queries, sparse_queries
from fedrec_tff.privacy.mechanisms import adaptive, sparse, terms

# Andrew et al. 2021, section 3: clip to the median, and move at most by a factor exp(0.2).
_TARGET_UNCLIPPED_QUANTILE = 0.5
_CLIP_LEARNING_RATE = 0.2


def build_dp_gaussian(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """A fixed clip; of item rows and the rest apart if there is a clip for the latter."""
    query = create_clip_query(context)
    if context.max_sent_rows is None:
        return _build_private_mean(query, context)
    # A client's numbers are no larger than its norm, whose bound is 2^26 at most.
    sum_factory = row_lists.RowListSumFactory(context.num_items, context.max_sent_rows, tf.int32)
    row_query = row_sparse.RowSparseQuery(query, context.num_items, sums_are_rows=True)
    return _normalize(row_query, sum_factory, context)


def build_dp_adaptive(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """A clip that follows the median norm; part of the noise pays for estimating it."""
    mechanism = context.mechanism
    noise_multiplier, clipped_count_stddev = adaptive.split_noise(mechanism)
    query = queries.AdaptiveClipSumQuery(
        initial_l2_norm_clip=mechanism.clip_norm,
        noise_multiplier=noise_multiplier * mechanism.noise_scale,
        target_unclipped_quantile=_TARGET_UNCLIPPED_QUANTILE,
        learning_rate=_CLIP_LEARNING_RATE,
        clipped_count_stddev=clipped_count_stddev * mechanism.noise_scale,
        expected_num_records=context.clients_per_round,
        insecure_seed=context.insecure_noise_seed,
    )
    return _build_private_mean(query, context)


def build_dp_sparse(
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    """A fixed clip; noise on the item rows that a noised histogram chooses, and on the towers."""
    mechanism = context.mechanism
    histogram_multiplier, _ = sparse.split_noise(mechanism)
    histogram = sparse_queries.Histogram(
        num_rows=context.num_items,
        noise_multiplier=histogram_multiplier * mechanism.noise_scale,
        rows_per_user=mechanism.rows_per_user,
        threshold=mechanism.row_threshold,
        remembers=mechanism.row_selection == terms.RUN,
    )
    query = sparse_queries.SparseGaussianSumQuery(
        create_clip_query(context), histogram, context.insecure_noise_seed
    )
    return _build_private_mean(query, context)


def create_clip_query(context: registry.AggregatorContext) -> queries.GaussianSumQuery:
    """The query that clips updates as the mechanism says, with its noise, fresh in each round."""
    mechanism = context.mechanism
    noise_stddev = mechanism.kind.added_noise_stddev(mechanism)
    if mechanism.tower_clip_norm is None:
        return queries.GaussianSumQuery(
            mechanism.clip_norm, noise_stddev, context.insecure_noise_seed
        )
    return queries.PartClippedSumQuery(
        {"items": mechanism.clip_norm, "tower": mechanism.tower_clip_norm},
        noise_stddev,
        context.insecure_noise_seed,
    )


def _build_private_mean(
    query: tfp.SumAggregationDPQuery, context: registry.AggregatorContext
) -> tff.aggregators.DifferentiallyPrivateFactory:
    record_factory = None
    if context.row_sparse:
        query = row_sparse.RowSparseQuery(query, context.num_items)
        record_factory = row_sparse.RowSparseSumFactory(context.num_items)
    return _normalize(query, record_factory, context)


def _normalize(
    query: tfp.SumAggregationDPQuery,
    record_factory: tff.aggregators.UnweightedAggregationFactory | None,
    context: registry.AggregatorContext,
) -> tff.aggregators.DifferentiallyPrivateFactory:
    mean_query = tfp.NormalizedQuery(query, denominator=context.clients_per_round)
    return tff.aggregators.DifferentiallyPrivateFactory(mean_query, record_factory)
