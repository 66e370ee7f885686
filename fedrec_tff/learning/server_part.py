"""What the server does in a round, without edges and for each of two kinds of them.

`Flat`: there are no edges. `EveryRound`: edges sync in every round and have no models.
`EveryPeriod`: each edge has a model of its own, which its clients train between syncs.

With edges this is HierFAVG (Liu et al. 2020, arXiv 1905.06641, algorithm 1): clients train on their
edge's model, an edge's model takes its clients' aggregate in every round, and every `sync_period`
rounds the server combines the edges' models, from which all edges start again.

The server's step is an update against the last global model: the combination of what edges have
moved since is the pseudo-gradient of the server's optimizer (Reddi et al. 2021, arXiv 2003.00295).
With plain SGD of rate 1 and a mean, that assigns the mean of the edges' models, as in the paper.
"""

# Tested in tests/learning/test_hierarchical_process.py.

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators.hierarchical import edges as edge_lib
from fedrec_tff.aggregators.hierarchical import rules
from fedrec_tff.aggregators.hierarchical.config import Hierarchy
from fedrec_tff.models import two_tower

ModelWeights = tff.learning.models.ModelWeights
# From a client to its edge, int32.
EdgeFn = Callable[[Any], tf.Tensor]


def get_edge(client: Any) -> tf.Tensor:
    """The edge that a client was told it belongs to, from its `ClientData`."""
    return client.edge


@dataclasses.dataclass(frozen=True)
class Edges:
    """The edges of a process.

    Attributes:
      hierarchy: Hierarchy of the process's aggregation factory, a `HierarchicalFactory` with or
        without steps before it that leave the form of the aggregate as it is.
      edge_fn: Function from a client to its edge.
    """

    hierarchy: Hierarchy
    edge_fn: EdgeFn = get_edge


class EdgeModels(NamedTuple):
    """What edges have done since they last synced: the `distributor` part of the state.

    Attributes:
      offset: The global model minus each edge's: trainable weights, each with a leading
        `[num_edges]`.
      weight: float32 [num_edges], what each edge's clients counted since; zero for an edge that had
        none.
      num_rounds: int32 scalar, how many rounds that were.
    """

    offset: Any
    weight: tf.Tensor
    num_rounds: tf.Tensor


class Finished(NamedTuple):
    """What the server has at the end of a round: values of TFF, or their types."""

    weights: Any
    edge_models: Any
    finalizer: Any
    measurements: Any


class Flat:
    """The server's part where there are no edges.

    Attributes:
      broadcast_type: The type of what all clients get.
    """

    def __init__(
        self, weights_type: tff.Type, finalizer: tff.learning.templates.FinalizerProcess
    ) -> None:
        """Initialises the part.

        Args:
          weights_type: Type of the model's `ModelWeights`.
          finalizer: Process that applies the aggregate.
        """
        self._finalizer = finalizer
        self.broadcast_type = weights_type

    def start(self, weights: tff.Value) -> tff.Value:
        """The state's `distributor`."""
        del weights
        return tff.federated_value((), tff.SERVER)

    def create_broadcast(self, state: tff.Value) -> tff.Value:
        """What all clients get."""
        return state.global_model_weights

    def pick_model(self, broadcast: Any, client: Any) -> two_tower.TwoTowerWeights:
        """What a client trains."""
        del client
        return broadcast.trainable

    def weigh(self, weight: tf.Tensor, client: Any) -> Any:
        """What the aggregator is told of a client, given what it counts."""
        del client
        return weight

    def finish(self, state: tff.Value, aggregate: tff.Value) -> Finished:
        """Takes the server's step."""
        output = self._finalizer.next(state.finalizer, state.global_model_weights, aggregate)
        return Finished(output.result, state.distributor, output.state, output.measurements)

    def get_model(self, weights: ModelWeights, edge_models: Any) -> ModelWeights:
        """The model to evaluate."""
        del edge_models
        return weights

    def restart(self, weights: ModelWeights, edge_models: Any) -> Any:
        """The state's `distributor` once weights were set."""
        del weights
        return edge_models


class EveryRound(Flat):
    """The server's part where edges have no models of their own."""

    def __init__(
        self,
        edges: Edges,
        weights_type: tff.Type,
        finalizer: tff.learning.templates.FinalizerProcess,
    ) -> None:
        """Initialises the part.

        Args:
          edges: Edges between clients and server.
          weights_type: Type of the model's `ModelWeights`.
          finalizer: Process that applies the aggregate.
        """
        super().__init__(weights_type, finalizer)
        self._edge_fn = edges.edge_fn

    def weigh(self, weight: tf.Tensor, client: Any) -> edge_lib.EdgeWeight:
        """What a client counts, and where."""
        return edge_lib.EdgeWeight(weight, self._edge_fn(client))


class EveryPeriod(EveryRound):
    """The server's part where edges have models of their own."""

    def __init__(
        self,
        edges: Edges,
        weights_type: tff.Type,
        finalizer: tff.learning.templates.FinalizerProcess,
    ) -> None:
        """Initialises the part.

        Args:
          edges: Edges between clients and server.
          weights_type: Type of the model's `ModelWeights`.
          finalizer: Process that applies what the edges have together.
        """
        super().__init__(edges, weights_type, finalizer)
        hierarchy = edges.hierarchy
        self._hierarchy = hierarchy
        self._rule_fn = rules.create_rule(hierarchy.server, hierarchy.fraction)

        @tff.tensorflow.computation(weights_type)
        def start(weights):
            return _create_edge_models(weights.trainable, hierarchy.num_edges)

        edge_models_type = start.type_signature.result

        @tff.tensorflow.computation(weights_type, edge_models_type)
        def create_models(weights, edge_models):
            return tf.nest.map_structure(tf.subtract, weights.trainable, edge_models.offset)

        # An edge has the dense structure of the model, whatever the form of updates.
        aggregates_type = tff.to_type(
            edge_lib.EdgeAggregates(edge_models_type.offset, edge_models_type.weight)
        )

        @tff.tensorflow.computation(edge_models_type, aggregates_type)
        def take_step(edge_models, aggregates):
            return _take_step(edge_models, aggregates, hierarchy.edge_learning_rate)

        @tff.tensorflow.computation(edge_models_type)
        def combine(edge_models):
            return self._combine(edge_models)

        output_type = finalizer.next.type_signature.result
        finished_type = tff.to_type(
            Finished(
                output_type.result.member,
                edge_models_type,
                output_type.state.member,
                output_type.measurements.member,
            )
        )

        @tff.tensorflow.computation(weights_type, output_type.state.member, finished_type)
        def sync_if_due(weights, finalizer_state, synced):
            is_due = synced.edge_models.num_rounds >= hierarchy.sync_period
            unsynced = Finished(
                weights,
                synced.edge_models,
                finalizer_state,
                tf.nest.map_structure(tf.zeros_like, synced.measurements),
            )
            started = _create_edge_models(weights.trainable, hierarchy.num_edges)
            return tf.nest.map_structure(
                lambda yes, no: tf.where(is_due, yes, no),
                synced._replace(edge_models=started),
                unsynced,
            )

        self._start, self._create_models, self._take_step = start, create_models, take_step
        self._combine_fn, self._sync_if_due = combine, sync_if_due
        self.broadcast_type = create_models.type_signature.result

    def start(self, weights: tff.Value) -> tff.Value:
        """All edges at the global model."""
        return tff.federated_map(self._start, weights)

    def create_broadcast(self, state: tff.Value) -> tff.Value:
        """All edges' models; a device would download its own."""
        return tff.federated_map(
            self._create_models, (state.global_model_weights, state.distributor)
        )

    def pick_model(self, broadcast: Any, client: Any) -> two_tower.TwoTowerWeights:
        """The model of the client's edge."""
        edge = self._edge_fn(client)
        return tf.nest.map_structure(lambda t: tf.gather(t, edge), broadcast)

    def finish(self, state: tff.Value, aggregate: tff.Value) -> Finished:
        """Takes the edges' steps and, if it is time, the server's."""
        weights = state.global_model_weights
        edge_models = tff.federated_map(self._take_step, (state.distributor, aggregate))
        combined = tff.federated_map(self._combine_fn, edge_models)
        output = self._finalizer.next(state.finalizer, weights, combined)
        synced = Finished(output.result, edge_models, output.state, output.measurements)
        return Finished(
            *tff.federated_map(
                self._sync_if_due, (weights, state.finalizer, tff.federated_zip(synced))
            )
        )

    def get_model(self, weights: ModelWeights, edge_models: EdgeModels) -> ModelWeights:
        """What edges have together: the global model right after a sync."""

        def move(weight: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
            return weight - tf.where(tf.math.is_finite(moved), moved, tf.zeros_like(moved))

        moved = self._combine(edge_models)
        return ModelWeights(tf.nest.map_structure(move, weights.trainable, moved), non_trainable=())

    def restart(self, weights: ModelWeights, edge_models: EdgeModels) -> EdgeModels:
        """All edges at the new model; when they sync next stays as it was."""
        started = _create_edge_models(weights.trainable, self._hierarchy.num_edges)
        return started._replace(num_rounds=edge_models.num_rounds)

    def _combine(self, edge_models: EdgeModels) -> Any:
        return rules.combine(self._rule_fn, edge_models.offset, edge_models.weight)


def create_server_part(
    edges: Edges | None,
    weights_type: tff.Type,
    finalizer: tff.learning.templates.FinalizerProcess,
) -> Flat:
    """Creates the server's part of a round.

    Args:
      edges: Edges between clients and server; None for nothing.
      weights_type: Type of the model's `ModelWeights`.
      finalizer: Process that takes the server's step.

    Returns:
      The part.
    """
    if edges is None:
        return Flat(weights_type, finalizer)
    build = EveryRound if edges.hierarchy.sync_period == 1 else EveryPeriod
    return build(edges, weights_type, finalizer)


def _create_edge_models(weights: two_tower.TwoTowerWeights, num_edges: int) -> EdgeModels:
    """All edges at the global model."""
    offset = tf.nest.map_structure(lambda w: tf.zeros([num_edges, *w.shape], w.dtype), weights)
    return EdgeModels(offset, tf.zeros([num_edges]), tf.constant(0))


def _take_step(
    edge_models: EdgeModels, aggregates: edge_lib.EdgeAggregates, learning_rate: float
) -> EdgeModels:
    """What edges have after one more round; one whose aggregate is not finite stays where it is."""
    is_good = tf.math.is_finite(aggregates.weight) & (aggregates.weight > 0.0)
    for leaf in tf.nest.flatten(aggregates.value):
        is_good &= tf.reduce_all(tf.math.is_finite(tf.reshape(leaf, [tf.shape(leaf)[0], -1])), 1)

    def step(offset: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        mask = tf.reshape(is_good, [-1, *[1] * (value.shape.rank - 1)])
        return offset + learning_rate * tf.where(mask, value, tf.zeros_like(value))

    return EdgeModels(
        tf.nest.map_structure(step, edge_models.offset, aggregates.value),
        edge_models.weight + tf.where(is_good, aggregates.weight, 0.0),
        edge_models.num_rounds + 1,
    )
