"""The step of a large model, which is compiled, against Adam written out in NumPy."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import compiled, native
from fedrec_tff.learning import optimizers, scheduled_finalizer
from fedrec_tff.learning.config import OptimizerConfig

_SHAPES = {"embedding": (6, 3), "bias": (6,)}
_RATE, _EPSILON = 0.1, 0.01
_CONTEXTS = {
    "native": native.native_context,
    "compiled": lambda: compiled.CompiledContext().install(),
}


def _gradients(num_rounds):
    rng = np.random.default_rng(4)
    return [
        collections.OrderedDict(
            (name, rng.normal(size=shape).astype(np.float32)) for name, shape in _SHAPES.items()
        )
        for _ in range(num_rounds)
    ]


def _expected(gradients):
    """Kingma and Ba 2015, algorithm 1 as at the end of its section 2; None changes nothing."""
    weights = {name: np.ones(shape) for name, shape in _SHAPES.items()}
    first = {name: np.zeros(shape) for name, shape in _SHAPES.items()}
    second = {name: np.zeros(shape) for name, shape in _SHAPES.items()}
    for step, gradient in enumerate(gradients, 1):
        rate = _RATE * np.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
        for name in _SHAPES:
            first[name] = 0.9 * first[name] + 0.1 * gradient[name]
            second[name] = 0.999 * second[name] + 0.001 * np.square(gradient[name])
            weights[name] -= rate * first[name] / (np.sqrt(second[name]) + _EPSILON)
    return weights


@pytest.mark.parametrize("in_chunks", [True, False])
@pytest.mark.parametrize("context", _CONTEXTS)
def test_a_compiled_step_is_adams_and_a_broken_update_changes_nothing(
    monkeypatch, context, in_chunks
):
    monkeypatch.setattr(scheduled_finalizer, "_MANY_NUMBERS", 24)
    weights = collections.OrderedDict(
        (name, np.ones(shape, np.float32)) for name, shape in _SHAPES.items()
    )
    start = tff.learning.models.ModelWeights(weights, ())
    types = tf.nest.map_structure(lambda w: tff.TensorType(np.float32, w.shape), weights)
    weights_type = tff.to_type(tff.learning.models.ModelWeights(types, ()))
    config = OptimizerConfig("adam", learning_rate=_RATE, epsilon=_EPSILON)
    finalizer = scheduled_finalizer.build_finalizer(
        optimizers.create_optimizer(config),
        weights_type,
        weights_type.trainable,
        in_chunks=in_chunks,
    )
    assert "_XlaMustCompile" in str(_graph_of(finalizer))
    gradients = _gradients(3)
    broken = tf.nest.map_structure(lambda leaf: np.full_like(leaf, np.nan), gradients[0])
    with _CONTEXTS[context]():
        state, current = finalizer.initialize(), start
        for gradient in [*gradients[:2], broken, gradients[2]]:
            output = finalizer.next(state, current, gradient)
            state, current = output.state, output.result
            assert output.measurements["update_non_finite"] == (gradient is broken)
    for name, weight in _expected(gradients).items():
        np.testing.assert_allclose(current.trainable[name], weight, rtol=1e-5)


def _graph_of(finalizer):
    return tff.framework.ConcreteComputation.get_proto(finalizer.next)
