"""Python values of TFF types as flat lists of tensors, and back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


def flatten(value: Any, type_spec: tff.Type) -> list[Any]:
    """Lists the leaves of a value in the order of its type.

    Args:
      value: Value to flatten, in any containers that TFF knows, nested.
      type_spec: Type that the value should have; of what is placed, the member.

    Returns:
      One leaf for each tensor or sequence of the type.

    Raises:
      TypeError: If the structures differ; the message says where.
    """
    leaves: list[Any] = []
    _flatten_into(leaves, value, type_spec, "")
    return leaves


def _flatten_into(leaves: list[Any], value: Any, type_spec: tff.Type, path: str) -> None:
    if isinstance(type_spec, tff.FederatedType):
        type_spec = type_spec.member
    if not isinstance(type_spec, tff.StructType):
        leaves.append(value)
        return
    elements = match(value, type_spec, path or "the value")
    for index, ((name, element_type), element) in enumerate(
        zip(tff.structure.to_elements(type_spec), elements, strict=True)
    ):
        label = f"{path}.{name}" if name else f"{path}[{index}]"
        _flatten_into(leaves, element, element_type, label.lstrip("."))


def match(value: Any, type_spec: tff.StructType, label: str) -> list[Any]:
    """The elements of a container in the order of its type.

    Args:
      value: Container to read; matched by name if all elements of it and of the type have names.
      type_spec: Type that the container should have.
      label: Name of the value in errors.

    Returns:
      One value for each element of the type.

    Raises:
      TypeError: If the elements differ.
    """
    found = _elements(value, label)
    expected = [name for name, _ in tff.structure.to_elements(type_spec)]
    if found and all(name for name, _ in found) and all(expected):
        by_name = dict(found)
        if set(by_name) != set(expected):
            # A key that is no name may be data.
            names = ", ".join(name for name in by_name if isinstance(name, str))
            raise TypeError(
                f"{label} should have the fields {', '.join(expected)}"
                + (f", not {names}" if names else "")
            )
        return [by_name[name] for name in expected]
    if len(found) != len(expected):
        raise TypeError(f"{label} should have {len(expected)} elements, not {len(found)}")
    return [element for _, element in found]


def _elements(value: Any, label: str) -> list[tuple[str | None, Any]]:
    """The named elements of a container."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (np.ndarray, tf.Tensor)):
        raise TypeError(f"{label} should be a structure, not a tensor")
    try:
        return list(tff.structure.to_elements(tff.structure.from_container(value)))
    except TypeError:
        pass  # TFF's message shows the value.
    raise TypeError(f"{label} should be a structure, not {type(value).__name__}")


def pack(leaves: list[Any], type_spec: tff.Type) -> Any:
    """Builds a value, in the Python containers of its type, from its leaves.

    Args:
      leaves: Leaves of the value, one for each tensor or sequence of the type, in its order.
      type_spec: The type of the value.

    Returns:
      The value.
    """
    return tff.types.type_to_py_container(build(leaves, type_spec), type_spec)


def build(leaves: Iterable[Any], type_spec: tff.Type) -> Any:
    """Builds a value, in TFF's own containers, from its leaves.

    Args:
      leaves: Leaves of the value, one for each tensor or sequence of the type, in its order.
      type_spec: The type of the value.

    Returns:
      The value: a leaf, or a structure of them.
    """
    return _build(iter(leaves), type_spec)


def _build(remaining: Iterator[Any], type_spec: tff.Type) -> Any:
    if isinstance(type_spec, tff.FederatedType):
        return _build(remaining, type_spec.member)
    if isinstance(type_spec, tff.StructType):
        return tff.structure.Struct(
            [(name, _build(remaining, e)) for name, e in tff.structure.to_elements(type_spec)]
        )
    return next(remaining)


def leaf_types(type_spec: tff.Type | None) -> list[tff.TensorType | tff.SequenceType]:
    """The types of the leaves, in order; none for None."""
    if type_spec is None:
        return []
    if isinstance(type_spec, tff.FederatedType):
        return leaf_types(type_spec.member)
    if isinstance(type_spec, tff.StructType):
        return [leaf for _, e in tff.structure.to_elements(type_spec) for leaf in leaf_types(e)]
    return [type_spec]


def to_array(value: Any, tensor_type: tff.TensorType) -> np.ndarray:
    """A leaf as an array of exactly its type.

    Args:
      value: Leaf to convert: a tensor, an array, a number, or nested lists of numbers.
      tensor_type: Type that the leaf should have.

    Returns:
      The array; shares memory with `value` where it can.

    Raises:
      TypeError: If dtype or shape differ; Python numbers take the dtype of the type.
    """
    array = _as_array(value)
    if array is None:
        raise TypeError(f"expected {tensor_type}, found lists that are not rectangular")
    converted = _convert(array, value, tensor_type)
    if converted is None or not has_shape(converted.shape, tensor_type):
        raise TypeError(f"expected {tensor_type}, found {array.dtype}{list(array.shape)}")
    return converted


def has_shape(shape: Sequence[int], tensor_type: tff.TensorType) -> bool:
    """Whether a shape is one of a type's."""
    return tf.TensorShape(tensor_type.shape).is_compatible_with(shape)


def _as_array(value: Any) -> np.ndarray | None:
    try:
        return np.asarray(value)
    except ValueError:
        return None


def _convert(array: np.ndarray, value: Any, tensor_type: tff.TensorType) -> np.ndarray | None:
    """The array in the type's dtype; Python's numbers may change theirs, if they stay the same."""
    dtype = tensor_type.dtype
    if array.dtype == dtype.type or _is_string(array, tensor_type):
        return array
    if isinstance(value, (np.ndarray, np.generic, tf.Tensor)):
        return None
    is_integer = array.dtype.kind in "iu" and np.dtype(dtype).kind in "iu"
    if not (is_integer or np.can_cast(array.dtype, dtype, "same_kind")):
        return None
    converted = array.astype(dtype)
    return None if is_integer and not np.array_equal(converted, array) else converted


def _is_string(array: np.ndarray, tensor_type: tff.TensorType) -> bool:
    return tensor_type.dtype.type is np.str_ and array.dtype.kind in "OSU"
