"""Steps before an aggregation: what each client does to its update, and what undoes it.

A transform is a function of one client's update alone, and of the aggregate alone on the server.
So it may stand before any aggregator that clips and adds noise: whatever it does to updates, the
clip comes after it, and what it does to the aggregate is post-processing.
"""

# Tested in tests/aggregators/test_building.py and tests/aggregators/test_compressed_rounds.py.

import abc
import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import wrapping

UPLOAD_BITS = "upload_bits"
CODED_UPLOAD_BITS = "coded_upload_bits"
INNER = "inner"


class MessageSize(NamedTuple):
    """How long one client's message is on the wire.

    Attributes:
      bits: int64 scalar, every number at its fixed width, padding rows left out.
      coded_bits: int64 scalar, entropy-coded.
    """

    bits: tf.Tensor
    coded_bits: tf.Tensor


class Encoded(NamedTuple):
    """What a client hands on.

    Attributes:
      value: Value that the next step, or the aggregator, gets: for a codec, what the server would
        decode.
      size: Size of the message on the wire; None for a step that does not change that.
    """

    value: Any
    size: MessageSize | None = None


class ClientTransform(abc.ABC):
    """One step; a subclass overrides `encode`, and `decode` if the aggregate must be undone.

    Everything here is traced into a TFF computation, so that it is made of TensorFlow operations.
    `key`, int32 [2], is new in each round, the same for all clients, and public: rotations and hash
    functions are drawn from it, as integers by stateless operations (XLA makes other floats than
    the server would). A client's own randomness comes from stateful operations without a seed,
    outside of loops and branches: the compiled context feeds these from the operating system's
    entropy.
    """

    @abc.abstractmethod
    def encode(self, value: Any, key: tf.Tensor) -> Encoded:
        """What one client does.

        Args:
          value: The client's update, a structure of float32 tensors or a `row_sparse.RowSparse` of
            it.
          key: int32 [2], see above.

        Returns:
          The value that the client hands on.
        """

    def create_initial_state(self, value_specs: Any) -> Any:
        """The server's state: a structure of tensors; by default none.

        Args:
          value_specs: `tf.TensorSpec`s of one client's update.
        """
        del value_specs
        return ()

    def decode(
        self, state: Any, aggregate: Any, key: tf.Tensor, value_specs: Any
    ) -> tuple[Any, Any]:
        """What the server does with the aggregate; by default nothing.

        Args:
          state: State of the step, as from `create_initial_state`.
          aggregate: Aggregate of what clients handed on. Not a number in an empty cohort, where
            means are: the state must survive that.
          key: int32 [2], the one that clients had.
          value_specs: `tf.TensorSpec`s of one client's update, before `encode`.

        Returns:
          The new state, and the aggregate in the (dense) form of updates.
        """
        del key, value_specs
        return state, aggregate


def find_message_size(measurements: Any) -> dict[str, int]:
    """How long the messages of a cohort were, by the step that is nearest to the server.

    Args:
      measurements: Measurements of an aggregator.

    Returns:
      `UPLOAD_BITS` and `CODED_UPLOAD_BITS`; nothing where no step says.
    """
    size: dict[str, int] = {}
    while isinstance(measurements, Mapping):
        if UPLOAD_BITS in measurements:
            size = {name: int(measurements[name]) for name in (UPLOAD_BITS, CODED_UPLOAD_BITS)}
        measurements = measurements.get(INNER)
    return size


def apply(
    transform: ClientTransform,
    inner: wrapping.AggregationFactory,
    seed: int = 0,
    measures_size: bool = True,
) -> wrapping.AggregationFactory:
    """Puts a step before an aggregator.

    Args:
      transform: The step.
      inner: Aggregator of what clients hand on; weighted or not, and so is the result.
      seed: Seed of the keys.
      measures_size: Whether the server may sum how long messages are; the sums are exact, and a
        message's length may say much about what is in it.

    Returns:
      A factory whose state is `(round, transform's, inner's)` and whose measurements are those of
      the inner one under `INNER`, beside the cohort's `UPLOAD_BITS` and `CODED_UPLOAD_BITS` (int64)
      where the step says how long its messages are.
    """
    return wrapping.put_before(
        lambda value_type: _Step(transform, value_type, seed, measures_size), inner
    )


class _Step(wrapping.Step):
    """The computations of one transform for one type of update."""

    def __init__(
        self, transform: ClientTransform, value_type: tff.Type, seed: int, measures_size: bool
    ) -> None:
        specs = tff.types.type_to_tf_tensor_specs(value_type)

        def create_key(round_number):
            return tf.stack([tf.constant(seed, tf.int32), round_number])

        @tff.tensorflow.computation
        def initialize():
            return tf.constant(0), transform.create_initial_state(specs)

        self.state_type = initialize.type_signature.result

        @tff.tensorflow.computation(self.state_type)
        def key_of(state):
            return create_key(state[0])

        @tff.tensorflow.computation(value_type, key_of.type_signature.result)
        def encode(value, key):
            encoded = transform.encode(value, key)
            has_size = measures_size and encoded.size is not None
            return encoded._replace(size=encoded.size if has_size else ())

        def build_decode(aggregate_type):
            @tff.tensorflow.computation(self.state_type, aggregate_type)
            def decode(state, aggregate):
                round_number, own = state
                own, result = transform.decode(own, aggregate, create_key(round_number), specs)
                return (round_number + 1, own), result

            return decode

        self.initialize, self._key_of, self._encode = initialize, key_of, encode
        self._build_decode = build_decode
        self.message_type = encode.type_signature.result.value
        self._measures_size = bool(len(encode.type_signature.result.size))

    def send(self, state: tff.Value, value: tff.Value) -> tff.Value:
        """What clients hand on."""
        key = tff.federated_broadcast(tff.federated_map(self._key_of, state[0]))
        return tff.federated_map(self._encode, (value, key))

    def finish(
        self, state: tff.Value, sent: tff.Value, output: tff.Value
    ) -> tff.templates.MeasuredProcessOutput:
        """The server's part, with what the inner aggregator gave."""
        decode = self._build_decode(output.result.type_signature.member)
        own, result = tff.federated_map(decode, (state[0], output.result))
        measurements = collections.OrderedDict()
        if self._measures_size:
            measurements[UPLOAD_BITS] = tff.federated_sum(sent.size.bits)
            measurements[CODED_UPLOAD_BITS] = tff.federated_sum(sent.size.coded_bits)
        measurements[INNER] = output.measurements
        return tff.templates.MeasuredProcessOutput(
            tff.federated_zip((own, output.state)), result, tff.federated_zip(measurements)
        )
