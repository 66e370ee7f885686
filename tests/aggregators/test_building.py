"""From chains to factories, and what somebody else's builder may get wrong."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import updates as updates_lib

from fedrec_tff import errors
from fedrec_tff.aggregators import building, chain, contract, registry, transforms
from fedrec_tff.execution import compiled, forms

_NUM_ITEMS = 12
_PLUGIN = '''
import functools

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.aggregators import building, transforms


class Scale(transforms.ClientTransform):
    """Clients send `factor` times their update; the server counts rounds and undoes it."""

    def __init__(self, factor):
        self._factor = factor

    def encode(self, value, key):
        scaled = tf.nest.map_structure(
            lambda t: self._factor * t if t.dtype.is_floating else t, value
        )
        size = transforms.MessageSize(tf.constant(8, tf.int64), tf.constant(5, tf.int64))
        return transforms.Encoded(scaled, size)

    def create_initial_state(self, value_specs):
        return tf.zeros([2], tf.int32)

    def decode(self, state, aggregate, key, value_specs):
        result = tf.nest.map_structure(lambda t: t / self._factor, aggregate)
        return key, result


@building.supports_row_sparse
def build_scale(context, *, factor: float = 2.0):
    """Scales there and back."""
    return Scale(factor)


def build_zeroing(context, inner, *, limit: float = 1.0):
    """Wraps."""
    return tff.aggregators.zeroing_factory(limit, inner)


def build_mean(context):
    """The mean."""
    return tff.aggregators.UnweightedMeanFactory()


def build_bare():
    """The mean, for which nothing need be known."""
    return tff.aggregators.UnweightedMeanFactory()


class Doubled(tff.aggregators.UnweightedAggregationFactory):
    """Some multiple of the mean."""

    def __init__(self, factor: float = 2.0, inner_factory=None):
        self._factor = factor

    def create(self, value_type):
        mean = tff.aggregators.UnweightedMeanFactory().create(value_type)
        clients_type = tff.FederatedType(value_type, tff.CLIENTS)

        @tff.tensorflow.computation(value_type)
        def multiply(value):
            return tf.nest.map_structure(lambda t: self._factor * t, value)

        @tff.federated_computation(mean.initialize.type_signature.result, clients_type)
        def next_fn(state, value):
            output = mean.next(state, value)
            result = tff.federated_map(multiply, output.result)
            return tff.templates.MeasuredProcessOutput(output.state, result, output.measurements)

        return tff.templates.AggregationProcess(mean.initialize, next_fn)


tripled = Doubled(3.0)
quadrupled = functools.partial(Doubled, factor=4.0)
Mean = tff.aggregators.UnweightedMeanFactory
halving = Scale(0.5)


def zero_large(inner):
    """Wraps without a context."""
    return tff.aggregators.zeroing_factory(1.0, inner)


def build_number(context):
    """Returns no factory."""
    return 1


def build_failure(context):
    """Fails."""
    return context.no_such_field


class BadResult(tff.aggregators.UnweightedAggregationFactory):
    def create(self, value_type):
        return tff.aggregators.SumFactory().create(tff.TensorType(tf.float32.as_numpy_dtype))


def build_bad_result(context):
    """Aggregates something else."""
    return BadResult()


class NoProcess(tff.aggregators.UnweightedAggregationFactory):
    def create(self, value_type):
        return None


def build_no_process(context):
    """Creates nothing."""
    return NoProcess()


class Raises(tff.aggregators.UnweightedAggregationFactory):
    def create(self, value_type):
        raise ValueError("no\\nlines")


def build_raises(context):
    """Raises."""
    return Raises()
'''


@pytest.fixture(name="plugin", scope="module")
def _plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "plugin_of_building.py"
    path.write_text(_PLUGIN)
    return str(path)


def _context(**kwargs):
    return registry.AggregatorContext(
        **{"num_items": _NUM_ITEMS, "clients_per_round": 3.0, "row_sparse": False, **kwargs}
    )


def _updates():
    rng = np.random.default_rng(0)
    return [updates_lib.create_row_sparse(rng, _NUM_ITEMS, num_rows=4) for _ in range(3)]


def test_steps_run_from_the_client_to_the_server_and_back(plugin):
    parsed = chain.parse(
        f"{plugin}:build_scale,{plugin}:build_scale,mean",
        (),
    )
    assert building.can_be_row_sparse(parsed)
    factory = building.build_factory(parsed, _context(row_sparse=True, seed=5))
    process = factory.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=True))
    sent = _updates()
    with compiled.CompiledContext().install():
        state = process.initialize()
        for _ in range(2):
            output = process.next(state, sent)
            state = output.state
    dense = [updates_lib.flatten(updates_lib.densify(u, _NUM_ITEMS)) for u in sent]
    np.testing.assert_allclose(
        updates_lib.flatten(output.result), np.mean(dense, axis=0), rtol=1e-5, atol=1e-6
    )
    # The key of the latest round: the seed, and the round's number from 0.
    (rounds, key), _ = state
    assert rounds == 2
    assert key.tolist() == [5, 1]
    assert transforms.find_message_size(output.measurements) == {
        transforms.UPLOAD_BITS: 24,
        transforms.CODED_UPLOAD_BITS: 15,
    }


def test_a_server_that_must_not_see_sums_gets_none_of_what_steps_measure(plugin):
    """In the form, all that is not summed securely reaches the server client by client."""
    parsed = chain.parse(f"{plugin}:build_scale,secure_mean")
    value_type = updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False)

    def find_plain_sums(server_sees_sums):
        context = _context(clip_norm=1.0, server_sees_sums=server_sees_sums)
        process = building.build_factory(parsed, context).create(value_type)
        return [str(leaf) for leaf in forms.extract(process.next).accumulator_types]

    assert "int64" in find_plain_sums(True)
    assert "int64" not in find_plain_sums(False)


def test_a_step_before_a_weighted_mean_keeps_the_weights(plugin):
    factory = building.build_factory(chain.parse(f"{plugin}:build_scale,weighted_mean"), _context())
    process = factory.create(
        updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False), tff.TensorType(np.float32)
    )
    dense = [updates_lib.densify(u, _NUM_ITEMS) for u in _updates()]
    with compiled.CompiledContext().install():
        output = process.next(process.initialize(), dense, [1.0, 0.0, 3.0])
    expected = np.average([updates_lib.flatten(d) for d in dense], axis=0, weights=[1, 0, 3])
    np.testing.assert_allclose(updates_lib.flatten(output.result), expected, rtol=1e-5, atol=1e-6)


def test_a_wrapper_gets_the_inner_factory_and_its_parameters(plugin):
    parsed = chain.parse(f"{plugin}:build_zeroing,mean", ("limit=1.0",))
    factory = building.build_factory(parsed, _context())
    process = factory.create(tff.to_type([np.float32, np.float32]))
    with compiled.CompiledContext().install():
        output = process.next(process.initialize(), [[0.5, 0.5], [9.0, 9.0]])
    np.testing.assert_allclose(output.result, [0.25, 0.25])


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("{}:build_bare", (), [1.75, 2.25]),
        ("{}:Doubled", (), [3.5, 4.5]),
        ("{}:Doubled", ("factor=10",), [17.5, 22.5]),
        ("{}:tripled", (), [5.25, 6.75]),
        ("{}:quadrupled", (), [7.0, 9.0]),
        ("{}:Mean", (), [1.75, 2.25]),
        ("{0}:halving,{0}:tripled", (), [5.25, 6.75]),
        ("{0}:zero_large,{0}:Doubled", (), [0.5, 0.5]),
        ("{0}:build_scale,{0}:build_bare", ("factor=4",), [1.75, 2.25]),
    ],
)
def test_what_is_made_for_tff_alone_is_an_aggregator_as_it_is(plugin, text, parameters, expected):
    factory = building.build_factory(chain.parse(text.format(plugin), parameters), _context())
    process = factory.create(tff.to_type([np.float32, np.float32]))
    with compiled.CompiledContext().install():
        output = process.next(process.initialize(), [[0.5, 0.5], [3.0, 4.0]])
    np.testing.assert_allclose(output.result, expected)


def test_a_plug_in_gets_dense_updates_unless_it_says_otherwise(plugin):
    assert not building.can_be_row_sparse(chain.parse(f"{plugin}:build_mean"))
    assert not building.can_be_row_sparse(chain.parse(f"{plugin}:build_scale,{plugin}:build_mean"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}:build_number", "returned int.*tff.aggregators factory"),
        ("{}:build_number,mean", "returned int.*ClientTransform"),
        ("{}:build_scale", "returned Scale.*tff.aggregators factory"),
        ("{}:build_mean,mean", "returned .*Factory.*ClientTransform"),
        ("{}:build_failure", r"AttributeError.*no_such_field.*plugin_of_building\.py, line \d+"),
    ],
)
def test_what_a_builder_returns_is_checked(plugin, text, message):
    with pytest.raises(errors.UserError, match=message):
        building.build_factory(chain.parse(text.format(plugin)), _context())


def test_a_module_that_fails_to_import_is_one_line(tmp_path):
    path = tmp_path / "fails_to_import.py"
    path.write_text("import nothing_of_this_name\n\n\ndef build(context):\n    '''Never.'''\n")
    with pytest.raises(errors.UserError, match=r"nothing_of_this_name.*_import\.py, line 1"):
        building.build_factory(chain.parse(f"{path}:build"), _context())


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("build_bad_result", "must have the type of the model's weights"),
        ("build_no_process", "create.. returned NoneType"),
        ("build_raises", "create.. failed for updates of type .*ValueError: no "),
    ],
)
def test_what_a_factory_creates_is_checked(plugin, builder, message):
    factory = building.build_factory(chain.parse(f"{plugin}:{builder}"), _context())
    checked = contract.wrap(factory, "mine", _NUM_ITEMS)
    with pytest.raises(errors.UserError, match=message) as raised:
        checked.create(updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False))
    assert "\n" not in str(raised.value)


def test_a_state_that_is_not_of_tensors_is_refused():
    @tff.federated_computation
    def init_fn():
        return tff.federated_eval(
            tff.tensorflow.computation(lambda: tf.data.Dataset.range(3)), tff.SERVER
        )

    class Factory(tff.aggregators.UnweightedAggregationFactory):
        def create(self, value_type):
            @tff.federated_computation(
                init_fn.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
            )
            def next_fn(state, value):
                empty = tff.federated_value((), tff.SERVER)
                return tff.templates.MeasuredProcessOutput(state, tff.federated_sum(value), empty)

            return tff.templates.AggregationProcess(init_fn, next_fn)

    with pytest.raises(errors.UserError, match="checkpointed"):
        contract.wrap(Factory(), "mine", 3).create(tff.to_type([np.float32]))


def test_the_dense_type_of_row_sparse_updates_is_that_of_dense_ones():
    found = contract.dense_type(
        updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=True), _NUM_ITEMS
    )
    assert found == updates_lib.create_value_type(_NUM_ITEMS, is_row_sparse=False)
