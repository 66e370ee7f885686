"""signSGD with majority vote (Bernstein et al. 2018, arXiv 1802.04434): one bit for each weight."""

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry


class MajorityVoteFactory(tff.aggregators.UnweightedAggregationFactory):
    """Each weight moves by one step, to where most clients want it."""

    def __init__(self, step: float) -> None:
        self._step = step

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process for updates of a type."""
        votes = tff.aggregators.SumFactory().create(value_type)
        clients_type = tff.FederatedType(value_type, tff.CLIENTS)

        @tff.tensorflow.computation(value_type)
        def take_sign(value):
            return tf.nest.map_structure(lambda t: self._step * tf.sign(t), value)

        @tff.federated_computation(votes.initialize.type_signature.result, clients_type)
        def next_fn(state, updates):
            total = votes.next(state, tff.federated_map(take_sign, updates))
            decision = tff.federated_map(take_sign, total.result)
            return tff.templates.MeasuredProcessOutput(total.state, decision, total.measurements)

        return tff.templates.AggregationProcess(votes.initialize, next_fn)


def build_vote(_: registry.AggregatorContext, *, step: float = 0.01) -> MajorityVoteFactory:
    """Moves each weight by `step` to where most clients want it; how much they want it is lost.

    Made for --server_optimizer=sgd; adaptive ones scale any step away.

    Args:
      step: Distance that a weight moves in a round, before the server's learning rate.
    """
    return MajorityVoteFactory(step)
