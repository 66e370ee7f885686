"""What the pipeline asks of somebody else's aggregator, said in one line where it is not met."""

# Tested in tests/aggregators/test_building.py.

import functools
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import errors
from fedrec_tff.aggregators import row_sparse, wrapping
from fedrec_tff.plugins import loading


def wrap(factory: wrapping.AggregationFactory, name: str, num_items: int) -> Any:
    """A factory that checks what another one creates.

    Args:
      factory: The other one, weighted or not, and so is the result.
      name: The chain, for errors.
      num_items: Rows of the item table.

    Returns:
      A factory whose `create` raises `UserError` if the other one fails, or creates what cannot be
      used: a result of another type than the (dense) update's, or a state that is not of tensors.
    """
    return wrapping.wrap(factory, functools.partial(_create, factory, name, num_items))


def dense_type(value_type: tff.Type, num_items: int) -> tff.Type:
    """The type of an aggregate of updates.

    Args:
      value_type: Type of one client's update, dense or row-sparse.
      num_items: Rows of the item table.

    Returns:
      The type of the dense form.
    """
    if getattr(value_type, "python_container", None) is not row_sparse.RowSparse:
        return value_type
    specs = tff.types.type_to_tf_tensor_specs(value_type.value)

    def densify(spec: tf.TensorSpec) -> tff.TensorType:
        dense = row_sparse.create_dense_spec(spec, num_items)
        return tff.TensorType(dense.dtype.as_numpy_dtype, dense.shape)

    return tff.to_type(tf.nest.map_structure(densify, specs))


def _create(
    factory: wrapping.AggregationFactory, name: str, num_items: int, *types: tff.Type
) -> tff.templates.AggregationProcess:
    try:
        process = factory.create(*types)
    except errors.UserError:
        raise
    # Whatever the author's code, or TFF at its sight, raises.
    except Exception as error:
        raise errors.UserError(
            f"--aggregator={name}: create() failed for updates of type "
            f"{types[0].compact_representation()}: {loading.describe_error(error)}"
        ) from error
    if not isinstance(process, tff.templates.AggregationProcess):
        raise errors.UserError(
            f"--aggregator={name}: create() returned {type(process).__name__}; it must return a "
            "tff.templates.AggregationProcess"
        )
    _check_result(name, process, dense_type(types[0], num_items))
    _check_state(name, process)
    return process


def _check_result(name: str, process: tff.templates.AggregationProcess, expected: tff.Type) -> None:
    result = process.next.type_signature.result.result
    if not isinstance(result, tff.FederatedType) or result.placement is not tff.SERVER:
        raise errors.UserError(
            f"--aggregator={name}: the result must be placed at the server, and is {result}"
        )
    if not expected.is_assignable_from(result.member):
        raise errors.UserError(
            f"--aggregator={name}: the result must have the type of the model's weights, "
            f"{expected.compact_representation()}, and has "
            f"{result.member.compact_representation()}"
        )


def _check_state(name: str, process: tff.templates.AggregationProcess) -> None:
    state = process.initialize.type_signature.result.member
    kinds = (tff.TensorType, tff.StructType)
    other = tff.types.contains(state, lambda part: not isinstance(part, kinds))
    if other:
        raise errors.UserError(
            f"--aggregator={name}: a state of tensors alone can be checkpointed, and this one is "
            f"{state.compact_representation()}"
        )
