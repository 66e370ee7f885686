import numpy as np
import pytest
import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.learning import optimizers
from fedrec_tff.learning.config import OPTIMIZERS, OptimizerConfig

_START = np.array([1.0, -2.0, 3.0, 0.5])
# Large, small and no gradients, against a tau of 0.01.
_GRADIENTS = np.array([[1.0, -1e-4, 0.0, 0.02], [-0.5, -2e-4, 0.0, 0.02], [0.1, 1e-4, 0.0, -0.01]])
_RATE, _TAU = 0.1, 0.01


def _run(config, gradients=_GRADIENTS):
    optimizer = optimizers.create_optimizer(config)
    state = optimizer.initialize(tf.TensorSpec([4]))
    weights, result = tf.constant(_START, tf.float32), []
    for gradient in gradients:
        state, weights = optimizer.next(state, weights, tf.constant(gradient, tf.float32))
        result.append(weights.numpy())
    return np.array(result)


def test_sgd_by_hand():
    expected = _START - _RATE * np.cumsum(_GRADIENTS, axis=0)
    np.testing.assert_allclose(_run(OptimizerConfig("sgd", _RATE)), expected, rtol=1e-6)


def test_momentum_by_hand():
    weights, velocity, expected = _START, np.zeros(4), []
    for gradient in _GRADIENTS:
        velocity = 0.9 * velocity + gradient
        weights = weights - _RATE * velocity
        expected.append(weights)
    found = _run(OptimizerConfig("sgd", _RATE, momentum=0.9))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_adam_equals_keras():
    keras = tf.keras.optimizers.Adam(_RATE, epsilon=_TAU)
    variable, expected = tf.Variable(_START), []
    for gradient in _GRADIENTS:
        keras.apply_gradients([(tf.constant(gradient), variable)])
        expected.append(variable.numpy())
    found = _run(OptimizerConfig("adam", _RATE, epsilon=_TAU))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_adagrad_is_reddi_et_al_within_its_other_way_to_add_tau():
    """A step is rate * g / (sqrt(v) + tau), or up to sqrt(2) times as long: tau under the root."""
    steps = np.diff(
        np.vstack([_START, _run(OptimizerConfig("adagrad", _RATE, epsilon=_TAU))]), axis=0
    )
    expected = -_RATE * _GRADIENTS / (np.sqrt(np.cumsum(_GRADIENTS**2, axis=0)) + _TAU)
    moving = [0, 1, 3]
    ratio = steps[:, moving] / expected[:, moving]
    assert (ratio > 0.99).all()
    assert (ratio < 1.01 * np.sqrt(2)).all()
    np.testing.assert_array_equal(steps[:, 2], 0.0)


def test_yogi_by_hand():
    """Reddi et al. 2021 (v from tau squared), with Adam's correction for the start."""
    weights, m, v, expected = _START, np.zeros(4), np.full(4, _TAU**2), []
    for t, gradient in enumerate(_GRADIENTS, start=1):
        m = 0.9 * m + 0.1 * gradient
        v = v - 0.001 * gradient**2 * np.sign(v - gradient**2)
        rate = _RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = weights - rate * m / (np.sqrt(v) + _TAU)
        expected.append(weights)
    found = _run(OptimizerConfig("yogi", _RATE, epsilon=_TAU))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stateless_means_that_no_state_has_the_weights_shape(name):
    for momentum in (0.0, 0.9) if name == "sgd" else (0.0,):
        config = OptimizerConfig(name, _RATE, momentum=momentum)
        state = optimizers.create_optimizer(config).initialize(tf.TensorSpec([4]))
        shapes = [np.shape(leaf) for leaf in tf.nest.flatten(state)]
        assert config.is_stateless == ((4,) not in shapes)


def test_unknown_name_is_a_user_error():
    with pytest.raises(errors.UserError, match=r"'lion'.*adagrad"):
        optimizers.create_optimizer(OptimizerConfig("lion", _RATE))
