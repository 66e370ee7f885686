"""What small regions of operations say: how a scatter combines, and what a sort compares."""

# Tested in tests/accelerator/test_operations.py.

from collections.abc import Callable, Sequence

import jax
import ml_dtypes
import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from fedrec_tff.accelerator.worker.errors import UnsupportedProgramError

RegionFn = Callable[..., Sequence[jax.Array]]

DTYPES = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "complex<f32>": np.dtype(np.complex64),
    "complex<f64>": np.dtype(np.complex128),
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i1": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "ui8": np.dtype(np.uint8),
    "ui16": np.dtype(np.uint16),
    "ui32": np.dtype(np.uint32),
    "ui64": np.dtype(np.uint64),
}
_COMBINATIONS = ("add", "maximum", "minimum", "multiply")
_MOST_STEPS = 16


def find_dtype(value: ir.Value) -> np.dtype:
    """The dtype of a value.

    Args:
      value: An array.

    Returns:
      NumPy's dtype.

    Raises:
      UnsupportedProgramError: If NumPy has none for it.
    """
    name = str(ir.RankedTensorType(value.type).element_type)
    if name not in DTYPES:
        raise UnsupportedProgramError(f"numbers of the type {name}")
    return DTYPES[name]


def read_constant(op: ir.Operation) -> np.ndarray:
    """The value of a constant."""
    attribute = op.attributes["value"]
    result = ir.RankedTensorType(op.results[0].type)
    dtype = find_dtype(op.results[0])
    values = np.array(attribute)
    # Types that NumPy does not know come as the bytes of integers.
    if values.dtype != dtype and values.dtype.itemsize == dtype.itemsize and dtype.kind == "V":
        values = values.view(dtype)
    return np.asarray(values, dtype).reshape(result.shape)


def defining_constant(value: ir.Value) -> np.ndarray | None:
    """The constant that a value is; None if it is not one."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return None
    op = owner.operation
    return read_constant(op) if op.name == "stablehlo.constant" else None


def comparison_direction(op: ir.Operation) -> str:
    """How a comparison compares: `EQ`, `NE`, `LT`, `LE`, `GT` or `GE`."""
    return stablehlo.ComparisonDirectionAttr(op.attributes["comparison_direction"]).value


def combination(region: ir.Region) -> str:
    """How a scatter combines what stands there with what comes.

    Args:
      region: Region of two scalars.

    Returns:
      `assign` if what comes takes the place, else the name of the operation.

    Raises:
      UnsupportedProgramError: If it is anything else.
    """
    (block,) = region.blocks
    *steps, returned = [op.operation for op in block.operations]
    (value,) = returned.operands
    there, comes = block.arguments
    if not steps and value == comes:
        return "assign"
    if len(steps) == 1 and set(steps[0].operands) == {there, comes}:
        name = steps[0].name.removeprefix("stablehlo.")
        if name in _COMBINATIONS:
            return name
    raise UnsupportedProgramError("a scatter that combines in a way of its own")


def sort_order(op: ir.Operation) -> tuple[int, bool]:
    """What a sort sorts by.

    TensorFlow's comparators are one comparison of the two members of one operand, and then
    `select(true, comparison, true)` and the like around it.

    Args:
      op: The sort.

    Returns:
      The operand that is the key, and whether the order is descending.

    Raises:
      UnsupportedProgramError: If the comparator does anything else.
    """
    (block,) = op.regions[0].blocks
    steps = [step.operation for step in block.operations]
    compared = [step for step in steps if step.name == "stablehlo.compare"]
    if len(compared) == 1 and len(steps) < _MOST_STEPS and _is_comparison(steps, compared[0]):
        left, right = (_argument_number(block, value) for value in compared[0].operands)
        direction = comparison_direction(compared[0])
        if left is not None and right is not None and left // 2 == right // 2 and left != right:
            is_descending = direction in ("GT", "GE")
            if left > right:
                is_descending = not is_descending
            if direction in ("GT", "LT"):
                return left // 2, is_descending
    raise UnsupportedProgramError("a sort by a comparison of its own")


def _argument_number(block: ir.Block, value: ir.Value) -> int | None:
    return next((i for i, argument in enumerate(block.arguments) if argument == value), None)


def _is_comparison(steps: list[ir.Operation], compared: ir.Operation) -> bool:
    """Whether a comparator returns its one comparison, behind selections that always choose it."""
    (value,) = steps[-1].operands
    while value != compared.results[0]:
        op = value.owner.operation if not isinstance(value.owner, ir.Block) else None
        if op is None or op.name != "stablehlo.select" or not _is_true(op.operands[0]):
            return False
        value = op.operands[1]
    return True


def _is_true(value: ir.Value) -> bool:
    """Whether a value is the constant true, broadcast or not."""
    owner = value.owner
    if not isinstance(owner, ir.Block) and owner.operation.name == "stablehlo.broadcast_in_dim":
        value = owner.operation.operands[0]
    constant = defining_constant(value)
    return constant is not None and bool(np.all(constant))
