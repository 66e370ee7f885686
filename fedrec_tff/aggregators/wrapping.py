"""Aggregators around an inner one: weighted where that is, and written once for both kinds."""

# Tested in tests/aggregators/test_building.py and tests/aggregators/test_robust_norms.py.

import abc
from collections.abc import Callable

import tensorflow_federated as tff

AggregationFactory = (
    tff.aggregators.UnweightedAggregationFactory | tff.aggregators.WeightedAggregationFactory
)
# From the type of an update, and that of a weight where there are weights.
CreateFn = Callable[..., tff.templates.AggregationProcess]


class Step(abc.ABC):
    """What is done around an inner aggregator, for one type of update.

    Everything is called inside of federated computations. The state of all is `(own, inner's)`.

    Attributes:
      initialize: Computation of the step's own first state.
      message_type: Type of what the inner aggregator gets of a client.
    """

    initialize: tff.Computation
    message_type: tff.Type

    @abc.abstractmethod
    def send(self, state: tff.Value, value: tff.Value) -> tff.Value:
        """What clients hand on: a structure with a `value`, and whatever the server needs else."""

    def weigh(self, sent: tff.Value, weight: tff.Value) -> tff.Value:
        """The clients' weights."""
        del sent
        return weight

    @abc.abstractmethod
    def finish(
        self, state: tff.Value, sent: tff.Value, output: tff.Value
    ) -> tff.templates.MeasuredProcessOutput:
        """The server's part, with what the inner aggregator gave."""


def wrap(inner: AggregationFactory, create_fn: CreateFn) -> AggregationFactory:
    """A factory of the inner one's kind.

    Args:
      inner: Aggregator, weighted or not.
      create_fn: Function that creates the process.

    Returns:
      A factory whose `create` is the function.
    """
    if isinstance(inner, tff.aggregators.WeightedAggregationFactory):
        return _WeightedFactory(create_fn)
    return _UnweightedFactory(create_fn)


def put_before(
    create_step: Callable[[tff.Type], Step], inner: AggregationFactory
) -> AggregationFactory:
    """Puts a step before an aggregator.

    Args:
      create_step: Function from the type of an update to the step.
      inner: Aggregator of what clients hand on; weighted or not, and so is the result.

    Returns:
      A factory whose state is `(step's, inner's)`.
    """

    def create(value_type: tff.Type, *weight_type: tff.Type) -> tff.templates.AggregationProcess:
        step = create_step(value_type)
        process = inner.create(step.message_type, *weight_type)

        @tff.federated_computation
        def init_fn():
            own = tff.federated_eval(step.initialize, tff.SERVER)
            return tff.federated_zip((own, process.initialize()))

        state_type = init_fn.type_signature.result
        client_types = [tff.FederatedType(t, tff.CLIENTS) for t in (value_type, *weight_type)]
        build_next = _build_weighted_next if weight_type else _build_next
        return tff.templates.AggregationProcess(
            init_fn, build_next(step, process, state_type, *client_types)
        )

    return wrap(inner, create)


def _build_next(
    step: Step,
    inner: tff.templates.AggregationProcess,
    state_type: tff.Type,
    values_type: tff.Type,
) -> tff.Computation:
    @tff.federated_computation(state_type, values_type)
    def next_fn(state, value):
        sent = step.send(state, value)
        return step.finish(state, sent, inner.next(state[1], sent.value))

    return next_fn


def _build_weighted_next(
    step: Step,
    inner: tff.templates.AggregationProcess,
    state_type: tff.Type,
    values_type: tff.Type,
    weights_type: tff.Type,
) -> tff.Computation:
    @tff.federated_computation(state_type, values_type, weights_type)
    def next_fn(state, value, weight):
        sent = step.send(state, value)
        weight = step.weigh(sent, weight)
        return step.finish(state, sent, inner.next(state[1], sent.value, weight))

    return next_fn


class _UnweightedFactory(tff.aggregators.UnweightedAggregationFactory):
    """See `wrap`."""

    def __init__(self, create_fn: CreateFn) -> None:
        self._create_fn = create_fn

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Creates the process; see `wrap`."""
        return self._create_fn(value_type)


class _WeightedFactory(tff.aggregators.WeightedAggregationFactory):
    """See `wrap`."""

    def __init__(self, create_fn: CreateFn) -> None:
        self._create_fn = create_fn

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Creates the process; see `wrap`."""
        return self._create_fn(value_type, weight_type)
