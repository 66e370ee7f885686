"""Means of which the server sees sums only: aggregators whose clients meet in a secure sum.

What hides clients from the server is the execution context's secure sum; in the clear, the default
of a simulation, nothing does. A sum is no differential privacy: whoever sees it learns whatever the
sum gives away, and of a cohort of few clients that is much.

Updates are dense. Row-sparse ones would send their row ids beside the sum, and these are the items
that a user took.
"""

# Tested in tests/aggregators/test_secure_mean.py.

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import registry
from fedrec_tff.aggregators.robust import norms
from fedrec_tff.privacy import queries

_MIN_BITS, _MAX_BITS = 2, 32


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """How weights become integers.

    Attributes:
      clip_norm: The L2 norm that an update is clipped to, and so the largest weight.
      bits: Bits of an integer.
      stochastic: Whether to round up or down at random, without bias, or else to the nearest.
    """

    clip_norm: float
    bits: int
    stochastic: bool = False

    @property
    def num_steps(self) -> int:
        """Steps from zero to the largest weight: zero is an integer, so that zeros stay zeros."""
        return 2 ** (self.bits - 1) - 1

    @property
    def max_input(self) -> int:
        """The largest integer that a client sends; half of it stands for zero."""
        return 2 * self.num_steps

    @property
    def step(self) -> float:
        """The weight of an integer of one."""
        return self.clip_norm / self.num_steps


class _Encoded(NamedTuple):
    """What a client adds to the secure sums.

    Attributes:
      integers: int64 [num_weights].
      counts: int32 [2]: 1 if its update is finite, 1 if it was clipped.
    """

    integers: Any
    counts: Any


class SecureMeanFactory(tff.aggregators.UnweightedAggregationFactory):
    """The mean of clipped updates, of fixed-point integers that were summed securely.

    A client whose update is not finite adds nothing and is not counted: also that is summed
    securely. The mean of no clients is not a number, as in TFF's own means; there is no state.
    """

    def __init__(self, grid: FixedPoint) -> None:
        """Initialises the factory.

        Args:
          grid: Grid of integers that updates are rounded to.
        """
        self._grid = grid

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: A structure of float32 tensors of known shapes.

        Returns:
          A stateless process. Its measurements are the int32 numbers of clients in the mean,
          `num_clients`, and of those that were clipped, `num_clipped`.

        Raises:
          TypeError: If the type is any other.
        """
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        flat_specs = tf.nest.flatten(specs)
        for spec in flat_specs:
            if spec.dtype != tf.float32 or not spec.shape.is_fully_defined():
                raise TypeError(f"expected float32 tensors of known shapes, found {spec}")
        sizes = [spec.shape.num_elements() for spec in flat_specs]
        grid = self._grid

        @tff.tensorflow.computation(value_type)
        def encode(value):
            return _encode(value, grid)

        @tff.tensorflow.computation(encode.type_signature.result)
        def decode(total):
            vector = _decode(total.integers, total.counts[0], grid)
            parts = tf.split(vector, sizes)
            tensors = [tf.reshape(p, spec.shape) for p, spec in zip(parts, flat_specs, strict=True)]
            return tf.nest.pack_sequence_as(specs, tensors)

        @tff.tensorflow.computation(encode.type_signature.result.counts)
        def measure(counts):
            return collections.OrderedDict(num_clients=counts[0], num_clipped=counts[1])

        @tff.federated_computation
        def init_fn():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, values):
            encoded = tff.federated_map(encode, values)
            bounds = _Encoded(grid.max_input, 1)
            total = tff.federated_secure_sum(encoded, bounds)
            return tff.templates.MeasuredProcessOutput(
                state, tff.federated_map(decode, total), tff.federated_map(measure, total.counts)
            )

        return tff.templates.AggregationProcess(init_fn, next_fn)


def build_secure_mean(
    context: registry.AggregatorContext,
    *,
    clip_norm: float | None = None,
    bits: int = 20,
    stochastic: bool = False,
) -> SecureMeanFactory:
    """Clips updates, rounds them to integers and sums these securely; every client counts the same.

    Args:
      context: The run's context.
      clip_norm: L2 norm that updates are clipped to; by default the run's `--clip_norm`.
      bits: Bits of a weight. Rounding moves it by half of `clip_norm / (2**(bits - 1) - 1)` at
        most.
      stochastic: Round up or down at random, without bias; up to a whole step then.

    Returns:
      The factory.
    """
    _check_dense(context, "secure_mean")
    bound = norms.choose_norm(context, "clip_norm", clip_norm)
    if not _MIN_BITS <= bits <= _MAX_BITS:
        raise errors.UserError(
            f"--aggregator_param bits={bits}: must be from {_MIN_BITS} to {_MAX_BITS}"
        )
    return SecureMeanFactory(FixedPoint(bound, bits, stochastic))


class GuardedFactory(tff.aggregators.WeightedAggregationFactory):
    """A factory of TFF's whose state survives cohorts that nothing can be learned from.

    TFF's adaptive bounds are quantiles that are estimated from round to round: one empty cohort
    divides by its size, and all that follows is not a number. Here a round without clients, or
    whose new state is not finite, leaves the state as it was. A client whose update or weight is
    not finite counts as zeros of no weight.
    """

    def __init__(self, inner: tff.aggregators.WeightedAggregationFactory) -> None:
        """Wraps a factory.

        Args:
          inner: Factory that is wrapped.
        """
        self._inner = inner

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process.

        Args:
          value_type: A structure of float tensors.
          weight_type: Type of a weight, a float scalar.

        Returns:
          A process with the inner one's state, result and measurements.
        """
        inner = self._inner.create(value_type, weight_type)
        state_type = inner.initialize.type_signature.result.member

        @tff.tensorflow.computation(value_type, weight_type)
        def clean(value, weight):
            keep = _is_finite((value, weight))
            return tf.nest.map_structure(
                lambda t: tf.where(keep, t, tf.zeros_like(t)), (value, weight)
            )

        @tff.tensorflow.computation(state_type, state_type, np.int32)
        def choose(old, new, num_clients):
            use_new = (num_clients > 0) & _is_finite(new)
            return tf.nest.map_structure(lambda o, n: tf.where(use_new, n, o), old, new)

        @tff.federated_computation(
            inner.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            cleaned = tff.federated_map(clean, (value, weight))
            output = inner.next(state, cleaned[0], cleaned[1])
            num_clients = tff.federated_sum(tff.federated_value(1, tff.CLIENTS))
            kept = tff.federated_map(choose, (state, output.state, num_clients))
            return tff.templates.MeasuredProcessOutput(kept, output.result, output.measurements)

        return tff.templates.AggregationProcess(inner.initialize, next_fn)


def build_tff_secure(
    context: registry.AggregatorContext, *, zeroing: bool = True, clipping: bool = True
) -> GuardedFactory:
    """TFF's own secure aggregator: a weighted mean under secure sums whose bounds it estimates.

    Args:
      context: The run's context.
      zeroing: Replace updates of extreme norm by zeros.
      clipping: Clip norms to a quantile, which is estimated from round to round.

    Returns:
      `tff.learning.secure_aggregator`, guarded against empty cohorts.
    """
    _check_dense(context, "tff_secure")
    return GuardedFactory(
        tff.learning.secure_aggregator(zeroing=zeroing, clipping=clipping, weighted=True)
    )


def _encode(value: Any, grid: FixedPoint) -> _Encoded:
    clipped, norm = queries.clip_to_norm(value, grid.clip_norm)
    is_finite = tf.math.is_finite(norm)
    vector = tf.concat([tf.reshape(t, [-1]) for t in tf.nest.flatten(clipped)], axis=0)
    scaled = tf.cast(vector, tf.float64) / grid.step
    if grid.stochastic:
        rounded = tf.floor(scaled + tf.cast(tf.random.uniform(tf.shape(vector)), tf.float64))
    else:
        rounded = tf.round(scaled)
    # Clipping in float32 may leave a weight that is the whole update a bit too large.
    bounded = tf.clip_by_value(rounded, -float(grid.num_steps), float(grid.num_steps))
    integers = tf.cast(bounded, tf.int64) + grid.num_steps
    was_clipped = is_finite & (norm > tf.constant(grid.clip_norm, tf.float32))
    return _Encoded(
        tf.where(is_finite, integers, tf.zeros_like(integers)),
        tf.cast(tf.stack([is_finite, was_clipped]), tf.int32),
    )


def _decode(total: tf.Tensor, num_clients: tf.Tensor, grid: FixedPoint) -> tf.Tensor:
    """The mean of summed integers: float32 [num_weights]."""
    centred = total - grid.num_steps * tf.cast(num_clients, tf.int64)
    mean = tf.cast(centred, tf.float64) * grid.step / tf.cast(num_clients, tf.float64)
    return tf.cast(mean, tf.float32)


def _is_finite(structure: Any) -> tf.Tensor:
    floats = [t for t in tf.nest.flatten(structure) if t.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in floats])


def _check_dense(context: registry.AggregatorContext, name: str) -> None:
    if context.row_sparse:
        raise errors.UserError(
            f"--aggregator={name}: takes dense updates only; the row ids of sparse ones would tell "
            "what a user took"
        )
