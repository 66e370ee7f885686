"""Hierarchical aggregation: clients send to edges, edges to the server.

HierFAVG (Liu et al. 2020, "Client-edge-cloud hierarchical federated learning", arXiv 1905.06641,
algorithm 1). With a sync period of one round the server combines what the edges have in every
round, and this is an aggregator like others, but for its weights: `edges.EdgeWeight`s. With a
longer one edges have models of their own, which `learning.server_part` keeps.
"""

# Tested in tests/aggregators/test_hierarchical.py.

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import dp_fedavg, registry, row_sparse
from fedrec_tff.aggregators.hierarchical import config, edge_steps, edges, robust_edges, rules
from fedrec_tff.aggregators.robust import collection, coordinate_wise, geometric_median
from fedrec_tff.privacy.mechanisms import gaussian


class HierarchicalFactory(tff.aggregators.WeightedAggregationFactory):
    """Aggregates by edge, and the edges at the server where they sync in every round."""

    def __init__(
        self,
        edge_factory: tff.aggregators.WeightedAggregationFactory,
        hierarchy: config.Hierarchy,
    ) -> None:
        """Initialises the factory.

        Args:
          edge_factory: Factory of the process from updates and `EdgeWeight`s to `EdgeAggregates`.
          hierarchy: The server's part.
        """
        self._edge_factory, self._hierarchy = edge_factory, hierarchy

    @property
    def hierarchy(self) -> config.Hierarchy:
        """The server's part."""
        return self._hierarchy

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: The type of an update, dense or a `RowSparse`.
          weight_type: Type of an `EdgeWeight`.

        Returns:
          A process with state and measurements of the edges' one. Its result is the server's
          combination, not a number if no edge has anything to say; with a sync period above one
          round it is the `EdgeAggregates`.

        Raises:
          TypeError: If weights do not say who belongs to which edge.
        """
        if not weight_type.is_equivalent_to(edges.EDGE_WEIGHT_TYPE):
            raise TypeError(
                f"a hierarchical aggregator takes EdgeWeights as weights, found {weight_type}"
            )
        at_edges = self._edge_factory.create(value_type, weight_type)
        if self._hierarchy.sync_period > 1:
            return at_edges
        rule_fn = rules.create_rule(self._hierarchy.server, self._hierarchy.fraction)

        @tff.tensorflow.computation(at_edges.next.type_signature.result.result.member)
        def combine_fn(aggregates):
            return rules.combine(rule_fn, aggregates.value, aggregates.weight)

        @tff.federated_computation(
            at_edges.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            output = at_edges.next(state, value, weight)
            combined = tff.federated_map(combine_fn, output.result)
            return tff.templates.MeasuredProcessOutput(output.state, combined, output.measurements)

        return tff.templates.AggregationProcess(at_edges.initialize, next_fn)


class _OneSlotFactory(tff.aggregators.WeightedAggregationFactory):
    """The sum of all edges' sums, which is that of all clients, as `EdgeAggregates` of one slot."""

    def __init__(self, private: tff.aggregators.DifferentiallyPrivateFactory) -> None:
        self._private = private

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process."""
        private = self._private.create(value_type)

        @tff.tensorflow.computation(private.next.type_signature.result.result.member)
        def stack_fn(mean):
            stack = tf.nest.map_structure(lambda t: t[tf.newaxis], mean)
            return edges.EdgeAggregates(stack, tf.ones([1]))

        @tff.federated_computation(
            private.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            del weight
            output = private.next(state, value)
            stacked = tff.federated_map(stack_fn, output.result)
            return tff.templates.MeasuredProcessOutput(output.state, stacked, output.measurements)

        return tff.templates.AggregationProcess(private.initialize, next_fn)


def build_hierarchical(
    context: registry.AggregatorContext,
    *,
    num_edges: int = 10,
    edge: str = "weighted_mean",
    server: str = "weighted_mean",
    fraction: float = 0.2,
    sync_period: int = 1,
    edge_learning_rate: float = 1.0,
    rows_per_client: int | None = None,
) -> HierarchicalFactory:
    """Clients send to edges, and edges to the server (HierFAVG).

    Each user belongs to one edge, a public draw from the user's raw id. An edge without clients in
    a round, or in a whole sync period, is left out.

    Args:
      context: Context that builders are given.
      num_edges: Number of edges; memory and the server's work grow with it.
      edge: Rule by which an edge combines its clients: `weighted_mean` by examples, `mean`, or,
        keeping all updates until the round's end, `median`, `trimmed_mean`, `geometric_median`.
      server: Rule by which the server combines the edges: `weighted_mean` (by what their clients
        weigh together), `mean`, or `median`, `trimmed_mean`, `geometric_median` against edges that
        lie.
      fraction: Share that `trimmed_mean` cuts off at either end, at edges and server.
      sync_period: Rounds from one combination to the next; between them edges train models of their
        own.
      edge_learning_rate: Factor by which an edge's steps are scaled, for a `sync_period` above one.
      rows_per_client: Item rows to keep of a row-sparse client, on average, where updates are kept;
        by default all.

    Returns:
      The factory.

    Raises:
      UserError: If a parameter is out of range.
    """
    hierarchy = config.Hierarchy(num_edges, server, fraction, sync_period, edge_learning_rate)
    config.check_rule("edge", edge)
    if edge in config.ROBUST_RULES:
        robust = _build_robust(context, edge, fraction, rows_per_client)
        at_edges = robust_edges.RobustEdgeFactory(robust, num_edges, context.num_items)
        return HierarchicalFactory(at_edges, hierarchy)
    if rows_per_client is not None:
        raise errors.UserError(
            f"--aggregator_param rows_per_client={rows_per_client}: edge={edge} keeps no rows; "
            f"leave it out, or choose edge={' or '.join(config.ROBUST_RULES)}"
        )
    at_edges = edge_steps.EdgeMeanFactory(
        num_edges, context.num_items, edge == config.WEIGHTED_MEAN
    )
    return HierarchicalFactory(at_edges, hierarchy)


def _build_robust(
    context: registry.AggregatorContext, edge: str, fraction: float, rows_per_client: int | None
) -> collection.CollectionFactory:
    if edge == config.MEDIAN:
        return coordinate_wise.build_median(context, rows_per_client=rows_per_client)
    if edge == config.TRIMMED_MEAN:
        return coordinate_wise.build_trimmed_mean(
            context, fraction=fraction, rows_per_client=rows_per_client
        )
    return geometric_median.build_geometric_median(context, rows_per_client=rows_per_client)


def build_dp_hierarchical(
    context: registry.AggregatorContext,
    *,
    num_edges: int = 10,
    noise_at: str = "edge",
    server: str = "mean",
    fraction: float = 0.2,
    sync_period: int = 1,
    edge_learning_rate: float = 1.0,
) -> HierarchicalFactory:
    """Clients send to edges that clip and add Gaussian noise, and edges to the server.

    Edges are trusted, the server is not: it sees nothing without noise. Epsilon is that of
    `dp_gaussian` with the same noise multiplier, since a user is in one edge alone: see
    `edges.EdgeQuery`. It counts on sampling, so it holds against those who do not know the cohorts;
    that includes the server if the edges draw them. What the server makes of the edges, robust or
    not, and what clients get to see of edges' models, is post-processing. The price is noise: the
    mean of `num_edges` edges has `sqrt(num_edges)` times the noise that one trusted server would
    have added.

    With `noise_at=server` edges only add up, and the server, trusted, adds the noise once: this is
    `dp_gaussian`, and edges' models may not reach clients, so only with `sync_period=1`.

    Edges divide by the expected number of their clients, the cohort's over `num_edges`.

    Args:
      context: Context that builders are given.
      num_edges: Number of edges; memory, noise and the server's work grow with it.
      noise_at: Level that adds noise, `edge` or `server`.
      server: Rule by which the server combines the edges: `mean`, or `median`, `trimmed_mean`,
        `geometric_median` against edges that lie.
      fraction: Share that `trimmed_mean` cuts off at either end.
      sync_period: Rounds from one combination to the next; between them edges train models of their
        own.
      edge_learning_rate: Factor by which an edge's steps are scaled, for a `sync_period` above one.

    Returns:
      The factory.

    Raises:
      UserError: If a parameter is out of range, or the guarantee would not hold.
    """
    if context.mechanism is None or context.mechanism.kind != gaussian.GAUSSIAN:
        raise ValueError(f"expected the mechanism {gaussian.GAUSSIAN.name}")
    config.check_private(server, noise_at, sync_period)
    hierarchy = config.Hierarchy(num_edges, server, fraction, sync_period, edge_learning_rate)
    if noise_at == config.AT_SERVER:
        return HierarchicalFactory(_OneSlotFactory(dp_fedavg.build_dp_gaussian(context)), hierarchy)
    clients_per_edge = context.clients_per_round / num_edges
    at_edges = _build_private_edges(context, num_edges, clients_per_edge)
    return HierarchicalFactory(at_edges, hierarchy)


def build_edge_releases(
    context: registry.AggregatorContext, *, num_edges: int = 10
) -> tff.aggregators.UnweightedAggregationFactory:
    """What the edges of `dp_hierarchical` release, for those who audit its noise and its clip.

    Args:
      context: Context that builders are given, with the mechanism `dp_gaussian`.
      num_edges: Number of edges.

    Returns:
      A factory whose result are the noised sums of all edges, each tensor with a leading
      `[num_edges]`, over the expected number of a round's clients, who are all in the first edge.
    """
    return _ReleasesFactory(_build_private_edges(context, num_edges, context.clients_per_round))


class _ReleasesFactory(tff.aggregators.UnweightedAggregationFactory):
    """See `build_edge_releases`."""

    def __init__(self, private: edge_steps.PrivateEdgeFactory) -> None:
        self._private = private

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process."""
        private = self._private.create(value_type, edges.EDGE_WEIGHT_TYPE)

        @tff.tensorflow.computation
        def first_edge_fn():
            return edges.EdgeWeight(tf.ones([]), tf.constant(0))

        @tff.federated_computation(
            private.initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            output = private.next(state, value, tff.federated_eval(first_edge_fn, tff.CLIENTS))
            return tff.templates.MeasuredProcessOutput(
                output.state, output.result.value, output.measurements
            )

        return tff.templates.AggregationProcess(private.initialize, next_fn)


def _build_private_edges(
    context: registry.AggregatorContext, num_edges: int, clients_per_edge: float
) -> edge_steps.PrivateEdgeFactory:
    query = dp_fedavg.create_clip_query(context)
    if context.row_sparse:
        query = row_sparse.RowSparseQuery(query, context.num_items)
    return edge_steps.PrivateEdgeFactory(query, num_edges, context.num_items, clients_per_edge)
