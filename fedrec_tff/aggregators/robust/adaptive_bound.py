"""Steps whose bound on norms follows a quantile of the clients' norms.

Andrew et al. 2021, "Differentially private learning with adaptive clipping" (arXiv 1905.03871),
section 2: geometric updates, here of exact counts, without noise. Unlike TFF's own
(`tff.aggregators.PrivateQuantileEstimationProcess` without noise), the estimate survives empty
cohorts and updates that are not finite.
"""

# Tested in tests/aggregators/test_robust_norms.py.

import abc
import collections
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import row_sparse, transforms, wrapping
from fedrec_tff.aggregators.robust import norms

# However long all updates are zero, the estimate finds back.
_MIN_ESTIMATE, _MAX_ESTIMATE = 1e-12, 1e12


@dataclasses.dataclass(frozen=True)
class QuantileEstimate:
    """How the estimate of a quantile of norms goes on.

    Attributes:
      initial: The first estimate.
      quantile: The share of clients whose norm is not to be above it.
      learning_rate: The estimate moves by at most a factor `exp(learning_rate)` in a round.
    """

    initial: float
    quantile: float
    learning_rate: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.quantile <= 1.0:
            raise errors.UserError(
                f"--aggregator_param quantile={self.quantile}: must be between 0 and 1"
            )
        if not 0.0 < self.learning_rate < math.inf:
            raise errors.UserError(
                f"--aggregator_param learning_rate={self.learning_rate}: must be positive"
            )
        if not _MIN_ESTIMATE <= self.initial <= _MAX_ESTIMATE:
            raise errors.UserError(
                f"--aggregator_param initial_norm={self.initial}: must be between "
                f"{_MIN_ESTIMATE:g} and {_MAX_ESTIMATE:g}"
            )

    def update(
        self, estimate: tf.Tensor, num_below: tf.Tensor, num_clients: tf.Tensor
    ) -> tf.Tensor:
        """The next estimate; the same if there were no clients.

        Args:
          estimate: float32 scalar, the present estimate.
          num_below: int32 scalar, clients whose norm was not above it.
          num_clients: int32 scalar, clients whose norm was finite.
        """
        share = tf.cast(num_below, tf.float32) / tf.cast(tf.maximum(num_clients, 1), tf.float32)
        moved = estimate * tf.exp(-self.learning_rate * (share - self.quantile))
        moved = tf.clip_by_value(moved, _MIN_ESTIMATE, _MAX_ESTIMATE)
        return tf.where(num_clients > 0, moved, estimate)


class NormStep(abc.ABC):
    """What a client does with an update, given the estimate.

    Attributes:
      norm_name: Name of the bound among the measurements.
      count_name: Name of the number of clients above the bound, among the measurements.
    """

    norm_name: str
    count_name: str

    @abc.abstractmethod
    def create_bound(self, estimate: tf.Tensor) -> tf.Tensor:
        """The norm above which something is done."""

    @abc.abstractmethod
    def apply(self, value: Any, norm: tf.Tensor, bound: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """What a client hands on, and a factor of its weight, 0 or 1."""


def apply(
    step: NormStep,
    estimate: QuantileEstimate,
    inner: wrapping.AggregationFactory,
    num_rows: int,
) -> wrapping.AggregationFactory:
    """Puts a step with a bound that follows the clients' norms before an aggregator.

    Args:
      step: The step.
      estimate: Estimate of the quantile, which says how the bound moves.
      inner: Aggregator of what clients hand on; weighted or not, and so is the result.
      num_rows: Rows of the table, for row-sparse updates.

    Returns:
      A factory whose state is `(estimate, inner's)`, and whose measurements are the round's bound
      and the number of clients that were not within it, beside those of the inner one under
      `transforms.INNER`.
    """
    return wrapping.put_before(
        lambda value_type: _BoundStep(step, estimate, value_type, num_rows), inner
    )


class _Sent(NamedTuple):
    """What one client hands on: its value, a factor of its weight, and what is counted."""

    value: Any
    factor: Any
    counts: Any


class _Counts(NamedTuple):
    """int32: updates that are finite, those not above the estimate, those not within the bound."""

    num_finite: Any
    num_below: Any
    num_outside: Any


class _BoundStep(wrapping.Step):
    """The computations of one step for one type of update."""

    def __init__(
        self, step: NormStep, estimate: QuantileEstimate, value_type: tff.Type, num_rows: int
    ) -> None:
        @tff.tensorflow.computation
        def initialize():
            return tf.constant(estimate.initial, tf.float32)

        @tff.tensorflow.computation(value_type, np.float32)
        def bound_update(value, current):
            value = row_sparse.keep_distinct(value, num_rows)
            norm, bound = norms.create_norm(value), step.create_bound(current)
            bounded, factor = step.apply(value, norm, bound)
            conditions = tf.math.is_finite(norm), norm <= current, tf.logical_not(norm <= bound)
            return _Sent(bounded, factor, _Counts(*[tf.cast(c, tf.int32) for c in conditions]))

        counts_type = bound_update.type_signature.result.counts

        @tff.tensorflow.computation(np.float32, counts_type)
        def update_estimate(current, counts):
            return estimate.update(current, counts.num_below, counts.num_finite)

        @tff.tensorflow.computation(np.float32, counts_type)
        def measure(current, counts):
            return collections.OrderedDict(
                {step.norm_name: step.create_bound(current), step.count_name: counts.num_outside}
            )

        self.initialize, self._bound_update = initialize, bound_update
        self.message_type = value_type
        self._update_estimate, self._measure = update_estimate, measure
        self._measurement_names = step.norm_name, step.count_name

    def send(self, state: tff.Value, value: tff.Value) -> tff.Value:
        """What clients hand on: `_Sent`."""
        return tff.federated_map(self._bound_update, (value, tff.federated_broadcast(state[0])))

    def weigh(self, sent: tff.Value, weight: tff.Value) -> tff.Value:
        """Zero for a client that is left out."""

        @tff.tensorflow.computation(weight.type_signature.member, np.float32)
        def weigh_fn(weight, factor):
            return weight * tf.cast(factor, weight.dtype)

        return tff.federated_map(weigh_fn, (weight, sent.factor))

    def finish(
        self, state: tff.Value, sent: tff.Value, output: tff.Value
    ) -> tff.templates.MeasuredProcessOutput:
        """The server's part, with what the inner aggregator gave."""
        counts = tff.federated_sum(sent.counts)
        own = tff.federated_map(self._update_estimate, (state[0], counts))
        measured = tff.federated_map(self._measure, (state[0], counts))
        measurements = collections.OrderedDict(
            (name, measured[name]) for name in self._measurement_names
        )
        measurements[transforms.INNER] = output.measurements
        return tff.templates.MeasuredProcessOutput(
            tff.federated_zip((own, output.state)),
            output.result,
            tff.federated_zip(measurements),
        )
