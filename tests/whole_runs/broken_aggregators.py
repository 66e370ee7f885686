"""Aggregators with a mistake each, as somebody's plug-in file."""

import collections

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import building, row_sparse

_GRAPHS = []


class _Factory(tff.aggregators.UnweightedAggregationFactory):
    """The mean, with what a mistake makes of updates, of the state, and of the mean."""

    def __init__(self, mean=None, initial=None, send=None, next_state=None, receive=None):
        self._mean = mean or tff.aggregators.UnweightedMeanFactory()
        self._initial = initial or (lambda: tf.constant(1.0))
        self._send = send
        self._next_state = next_state or (lambda state, count: state)
        self._receive = receive

    def create(self, value_type):
        initial = tff.tensorflow.computation(self._initial)
        state_type = initial.type_signature.result
        next_state = tff.tensorflow.computation(self._next_state, [state_type, tf.float32])
        send = self._send and tff.tensorflow.computation(self._send, value_type)
        mean = self._mean.create(value_type)
        result_type = mean.next.type_signature.result.result.member
        receive = self._receive and tff.tensorflow.computation(
            self._receive, [result_type, tf.float32]
        )

        @tff.federated_computation
        def init_fn():
            return tff.federated_eval(initial, tff.SERVER)

        @tff.federated_computation(
            init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            count = tff.federated_sum(tff.federated_value(1.0, tff.CLIENTS))
            if send is not None:
                value = tff.federated_map(send, value)
            output = mean.next(mean.initialize(), value)
            result = output.result
            if receive is not None:
                result = tff.federated_map(receive, (result, count))
            state = tff.federated_map(next_state, (state, count))
            return tff.templates.MeasuredProcessOutput(state, result, output.measurements)

        return tff.templates.AggregationProcess(init_fn, next_fn)


def _map(function, value):
    return tf.nest.map_structure(function, value)


class _VectorMeasured(tff.aggregators.UnweightedAggregationFactory):
    def create(self, value_type):
        mean = tff.aggregators.UnweightedMeanFactory().create(value_type)
        measure = tff.tensorflow.computation(lambda: tf.zeros([3]))

        @tff.federated_computation(
            mean.initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            output = mean.next(state, value)
            measured = tff.federated_eval(measure, tff.SERVER)
            measurements = tff.federated_zip(collections.OrderedDict(spectrum=measured))
            return tff.templates.MeasuredProcessOutput(output.state, output.result, measurements)

        return tff.templates.AggregationProcess(mean.initialize, next_fn)


def build_vector_measured(context):
    return _VectorMeasured()


def build_weights_in_the_clear(context):
    """TFF's weighted mean, whose values alone are summed securely."""
    return tff.aggregators.MeanFactory(tff.aggregators.SecureSumFactory(1.0, -1.0))


def build_raising(context):
    raise KeyError("a mistake")


def build_nothing(context):
    del context


def build_scalar_result(context):
    return _Factory(receive=lambda mean, count: count)


def build_state_spoiled_by_nobody(context):
    return _Factory(
        initial=lambda: collections.OrderedDict(round=0, norm=1.0),
        next_state=lambda state, count: collections.OrderedDict(
            round=state["round"] + 1, norm=state["norm"] * count / count
        ),
    )


def build_state_of_another_type(context):
    return _Factory(next_state=lambda state, count: tf.fill([3], count))


def build_growing_state(context):
    return _Factory(
        initial=lambda: tf.zeros([tf.cast(tf.random.uniform([]), tf.int32)]),
        next_state=lambda state, count: tf.concat([state, [count]], axis=0),
    )


def build_two_passes(context):
    class TwoPasses(tff.aggregators.UnweightedAggregationFactory):
        def create(self, value_type):
            mean = tff.aggregators.UnweightedMeanFactory().create(value_type)
            subtract = tff.tensorflow.computation(
                lambda first, second: tf.nest.map_structure(tf.subtract, first, second),
                [value_type, value_type],
            )

            @tff.federated_computation(
                mean.initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
            )
            def next_fn(state, value):
                centre = tff.federated_broadcast(mean.next(state, value).result)
                return mean.next(state, tff.federated_map(subtract, (value, centre)))

            return tff.templates.AggregationProcess(mean.initialize, next_fn)

    return TwoPasses()


def build_infinite_if_alone(context):
    return _Factory(receive=lambda mean, count: _map(lambda t: t / (count - 1.0), mean))


def build_with_variable(context):
    def send(value):
        factor = tf.Variable(2.0)
        return _map(lambda t: factor * t, value)

    return _Factory(send=send)


def build_python_code(context):
    def send(value):
        # As long as this graph lives, which is up to the garbage collector, Python is found.
        _GRAPHS.append(tf.compat.v1.get_default_graph())
        return _map(
            lambda t: tf.ensure_shape(tf.numpy_function(lambda a: a, [t], t.dtype), t.shape), value
        )

    return _Factory(send=send)


def build_random(context):
    return _Factory(send=lambda value: _map(lambda t: t + tf.random.normal(t.shape), value))


def build_last_client_wins(context):
    class LastWins(tff.aggregators.UnweightedAggregationFactory):
        def create(self, value_type):
            specs = tff.types.type_to_tf_tensor_specs(value_type)
            zero = tff.tensorflow.computation(lambda: _map(lambda s: tf.zeros(s.shape), specs))
            second = tff.tensorflow.computation(
                lambda _, value: _map(tf.identity, value), [value_type, value_type]
            )
            same = tff.tensorflow.computation(lambda value: value, value_type)

            @tff.federated_computation
            def init_fn():
                return tff.federated_value((), tff.SERVER)

            @tff.federated_computation(
                init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
            )
            def next_fn(state, value):
                last = tff.federated_aggregate(value, zero(), second, second, same)
                return tff.templates.MeasuredProcessOutput(state, last, state)

            return tff.templates.AggregationProcess(init_fn, next_fn)

    return LastWins()


@building.supports_row_sparse
def build_only_says_row_sparse(context):
    return _Factory()


@building.supports_row_sparse
def build_row_sparse_is_twice_as_long(context):
    if not context.row_sparse:
        return _Factory()
    return _Factory(
        mean=row_sparse.RowSparseMeanFactory(context.num_items),
        receive=lambda mean, count: _map(lambda t: 2.0 * t, mean),
    )
