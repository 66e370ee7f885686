"""NumPy arrays and TensorFlow tensors of the same memory."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import exceptions, values

# The tensor behind each array that was handed out, for as long as the array lives.
_tensor_of_array: dict[int, tuple[weakref.ref, tf.Tensor]] = {}
# Tensors whose memory was written since, for as long as they live.
_used_up: dict[int, weakref.ref] = {}


def mark_used_up(tensor: tf.Tensor) -> None:
    """Has `to_tensors` refuse the tensor, and arrays that it was handed out as."""
    key = id(tensor)
    _used_up[key] = weakref.ref(tensor, lambda _: _used_up.pop(key, None))


def to_tensors(
    leaves: Sequence[Any], leaf_types: Sequence[tff.TensorType | tff.SequenceType]
) -> list[tf.Tensor]:
    """Leaves as tensors; sequences as variants.

    An array that came from `to_arrays` is not copied: the state of a process goes from round to
    round as it is.

    Args:
      leaves: Leaves to convert: tensors, arrays, numbers, `tf.data.Dataset`s or lists of elements.
      leaf_types: Types of the leaves.

    Returns:
      One tensor for each leaf.

    Raises:
      TypeError: If a leaf is not of its type.
      UsedUpError: If a later round has written into a leaf's memory.
    """
    return [_to_tensor(leaf, t) for leaf, t in zip(leaves, leaf_types, strict=True)]


def to_arrays(
    tensors: Sequence[tf.Tensor], leaf_types: Sequence[tff.TensorType | tff.SequenceType]
) -> list[Any]:
    """Tensors as what TFF's own contexts return: arrays, scalars, bytes, datasets.

    Args:
      tensors: Tensors to convert, one for each type.
      leaf_types: Types of the leaves.

    Returns:
      One value for each tensor. Arrays are read-only: they may share the tensor's memory.
    """
    return [_to_array(tensor, t) for tensor, t in zip(tensors, leaf_types, strict=True)]


def _to_tensor(leaf: Any, leaf_type: tff.TensorType | tff.SequenceType) -> tf.Tensor:
    if isinstance(leaf_type, tff.SequenceType):
        return tf.data.experimental.to_variant(_to_dataset(leaf, leaf_type))
    known = _tensor_of_array.get(id(leaf))
    if known is not None and known[0]() is leaf and _is_of_type(leaf, leaf_type):
        _check_is_not_used_up(known[1])
        return known[1]
    if isinstance(leaf, tf.Tensor):
        _check_is_not_used_up(leaf)
    return tf.convert_to_tensor(values.to_array(leaf, leaf_type))


def _check_is_not_used_up(tensor: tf.Tensor) -> None:
    known = _used_up.get(id(tensor))
    if known is not None and known() is tensor:
        raise exceptions.UsedUpError(
            "this state was given to a round before, which wrote its new rows into it: go on with "
            "what that round returned, or copy a state that is to be used twice"
        )


def _is_of_type(array: np.ndarray, leaf_type: tff.TensorType) -> bool:
    return array.dtype == leaf_type.dtype.type and values.has_shape(array.shape, leaf_type)


def _to_array(tensor: tf.Tensor, leaf_type: tff.TensorType | tff.SequenceType) -> Any:
    if isinstance(leaf_type, tff.SequenceType):
        spec = _element_spec(leaf_type)
        return tf.data.experimental.from_variant(tensor, spec)
    if tensor.shape.rank == 0 or tensor.dtype == tf.string:
        return tensor.numpy()
    array = np.asarray(tensor).view()
    array.flags.writeable = False
    key = id(array)
    reference = weakref.ref(array, lambda _: _tensor_of_array.pop(key, None))
    _tensor_of_array[key] = (reference, tensor)
    return array


def _to_dataset(leaf: Any, leaf_type: tff.SequenceType) -> tf.data.Dataset:
    if not isinstance(leaf, tf.data.Dataset):
        leaf = _from_elements(leaf, leaf_type)
    found = tff.types.tensorflow_to_type(leaf.element_spec)
    if not leaf_type.element.is_assignable_from(found):
        raise TypeError(f"expected a sequence of {leaf_type.element}, found one of {found}")
    return leaf


def _element_spec(sequence_type: tff.SequenceType) -> Any:
    """The specs of a sequence's elements, in the containers of `values.pack`."""
    leaf_types = values.leaf_types(sequence_type.element)
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in leaf_types]
    return values.pack(specs, sequence_type.element)


def _from_elements(elements: Any, leaf_type: tff.SequenceType) -> tf.data.Dataset:
    """A dataset of a list's elements, which may differ in unknown dimensions."""
    if not isinstance(elements, Sequence):
        raise TypeError(f"expected a dataset or a list, found {type(elements).__name__}")
    spec = _element_spec(leaf_type)
    types = values.leaf_types(leaf_type.element)
    rows = [
        [
            values.to_array(v, t)
            for v, t in zip(values.flatten(e, leaf_type.element), types, strict=True)
        ]
        for e in elements
    ]
    dataset = tf.data.Dataset.from_tensor_slices(
        tf.nest.map_structure(lambda s: tf.zeros([0, *(d or 0 for d in s.shape)], s.dtype), spec)
    )
    for row in rows:
        element = values.pack(row, leaf_type.element)
        dataset = dataset.concatenate(tf.data.Dataset.from_tensors(element))
    return dataset
