"""What is small is zero, against a sort by hand."""

import numpy as np

from fedrec_tff.serving.compression import pruning


def test_the_smallest_are_left_out():
    values = np.float32([[3.0, -0.5, 0.1], [-4.0, 0.2, 1.0]])
    coded = pruning.prune(values, 0.5)
    np.testing.assert_array_equal(coded.decode(), [[3.0, 0.0, 0.0], [-4.0, 0.0, 1.0]])
    assert list(coded.values.decode()) == [3.0, -4.0, 1.0]
    assert list(coded.mask) == [0b100_101_00]


def test_of_equal_numbers_as_many_are_left_out_as_were_asked_for():
    coded = pruning.prune(np.ones([10, 10], np.float32), 0.37)
    assert coded.values.dimensions == (63,)
    assert coded.decode().sum() == 63.0


def test_a_row_without_any_number_is_zero():
    values = np.float32([[0.1, 0.1], [5.0, 6.0], [0.1, 0.2]])
    coded = pruning.prune(values, 0.67)
    np.testing.assert_array_equal(coded.decode_rows(np.array([2, 1])), [[0, 0], [5, 6]])
    np.testing.assert_array_equal(coded.multiply(np.float32([[1, 2]])), [[0, 17, 0]])


def test_the_zeros_are_those_of_tensorflow_model_optimization():
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    values = np.random.default_rng(0).normal(size=[20, 10]).astype(np.float32)
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.6, begin_step=0, frequency=1)
    layer = tf.keras.layers.Dense(10, use_bias=False, input_shape=[20])
    model = tf.keras.Sequential([tfmot.sparsity.keras.prune_low_magnitude(layer, schedule)])
    layer.kernel.assign(values)
    model.compile(tf.keras.optimizers.legacy.SGD(0.0), "mse")
    callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
    model.fit(np.ones([1, 20]), np.ones([1, 10]), callbacks=callbacks, verbose=0)
    np.testing.assert_array_equal(pruning.prune(values, 0.6).decode(), layer.kernel.numpy())
