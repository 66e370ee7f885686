"""Python values as flat lists in the order of their TFF types."""

import collections
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import values


class _Pair(NamedTuple):
    second: object
    first: object


_TYPE = tff.to_type(
    collections.OrderedDict(
        z=_Pair(np.int32, tff.TensorType(np.float32, [None])), a=[np.bool_, np.str_]
    )
)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [3, 4], "z": {"first": 2, "second": 1}},
        collections.OrderedDict(z=_Pair(1, 2), a=(3, 4)),
        ((1, 2), (3, 4)),
        tff.structure.Struct([("z", _Pair(1, 2)), ("a", [3, 4])]),
    ],
    ids=["dict of another order", "containers of the type", "tuples", "Struct"],
)
def test_leaves_are_in_the_order_of_the_type(value):
    assert values.flatten(value, _TYPE) == [1, 2, 3, 4]


def test_leaf_types_are_in_the_order_of_the_type():
    assert [t.dtype.type for t in values.leaf_types(_TYPE)] == [
        np.int32,
        np.float32,
        np.bool_,
        np.str_,
    ]
    assert values.leaf_types(None) == []
    assert len(values.leaf_types(tff.FederatedType(_TYPE, tff.SERVER))) == 4


def test_packing_gives_the_containers_of_the_type():
    packed = values.pack([1, 2, 3, 4], _TYPE)
    assert packed == collections.OrderedDict(z=_Pair(1, 2), a=[3, 4])
    assert isinstance(packed["z"], _Pair)
    assert values.flatten(packed, _TYPE) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"z": (1, 2)}, "the value should have the fields z, a, not z"),
        ({"z": {"first": 1, "third": 2}, "a": (3, 4)}, "z should have the fields second, first"),
        ({"z": (1, 2), "a": (1, 2, 3)}, "a should have 2 elements, not 3"),
        ({"z": (1, 2), "a": 5}, "a should be a structure, not int"),
        ({"z": (1, 2), "a": np.zeros(2)}, "a should be a structure, not a tensor"),
    ],
)
def test_another_structure_is_told_with_its_place(value, message):
    with pytest.raises(TypeError, match=message):
        values.flatten(value, _TYPE)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (3, np.float32, 3.0),
        ([1, 2], np.int64, [1, 2]),
        (True, np.bool_, True),
        (200, np.uint8, 200),
        (-(2**31), np.int32, -(2**31)),
        (tf.constant([1.5]), np.float32, [1.5]),
    ],
)
def test_a_leaf_becomes_an_array_of_its_type(value, dtype, expected):
    array = values.to_array(value, tff.TensorType(dtype, np.shape(expected)))
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, np.int32),
        (2**31, np.int32),
        (-1, np.uint8),
        (256, np.uint8),
        (np.float64(1.5), np.float32),
        (np.int64(1), np.int32),
        (tf.constant(1.0), np.int32),
        ("text", np.int32),
    ],
)
def test_a_leaf_of_another_dtype_is_refused(value, dtype):
    with pytest.raises(TypeError, match="expected") as caught:
        values.to_array(value, tff.TensorType(dtype))
    assert "1.5" not in str(caught.value)


def test_an_array_of_the_type_is_not_copied():
    array = np.ones([2, 3], np.float32)
    assert values.to_array(array, tff.TensorType(np.float32, [None, 3])) is array


@pytest.mark.parametrize(
    ("shape", "fits"), [([2], False), ([3], True), ([None], True), ([], False)]
)
def test_shapes(shape, fits):
    tensor_type = tff.TensorType(np.float32, shape)
    if fits:
        values.to_array(np.zeros(3, np.float32), tensor_type)
        return
    with pytest.raises(TypeError, match=r"found float32\[3\]"):
        values.to_array(np.zeros(3, np.float32), tensor_type)
