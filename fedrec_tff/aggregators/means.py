"""`mean` and `weighted_mean`: plain federated averaging, without privacy."""

# Tested in tests/aggregators/test_robust_norms.py.

import tensorflow_federated as tff

from fedrec_tff.aggregators import registry, row_lists, row_sparse


def build_mean(
    context: registry.AggregatorContext,
) -> tff.aggregators.UnweightedAggregationFactory:
    """Every client counts the same."""
    if context.row_sparse:
        return row_sparse.RowSparseMeanFactory(context.num_items, _create_sum_factory(context))
    return tff.aggregators.UnweightedMeanFactory()


def build_weighted_mean(
    context: registry.AggregatorContext,
) -> tff.aggregators.WeightedAggregationFactory:
    """Clients count by their examples (McMahan et al. 2017, arXiv 1602.05629)."""
    if context.row_sparse:
        return row_sparse.RowSparseWeightedMeanFactory(
            context.num_items, _create_sum_factory(context)
        )
    return tff.aggregators.MeanFactory()


def _create_sum_factory(
    context: registry.AggregatorContext,
) -> tff.aggregators.UnweightedAggregationFactory | None:
    """What sums row-sparse updates where the server's step takes rows; None for a dense sum."""
    if context.max_sent_rows is None:
        return None
    return row_lists.RowListSumFactory(context.num_items, context.max_sent_rows)
