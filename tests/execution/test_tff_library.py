"""TFF's own aggregators, analytics and learning algorithms in our contexts."""

import collections

import agreement
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import tensorflow_privacy as tfp

pytestmark = pytest.mark.slow

_VALUE = tff.to_type(
    collections.OrderedDict(w=tff.TensorType(np.float32, [4]), b=tff.TensorType(np.float32))
)
_WEIGHT = tff.to_type(np.float32)
_RTOL = 2e-6


def _create_values(num_clients=5):
    rng = np.random.default_rng(0)
    return [
        collections.OrderedDict(w=rng.normal(size=4).astype(np.float32), b=np.float32(rng.normal()))
        for _ in range(num_clients)
    ]


def _float32(*values):
    return np.array(values, np.float32)


_WEIGHTS = [np.float32(k) for k in (1, 2, 3, 4, 5)]


def _create_process(factory, value_type=_VALUE):
    if isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        return factory.create(value_type, _WEIGHT)
    return factory.create(value_type)


def _arguments(factory):
    if isinstance(factory, tff.aggregators.WeightedAggregationFactory):
        return _create_values(), _WEIGHTS
    return (_create_values(),)


def _run(process, arguments, num_rounds=2):
    """The outputs of some rounds; the state goes from one to the next."""
    state = process.initialize()
    outputs = []
    for _ in range(num_rounds):
        outputs.append(process.next(state, *arguments))
        state = outputs[-1].state
    return outputs


@pytest.fixture(scope="module")
def contexts():
    return agreement.create_contexts()


def _run_in_each(contexts, process, arguments, num_rounds=1):
    """The outputs of some rounds in each context, with its name."""
    for name, context in contexts.items():
        with context.install():
            outputs = _run(process, arguments, num_rounds)
        yield name, outputs


# Aggregators that draw nothing at random.

_FACTORIES = {
    "sum": tff.aggregators.SumFactory(),
    "robust": tff.learning.robust_aggregator(),
    "clipped sum of DP": tff.aggregators.DifferentiallyPrivateFactory(
        tfp.GaussianSumQuery(1.0, 0.0)
    ),
}


@pytest.mark.parametrize("name", _FACTORIES)
def test_aggregators(native, contexts, name):
    factory = _FACTORIES[name]
    process = _create_process(factory)

    def run(*arguments):
        return _run(process, arguments)

    agreement.assert_agrees(contexts, run, _arguments(factory), _RTOL)


def test_the_mean_is_numpys(contexts):
    process = _create_process(tff.aggregators.MeanFactory())
    expected = np.average([v["w"] for v in _create_values()], axis=0, weights=_WEIGHTS)
    for name, (output,) in _run_in_each(contexts, process, (_create_values(), _WEIGHTS)):
        np.testing.assert_allclose(
            output.result["w"], expected, rtol=_RTOL, atol=_RTOL, err_msg=name
        )


# Rotations: clients and server draw from the same seed, and the server turns back.


@pytest.mark.parametrize(
    "rotation",
    [
        tff.aggregators.HadamardTransformFactory,
        tff.aggregators.DiscreteFourierTransformFactory,
    ],
)
def test_a_rotation_is_undone(contexts, rotation):
    process = _create_process(rotation(tff.aggregators.SumFactory()))
    expected = np.sum([v["w"] for v in _create_values()], axis=0)
    for name, outputs in _run_in_each(contexts, process, (_create_values(),), num_rounds=2):
        for output in outputs:
            np.testing.assert_allclose(
                output.result["w"], expected, rtol=1e-4, atol=1e-5, err_msg=name
            )


_SEED = tff.TensorType(np.int64, [2])
_STATELESS = {
    "uniform": lambda seed: tf.random.stateless_uniform([100], seed),
    "normal": lambda seed: tf.random.stateless_normal([100], seed),
    "truncated_normal": lambda seed: tf.random.stateless_truncated_normal([100], seed),
    "uniform_int": lambda seed: tf.random.stateless_uniform([100], seed, 0, 1000, tf.int32),
}


@pytest.mark.parametrize("name", _STATELESS)
def test_a_seed_draws_the_same_for_clients_as_for_the_server(native, contexts, name):
    draw = tff.tensorflow.computation(_STATELESS[name], _SEED)

    @tff.federated_computation(
        tff.FederatedType(_SEED, tff.SERVER), tff.FederatedType(np.float32, tff.CLIENTS)
    )
    def draw_everywhere(seed, clients):
        at_clients = tff.federated_map(draw, tff.federated_broadcast(seed))
        least = tff.federated_min(at_clients)
        return tff.federated_map(draw, seed), least, tff.federated_sum(clients)

    arguments = (np.array([3, 9]), [1.0, 2.0])
    at_server, at_clients, _ = agreement.assert_agrees(contexts, draw_everywhere, arguments, 1e-5)
    np.testing.assert_allclose(at_server, at_clients, rtol=1e-5)


# Secure aggregators; TFF's own runtime runs them only with their sums in the clear.


def _flatten(output):
    return tff.structure.flatten(tff.structure.from_container(output, recursive=True))


def test_a_secure_sum_within_estimated_bounds(native, contexts):
    estimation = tff.aggregators.PrivateQuantileEstimationProcess.no_noise(1.0, 0.9, 1.0)
    factory = tff.aggregators.SecureSumFactory(estimation)
    process = _create_process(factory)
    arguments = _arguments(factory)
    # This loses the containers of Python.
    in_the_clear = agreement.sums_in_the_clear(process.next)
    first = in_the_clear(process.initialize(), *arguments)
    expected = _flatten([first, in_the_clear(first["state"], *arguments)])
    for name, context in contexts.items():
        with context.install():
            found = _flatten(_run(process, arguments))
        agreement.assert_same(found, expected, _RTOL, name)


def test_a_modular_sum_factory(contexts):
    value_type = tff.to_type(tff.TensorType(np.int32, [3]))
    process = tff.aggregators.SecureModularSumFactory(8, symmetric_range=True).create(value_type)
    values = [np.array([7, -7, k], np.int32) for k in (1, 2, -3)]
    # Numbers from -7 to 7, of which there are 15.
    expected = (np.sum(values, axis=0) + 7) % 15 - 7
    for name, (output,) in _run_in_each(contexts, process, (values,)):
        np.testing.assert_array_equal(output.result, expected, err_msg=name)


def test_the_secure_mean_is_the_mean_but_for_its_quantisation(contexts):
    process = _create_process(tff.learning.secure_aggregator(zeroing=False, clipping=False))
    # Weighted values between -50 and 50 in 32 bits, weights up to 2**20 - 1 in as many; a sum of
    # five is off by at most half a step each. Float32 adds its own errors to both.
    steps = 5 / 2 * np.array([100.0, 2**20]) / 2**32
    total = np.sum(_WEIGHTS)
    bound = (steps[0] + steps[1] * 2) / total + 1e-6
    expected = np.average([v["w"] for v in _create_values()], axis=0, weights=_WEIGHTS)
    for name, (output,) in _run_in_each(contexts, process, (_create_values(), _WEIGHTS)):
        assert np.max(np.abs(output.result["w"] - expected)) < bound, name


# Compression rounds stochastically.


def test_compression_rounds_every_client_by_itself_and_without_bias(native, contexts):
    size, num_clients, num_rounds = 20480, 4, 4
    value_type = tff.to_type(tff.TensorType(np.float32, [size]))
    factory = tff.learning.compression_aggregator(zeroing=False, clipping=False)
    process = _create_process(factory, value_type)
    value = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
    step = (value.max() - value.min()) / 255
    arguments = ([value] * num_clients, [np.float32(1)] * num_clients)

    def check(outputs):
        errors = np.stack([output.result for output in outputs]) - value
        assert np.max(np.abs(errors)) < step * 1.001
        # The variance of rounding x up with probability x - floor(x) is 1/6 on average over x.
        # Were the clients' roundings the same, it would not go down with their number. 80,000
        # errors: chance is off by a percent in the standard deviation once in 10,000 runs.
        expected = step * np.sqrt(1 / 6 / num_clients)
        assert abs(np.std(errors) / expected - 1) < 0.02
        assert abs(np.mean(errors)) < 5 * expected / np.sqrt(errors.size)
        between = [np.corrcoef(errors[i], errors[i + 1])[0, 1] for i in range(num_rounds - 1)]
        # Five standard deviations of the correlation of independent roundings.
        assert np.max(np.abs(between)) < 5 / np.sqrt(size)

    check(_run(process, arguments, num_rounds))
    for context in contexts.values():
        with context.install():
            check(_run(process, arguments, num_rounds))


def test_a_reservoir_holds_clients(contexts):
    process = _create_process(tff.aggregators.UnweightedReservoirSamplingFactory(3))
    known = {(*v["w"], v["b"]) for v in _create_values()}
    for name, (output,) in _run_in_each(contexts, process, (_create_values(),)):
        rows = zip(output.result["w"], output.result["b"], strict=True)
        sampled = {(*w, b) for w, b in rows}
        assert len(sampled) == 3, name
        assert sampled <= known, name


# Analytics.


def _to_datasets(clients):
    return [tf.data.Dataset.from_tensor_slices(client) for client in clients]


def test_a_hierarchical_histogram(native, contexts):
    process = tff.analytics.build_hierarchical_histogram_process(
        lower_bound=0.0,
        upper_bound=10.0,
        num_bins=4,
        clip_mechanism="distinct",
        max_records_per_user=10,
        dp_mechanism="no-noise",
        enable_secure_sum=False,
    )
    values = [_float32(1, 2, 9), _float32(3.5), _float32(7, 7.1, 0.1)]

    def run(clients):
        # The rest is the time.
        return process.next(process.initialize(), clients)[0].aggregated_hierarchical_histogram

    # Clients count once a bin: the root, two halves, four bins of 2.5.
    expected = agreement.assert_agrees(contexts, run, (_to_datasets(values),))
    assert expected["flat_values"].tolist() == [5, 3, 2, 2, 1, 1, 1]


def test_heavy_hitters(contexts):
    search = tff.analytics.heavy_hitters.iblt.build_iblt_computation(
        capacity=20, string_max_bytes=8, repetitions=3
    )
    words = [["ab", "cd", "ab"], ["cd"], ["xy", "ab"]]
    with contexts["two shards"].install():
        found = search([dataset.batch(1) for dataset in _to_datasets(words)])
    counts = dict(zip(found.heavy_hitters, found.heavy_hitters_counts, strict=True))
    assert counts == {b"ab": 3, b"cd": 2, b"xy": 1}
    assert found.clients == 3
    assert found.num_not_decoded == 0


# Learning.

_SPEC = (tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None, 1], tf.float32))


def _create_model():
    layer = tf.keras.layers.Dense(1, kernel_initializer=tf.keras.initializers.Constant(0.1))
    return tff.learning.models.from_keras_model(
        tf.keras.Sequential([tf.keras.layers.InputLayer(input_shape=(3,)), layer]),
        loss=tf.keras.losses.MeanSquaredError(),
        input_spec=_SPEC,
        metrics=[tf.keras.metrics.MeanAbsoluteError()],
    )


def _create_client(num_examples):
    features = np.random.default_rng(num_examples).normal(size=(num_examples, 3))
    features = features.astype(np.float32)
    labels = features.sum(axis=1, keepdims=True)
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(2)


@pytest.fixture(scope="module")
def fed_avg():
    """The stock process, run for two rounds by whoever is the current context."""
    process = tff.learning.algorithms.build_weighted_fed_avg(
        _create_model,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0, 0.9),
    )
    return lambda clients: _run(process, (clients,))


@pytest.mark.parametrize("kind", ["datasets", "lists"])
def test_stock_federated_averaging(native, contexts, fed_avg, kind):
    clients = [_create_client(n) for n in (5, 2, 7)]
    if kind == "lists":
        clients = [list(client.as_numpy_iterator()) for client in clients]
    expected = agreement.assert_agrees(contexts, fed_avg, (clients,), 1e-5)
    assert expected[-1].metrics["client_work"]["train"]["num_examples"] == 14
    weights = [output.state.global_model_weights.trainable for output in expected]
    assert np.max(np.abs(weights[1][0] - weights[0][0])) > 0.1


def test_federated_averaging_hints_at_stacked_clients_once(fed_avg, caplog):
    with agreement.create_compiled(2).install():
        fed_avg([_create_client(2), _create_client(3)])
    (record,) = agreement.warnings_of(caplog)
    assert record.name == "fedrec_tff.execution.compiled"
    assert "client by client" in record.message
    assert "tensors" in record.message
