"""Momentum (Polyak 1964): a wrapping step, whose state is the running sum of aggregates."""

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import registry


class MomentumFactory(tff.aggregators.UnweightedAggregationFactory):
    """What another aggregator gives, and a part of what it gave in all rounds before."""

    def __init__(self, inner: tff.aggregators.UnweightedAggregationFactory, decay: float) -> None:
        self._inner, self._decay = inner, decay

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process for updates of a type."""
        inner = self._inner.create(value_type)
        result_type = inner.next.type_signature.result.result.member
        specs = tff.types.type_to_tf_tensor_specs(result_type)

        @tff.tensorflow.computation
        def create_zeros():
            return tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs)

        @tff.tensorflow.computation(result_type, result_type)
        def add(total, new):
            is_good = tf.reduce_all(
                [tf.reduce_all(tf.math.is_finite(t)) for t in tf.nest.flatten(new)]
            )
            return tf.nest.map_structure(
                # Where nobody took part, the mean is no number: such a round changes nothing.
                lambda t, n: tf.where(is_good, self._decay * t + n, t),
                total,
                new,
            )

        @tff.federated_computation
        def init_fn():
            zeros = tff.federated_eval(create_zeros, tff.SERVER)
            return tff.federated_zip((inner.initialize(), zeros))

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, updates):
            inner_state, total = state
            output = inner.next(inner_state, updates)
            total = tff.federated_map(add, (total, output.result))
            state = tff.federated_zip((output.state, total))
            return tff.templates.MeasuredProcessOutput(state, total, output.measurements)

        return tff.templates.AggregationProcess(init_fn, next_fn)


def build_momentum(
    _: registry.AggregatorContext,
    inner: tff.aggregators.UnweightedAggregationFactory,
    *,
    decay: float = 0.9,
) -> MomentumFactory:
    """Adds a part of all earlier aggregates to each new one.

    Args:
      inner: Aggregator that is wrapped; it weighs no client.
      decay: The part, at least 0 and below 1.
    """
    if not isinstance(inner, tff.aggregators.UnweightedAggregationFactory):
        raise errors.UserError("momentum wraps unweighted aggregators, such as mean")
    if not 0.0 <= decay < 1.0:
        raise errors.UserError(f"decay={decay}: must be at least 0 and below 1")
    return MomentumFactory(inner, decay)
