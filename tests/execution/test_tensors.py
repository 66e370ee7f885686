"""Arrays and tensors of the same memory; sequences."""

import gc

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import tensors

_MATRIX = tff.TensorType(np.float32, [2, 3])


def test_what_was_handed_out_comes_back_as_the_same_tensor():
    tensor = tf.ones([2, 3])
    (array,) = tensors.to_arrays([tensor], [_MATRIX])
    assert tensors.to_tensors([array], [_MATRIX])[0] is tensor
    # A copy is another array.
    assert tensors.to_tensors([array.copy()], [_MATRIX])[0] is not tensor


def test_nothing_is_kept_for_longer_than_the_array():
    # Arrays of earlier tests that wait for the collector would go meanwhile.
    gc.collect()
    before = len(tensors._tensor_of_array)
    arrays = tensors.to_arrays([tf.ones([2, 3]), tf.zeros([2, 3])], [_MATRIX] * 2)
    assert len(tensors._tensor_of_array) == before + 2
    del arrays
    gc.collect()
    assert len(tensors._tensor_of_array) == before


def test_arrays_are_read_only_and_scalars_are_scalars():
    vector = tff.TensorType(np.str_, [2])
    array, scalar, text, words = tensors.to_arrays(
        [tf.ones([2, 3]), tf.constant(3), tf.constant("x"), tf.constant(["a", "b"])],
        [_MATRIX, tff.TensorType(np.int32), tff.TensorType(np.str_), vector],
    )
    with pytest.raises(ValueError, match="read-only"):
        array += 1
    assert type(scalar) is np.int32
    assert text == b"x"
    assert words.tolist() == [b"a", b"b"]


@pytest.mark.parametrize(
    "leaf_type", [tff.TensorType(np.int32, [2, 3]), tff.TensorType(np.float32)]
)
def test_what_was_handed_out_is_checked_as_anything_else(leaf_type):
    (array,) = tensors.to_arrays([tf.ones([2, 3])], [_MATRIX])
    with pytest.raises(TypeError, match=r"found float32\[2, 3\]"):
        tensors.to_tensors([array], [leaf_type])


@pytest.mark.parametrize(
    ("element", "elements"),
    [
        (np.int32, [1, 2, 3]),
        (tff.TensorType(np.float32, [None]), [np.float32([1, 2]), np.float32([3])]),
        (tff.TensorType(np.float32, [None, 2]), []),
        ((np.int32, np.str_), [(1, b"a"), (2, b"b")]),
        ((np.int32,), [(1,), (2,)]),
    ],
)
def test_a_list_is_a_sequence(element, elements):
    sequence_type = tff.SequenceType(element)
    variants = tensors.to_tensors([elements], [sequence_type])
    (dataset,) = tensors.to_arrays(variants, [sequence_type])
    assert tff.types.tensorflow_to_type(dataset.element_spec) == sequence_type.element
    found = list(dataset.as_numpy_iterator())
    assert len(found) == len(elements)
    tf.nest.map_structure(np.testing.assert_array_equal, found, elements)


@pytest.mark.parametrize(
    "leaf", [tf.data.Dataset.range(3), [1.5], 3, [[1, 2]]], ids=["dataset", "float", "int", "list"]
)
def test_another_sequence_is_refused(leaf):
    with pytest.raises(TypeError, match="expected"):
        tensors.to_tensors([leaf], [tff.SequenceType(np.int32)])
