"""Distributed differential privacy: shares of integer noise on devices, under a secure sum.

The server learns the noisy sum and nothing else, if the execution context's secure sum hides the
clients' integers (in the clear, the default of a simulation, it does not). `privacy.distributed`
has the mathematics and what it costs.

`tff.learning.ddp_secure_aggregator` does the same in eight nested factories, draws its noise with
seeds from the clock, and is not accounted. This is one.
"""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import registry
from fedrec_tff.privacy import distributed, distributed_queries
from fedrec_tff.privacy.mechanisms import shared
from fedrec_tff.privacy.mechanisms.base import MechanismKind


class DistributedDPFactory(tff.aggregators.UnweightedAggregationFactory):
    """The mean of clipped updates, with noise that the clients added.

    The cohort must be exactly the one that the noise was planned for. In a smaller one there would
    be less noise than was accounted: then the round fails, and nothing is released.
    """

    def __init__(self, noise: distributed.DistributedNoise) -> None:
        """Initialises the factory.

        Args:
          noise: The grid and the noise.
        """
        self._noise = noise

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: A structure of float32 tensors of known shapes, `noise.num_weights` numbers
            in all.

        Returns:
          A stateless process.

        Raises:
          TypeError: If the type is any other.
        """
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        flat_specs = tf.nest.flatten(specs)
        _check_specs(flat_specs, self._noise.num_weights)
        sizes = [spec.shape.num_elements() for spec in flat_specs]
        noise, query = self._noise, distributed_queries.DistributedNoiseSumQuery(self._noise)

        @tff.tensorflow.computation(value_type)
        def encode(value):
            parts = [tf.reshape(tensor, [-1]) for tensor in tf.nest.flatten(value)]
            return query.preprocess_record((), tf.concat(parts, axis=0))

        @tff.tensorflow.computation(encode.type_signature.result, np.int32)
        def decode(total, num_clients):
            with tf.control_dependencies(_check_cohort(num_clients, noise)):
                total = tf.identity(total)
            vector, _, _ = query.get_noised_result(total, ())
            parts = tf.split(vector / noise.num_clients, sizes)
            tensors = [tf.reshape(p, spec.shape) for p, spec in zip(parts, flat_specs, strict=True)]
            return tf.nest.pack_sequence_as(specs, tensors)

        @tff.federated_computation
        def init_fn():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, values):
            total = tff.backends.mapreduce.federated_secure_modular_sum(
                tff.federated_map(encode, values), noise.modulus
            )
            num_clients = tff.federated_sum(tff.federated_value(1, tff.CLIENTS))
            mean = tff.federated_map(decode, (total, num_clients))
            measurements = tff.federated_value((), tff.SERVER)
            return tff.templates.MeasuredProcessOutput(state, mean, measurements)

        return tff.templates.AggregationProcess(init_fn, next_fn)


def build_ddp_discrete_gaussian(context: registry.AggregatorContext) -> DistributedDPFactory:
    """Shares of discrete Gaussian noise."""
    return _build(context, shared.DDP_DISCRETE_GAUSSIAN)


def build_ddp_skellam(context: registry.AggregatorContext) -> DistributedDPFactory:
    """Shares of Skellam noise."""
    return _build(context, shared.DDP_SKELLAM)


def _build(context: registry.AggregatorContext, kind: MechanismKind) -> DistributedDPFactory:
    if context.row_sparse:
        raise ValueError("noise is on every coordinate: row-sparse updates are not supported")
    if context.mechanism.kind != kind:
        raise ValueError(f"expected the mechanism {kind.name}, found {context.mechanism.name}")
    return DistributedDPFactory(distributed.create_distributed_noise(context.mechanism))


def _check_specs(specs: list[tf.TensorSpec], num_weights: int) -> None:
    for spec in specs:
        if spec.dtype != tf.float32 or not spec.shape.is_fully_defined():
            raise TypeError(f"expected float32 tensors of known shapes, found {spec}")
    found = sum(spec.shape.num_elements() for spec in specs)
    if found != num_weights:
        raise TypeError(f"noise was planned for {num_weights} weights, not for {found}")


def _check_cohort(
    num_clients: tf.Tensor, noise: distributed.DistributedNoise
) -> list[tf.Operation]:
    """What fails in a cohort of another size, unless there is no noise to be missed."""
    if noise.local_variance == 0.0:
        return []
    # The name is what the contexts' error says.
    name = "noise_was_planned_for_a_cohort_of_another_size"
    return [tf.debugging.assert_equal(num_clients, noise.num_clients, name=name)]
