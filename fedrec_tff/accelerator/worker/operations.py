"""Operations of StableHLO (its specification, version 1) as those of JAX, one for one.

JAX brings what makes a batch of each: loops whose members end at different steps go on until the
last has ended and keep what those had that ended before, and branches become selections.
"""

# Tested in tests/accelerator/test_operations.py.

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from fedrec_tff.accelerator.worker import philox, regions
from fedrec_tff.accelerator.worker.errors import UnsupportedProgramError
from fedrec_tff.accelerator.worker.regions import RegionFn

_PREFIX = "stablehlo."
_ELEMENTWISE = {
    "abs": lax.abs,
    "add": lax.add,
    "and": lax.bitwise_and,
    "atan2": lax.atan2,
    "cbrt": lax.cbrt,
    "ceil": lax.ceil,
    "clamp": lax.clamp,
    "complex": lax.complex,
    "cosine": lax.cos,
    "count_leading_zeros": lax.clz,
    "divide": lax.div,
    "exponential": lax.exp,
    "exponential_minus_one": lax.expm1,
    "floor": lax.floor,
    "imag": lax.imag,
    "is_finite": lax.is_finite,
    "log": lax.log,
    "log_plus_one": lax.log1p,
    "logistic": lax.logistic,
    "maximum": lax.max,
    "minimum": lax.min,
    "multiply": lax.mul,
    "negate": lax.neg,
    "not": lax.bitwise_not,
    "or": lax.bitwise_or,
    "popcnt": lax.population_count,
    "power": lax.pow,
    "real": lax.real,
    "remainder": lax.rem,
    "round_nearest_even": lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "round_nearest_afz": lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    "rsqrt": lax.rsqrt,
    "select": lax.select,
    "shift_left": lax.shift_left,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
    "shift_right_logical": lax.shift_right_logical,
    "sign": lax.sign,
    "sine": lax.sin,
    "sqrt": lax.sqrt,
    "subtract": lax.sub,
    "tan": lax.tan,
    "tanh": lax.tanh,
    "xor": lax.bitwise_xor,
}
_COMPARISONS = {
    "EQ": lax.eq,
    "GE": lax.ge,
    "GT": lax.gt,
    "LE": lax.le,
    "LT": lax.lt,
    "NE": lax.ne,
}
# XLA's own rules for an index out of range: clamped where it is read, left out where it is written.
_XLA_RULES = lax.GatherScatterMode.PROMISE_IN_BOUNDS

ApplyFn = Callable[[ir.Operation, list[jax.Array], list[RegionFn]], Any]


def apply(
    op: ir.Operation, operands: list[jax.Array], region_fns: list[RegionFn]
) -> Sequence[jax.Array]:
    """Applies an operation.

    Args:
      op: The operation, with its attributes and the types of its results.
      operands: Its operands.
      region_fns: Its regions, as functions.

    Returns:
      Its results.

    Raises:
      UnsupportedProgramError: If it has no counterpart here.
    """
    name = op.name.removeprefix(_PREFIX)
    if name in _ELEMENTWISE:
        return [_ELEMENTWISE[name](*operands)]
    if name not in _SPECIAL:
        raise UnsupportedProgramError(f"{name} has no form for a block of clients")
    results = _SPECIAL[name](op, operands, region_fns)
    return results if isinstance(results, list | tuple) else [results]


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(ir.RankedTensorType(value.type).shape)


def _numbers(attribute: ir.Attribute) -> tuple[int, ...]:
    return tuple(int(number) for number in ir.DenseI64ArrayAttr(attribute))


def _optional(op: ir.Operation, name: str) -> tuple[int, ...] | None:
    return _numbers(op.attributes[name]) if name in op.attributes else None


def _number(op: ir.Operation, name: str) -> int:
    return ir.IntegerAttr(op.attributes[name]).value


def _flag(op: ir.Operation, name: str) -> bool:
    return name in op.attributes and ir.BoolAttr(op.attributes[name]).value


def _constant(op, operands, region_fns):
    return regions.read_constant(op)


def _iota(op, operands, region_fns):
    (result,) = op.results
    return lax.broadcasted_iota(
        regions.find_dtype(result), _shape(result), _number(op, "iota_dimension")
    )


def _convert(op, operands, region_fns):
    (operand,) = operands
    target = regions.find_dtype(op.results[0])
    return lax.convert_element_type(operand, target)


def _bitcast_convert(op, operands, region_fns):
    return lax.bitcast_convert_type(operands[0], regions.find_dtype(op.results[0]))


def _reshape(op, operands, region_fns):
    (operand,), shape = operands, _shape(op.results[0])
    return operand if operand.shape == shape else lax.reshape(operand, shape)


def _broadcast_in_dim(op, operands, region_fns):
    dimensions = _numbers(op.attributes["broadcast_dimensions"])
    return lax.broadcast_in_dim(operands[0], _shape(op.results[0]), dimensions)


def _transpose(op, operands, region_fns):
    return lax.transpose(operands[0], _numbers(op.attributes["permutation"]))


def _reverse(op, operands, region_fns):
    return lax.rev(operands[0], _numbers(op.attributes["dimensions"]))


def _slice(op, operands, region_fns):
    bounds = (_numbers(op.attributes[n]) for n in ("start_indices", "limit_indices", "strides"))
    return lax.slice(operands[0], *bounds)


def _dynamic_slice(op, operands, region_fns):
    operand, *starts = operands
    return lax.dynamic_slice(operand, starts, _numbers(op.attributes["slice_sizes"]))


def _dynamic_update_slice(op, operands, region_fns):
    operand, update, *starts = operands
    return lax.dynamic_update_slice(operand, update, starts)


def _pad(op, operands, region_fns):
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    padding = zip(*(_numbers(op.attributes[name]) for name in names), strict=True)
    return lax.pad(operands[0], operands[1], list(padding))


def _concatenate(op, operands, region_fns):
    return lax.concatenate(operands, _number(op, "dimension"))


def _compare(op, operands, region_fns):
    return _COMPARISONS[regions.comparison_direction(op)](*operands)


def _set_dimension_size(op, operands, region_fns):
    size = regions.defining_constant(op.operands[1])
    dimension = _number(op, "dimension")
    if size is None or int(size) != _shape(op.results[0])[dimension]:
        raise UnsupportedProgramError("the shape of an array depends on the client's data")
    return operands[0]


def _get_dimension_size(op, operands, region_fns):
    return np.int32(_shape(op.operands[0])[_number(op, "dimension")])


def _gather(op, operands, region_fns):
    operand, indices = operands
    numbers = stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=tuple(numbers.offset_dims),
        collapsed_slice_dims=tuple(numbers.collapsed_slice_dims),
        start_index_map=tuple(numbers.start_index_map),
        operand_batching_dims=tuple(numbers.operand_batching_dims),
        start_indices_batching_dims=tuple(numbers.start_indices_batching_dims),
    )
    return lax.gather(
        operand,
        _with_vectors_last(indices, numbers.index_vector_dim),
        dimensions,
        _numbers(op.attributes["slice_sizes"]),
        mode=_XLA_RULES,
    )


def _scatter(op, operands, region_fns):
    if len(operands) != 3:
        raise UnsupportedProgramError("a scatter of several arrays")
    operand, indices, updates = operands
    numbers = stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    dimensions = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(numbers.update_window_dims),
        inserted_window_dims=tuple(numbers.inserted_window_dims),
        scatter_dims_to_operand_dims=tuple(numbers.scattered_dims_to_operand_dims),
        operand_batching_dims=tuple(numbers.input_batching_dims),
        scatter_indices_batching_dims=tuple(numbers.scatter_indices_batching_dims),
    )
    indices = _with_vectors_last(indices, numbers.index_vector_dim)
    scatter_fn = _SCATTERS[regions.combination(op.regions[0])]
    return scatter_fn(operand, indices, updates, dimensions, mode=_XLA_RULES)


_SCATTERS = {
    "add": lax.scatter_add,
    "assign": lax.scatter,
    "maximum": lax.scatter_max,
    "minimum": lax.scatter_min,
    "multiply": lax.scatter_mul,
}


def _with_vectors_last(indices: jax.Array, vector_dimension: int) -> jax.Array:
    """Indices as JAX has them: each is a vector, in the last dimension."""
    if vector_dimension == indices.ndim:
        return lax.expand_dims(indices, [vector_dimension])
    others = [d for d in range(indices.ndim) if d != vector_dimension]
    return lax.transpose(indices, [*others, vector_dimension])


def _dot_general(op, operands, region_fns):
    numbers = stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    contracting = (
        tuple(numbers.lhs_contracting_dimensions),
        tuple(numbers.rhs_contracting_dimensions),
    )
    batching = tuple(numbers.lhs_batching_dimensions), tuple(numbers.rhs_batching_dimensions)
    return _multiply_matrices(op, operands, (contracting, batching))


def _dot(op, operands, region_fns):
    return _multiply_matrices(op, operands, (((operands[0].ndim - 1,), (0,)), ((), ())))


def _multiply_matrices(op, operands, dimensions):
    return lax.dot_general(
        *operands,
        dimensions,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=regions.find_dtype(op.results[0]),
    )


def _convolution(op, operands, region_fns):
    numbers = stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    dimensions = lax.ConvDimensionNumbers(
        lhs_spec=(
            numbers.input_batch_dimension,
            numbers.input_feature_dimension,
            *numbers.input_spatial_dimensions,
        ),
        rhs_spec=(
            numbers.kernel_output_feature_dimension,
            numbers.kernel_input_feature_dimension,
            *numbers.kernel_spatial_dimensions,
        ),
        out_spec=(
            numbers.output_batch_dimension,
            numbers.output_feature_dimension,
            *numbers.output_spatial_dimensions,
        ),
    )
    if "window_reversal" in op.attributes and any(
        ir.DenseBoolArrayAttr(op.attributes["window_reversal"])
    ):
        raise UnsupportedProgramError("a convolution with a reversed window")
    num_dimensions = len(numbers.input_spatial_dimensions)
    padding = [(0, 0)] * num_dimensions
    if "padding" in op.attributes:
        padding = np.array(op.attributes["padding"]).tolist()
    return lax.conv_general_dilated(
        *operands,
        window_strides=_optional(op, "window_strides") or (1,) * num_dimensions,
        padding=padding,
        lhs_dilation=_optional(op, "lhs_dilation"),
        rhs_dilation=_optional(op, "rhs_dilation"),
        dimension_numbers=dimensions,
        feature_group_count=_number(op, "feature_group_count"),
        batch_group_count=_number(op, "batch_group_count"),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=regions.find_dtype(op.results[0]),
    )


def _reduce(op, operands, region_fns):
    half = len(operands) // 2
    reduced, initial = operands[:half], operands[half:]
    dimensions = _numbers(op.attributes["dimensions"])
    if half == 1:
        return lax.reduce(reduced[0], initial[0], _first_of(region_fns[0]), dimensions)

    def combine(left, right):
        return tuple(region_fns[0](*left, *right))

    return lax.reduce(tuple(reduced), tuple(initial), combine, dimensions)


def _reduce_window(op, operands, region_fns):
    if len(operands) != 2:
        raise UnsupportedProgramError("windows over several arrays")
    dimensions = _numbers(op.attributes["window_dimensions"])
    padding = [(0, 0)] * len(dimensions)
    if "padding" in op.attributes:
        padding = [tuple(pair) for pair in np.array(op.attributes["padding"]).tolist()]
    return lax.reduce_window(
        *operands,
        _first_of(region_fns[0]),
        window_dimensions=dimensions,
        window_strides=_optional(op, "window_strides"),
        padding=padding,
        base_dilation=_optional(op, "base_dilations"),
        window_dilation=_optional(op, "window_dilations"),
    )


def _first_of(region_fn: RegionFn) -> Callable[..., jax.Array]:
    return lambda *arguments: region_fn(*arguments)[0]


def _sort(op, operands, region_fns):
    key, is_descending = regions.sort_order(op)
    keys = operands[key]
    if is_descending:
        reverse = lax.bitwise_not if np.issubdtype(keys.dtype, np.integer) else lax.neg
        keys = reverse(keys)
    _, *sorted_operands = lax.sort(
        [keys, *operands],
        dimension=_number(op, "dimension"),
        is_stable=_flag(op, "is_stable"),
        num_keys=1,
    )
    return sorted_operands


def _while(op, operands, region_fns):
    condition, body = region_fns
    return lax.while_loop(
        lambda carried: condition(*carried)[0],
        lambda carried: tuple(body(*carried)),
        tuple(operands),
    )


def _if(op, operands, region_fns):
    when_true, when_false = region_fns
    return lax.cond(operands[0], lambda: tuple(when_true()), lambda: tuple(when_false()))


def _case(op, operands, region_fns):
    """A branch by number; the last is also that of numbers out of range."""
    last = len(region_fns) - 1
    index = operands[0]
    index = lax.select((index < 0) | (index > last), lax.full_like(index, last), index)
    return lax.switch(index, [lambda fn=fn: tuple(fn()) for fn in region_fns])


def _rng_bit_generator(op, operands, region_fns):
    algorithm = str(op.attributes["rng_algorithm"])
    if not re.search(r"\bPHILOX\b", algorithm):
        raise UnsupportedProgramError(f"random bits by another generator than Philox: {algorithm}")
    bits = op.results[1]
    return philox.generate(operands[0], _shape(bits), regions.find_dtype(bits))


def _reduce_precision(op, operands, region_fns):
    return lax.reduce_precision(
        operands[0], _number(op, "exponent_bits"), _number(op, "mantissa_bits")
    )


def _optimization_barrier(op, operands, region_fns):
    return operands


_SPECIAL: dict[str, ApplyFn] = {
    "bitcast_convert": _bitcast_convert,
    "broadcast_in_dim": _broadcast_in_dim,
    "case": _case,
    "compare": _compare,
    "concatenate": _concatenate,
    "constant": _constant,
    "convert": _convert,
    "convolution": _convolution,
    "dot": _dot,
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "get_dimension_size": _get_dimension_size,
    "if": _if,
    "iota": _iota,
    "optimization_barrier": _optimization_barrier,
    "pad": _pad,
    "reduce": _reduce,
    "reduce_precision": _reduce_precision,
    "reduce_window": _reduce_window,
    "reshape": _reshape,
    "reverse": _reverse,
    "rng_bit_generator": _rng_bit_generator,
    "scatter": _scatter,
    "set_dimension_size": _set_dimension_size,
    "slice": _slice,
    "sort": _sort,
    "transpose": _transpose,
    "while": _while,
}
