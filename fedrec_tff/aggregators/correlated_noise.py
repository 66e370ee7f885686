"""DP-FTRL: noise that is correlated over rounds, for servers that sum updates.

Kairouz et al. 2021, "Practical and private (deep) learning without sampling or shuffling" (arXiv
2103.00039); Choquette-Choo et al. 2023, "(Amplified) banded matrix factorization" (arXiv
2306.08153). Clipping and denominator are those of `dp_fedavg`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

from fedrec_tff.aggregators import dp_fedavg, registry, row_sparse
from fedrec_tff.privacy import correlated_queries, factorization


class CorrelatedNoiseFactory(tff.aggregators.UnweightedAggregationFactory):
    """A private mean whose query must know the shapes of updates when it is made.

    The process's state holds past noise: see `correlated_queries`.
    """

    def __init__(
        self,
        create_query_fn: Callable[[Any], tfp.SumAggregationDPQuery],
        context: registry.AggregatorContext,
    ) -> None:
        """Initialises the factory.

        Args:
          create_query_fn: Function from the specs of a dense sum to the query that makes it
            private.
          context: Context that builders are given.
        """
        self._create_query_fn = create_query_fn
        self._context = context

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update; of a `RowSparse` one where the context says so.

        Returns:
          The process of a `tff.aggregators.DifferentiallyPrivateFactory`.
        """
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        record_factory = None
        if self._context.row_sparse:
            num_items = self._context.num_items
            dense_specs = tf.nest.map_structure(
                lambda spec: row_sparse.create_dense_spec(spec, num_items), specs.value
            )
            query = row_sparse.RowSparseQuery(self._create_query_fn(dense_specs), num_items)
            record_factory = row_sparse.RowSparseSumFactory(num_items)
        else:
            query = self._create_query_fn(specs)
        mean_query = tfp.NormalizedQuery(query, denominator=self._context.clients_per_round)
        private = tff.aggregators.DifferentiallyPrivateFactory(mean_query, record_factory)
        return private.create(value_type)


def build_dp_banded_mf(context: registry.AggregatorContext) -> CorrelatedNoiseFactory:
    """Noise of a banded matrix, as many bands as rounds between two turns of a user."""
    mechanism = context.mechanism
    strategy = factorization.create_banded_strategy(mechanism.rounds, mechanism.min_separation)

    def create_query(record_specs: Any) -> correlated_queries.BandedGaussianSumQuery:
        return correlated_queries.BandedGaussianSumQuery(
            dp_fedavg.create_clip_query(context),
            record_specs=record_specs,
            coefficients=strategy.coefficients,
        )

    return CorrelatedNoiseFactory(create_query, context)


def build_dp_tree(context: registry.AggregatorContext) -> CorrelatedNoiseFactory:
    """Noise of binary trees, none of which a user is in twice."""
    mechanism = context.mechanism
    period = factorization.create_tree_period(mechanism.rounds, mechanism.min_separation)

    def create_query(record_specs: Any) -> correlated_queries.TreeGaussianSumQuery:
        return correlated_queries.TreeGaussianSumQuery(
            dp_fedavg.create_clip_query(context),
            record_specs=record_specs,
            restart_period=period,
        )

    return CorrelatedNoiseFactory(create_query, context)
