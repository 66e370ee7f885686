"""What a compiled program makes a device do: kernels, the bytes they move, the numbers they add.

Bytes are counted as XLA's own analysis does it: of an operand that is only indexed, what is read of
it; of an array that is updated in place, what is written. An operation on an element counts as one,
a product of matrices as a multiplication and an addition for each pair.
"""

# Tested in tests/benchmarks/accelerator/test_kernels.py.

import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Sequence

from fedrec_tff.benchmarks.accelerator.hlo_text import Operation, Program

# Names for what is there already, or known when the program is compiled.
_FREE = {
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "copy-done",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "slice-done",
    "tuple",
}
_MOVES = {
    "broadcast",
    "concatenate",
    "copy",
    "copy-start",
    "dynamic-slice",
    "dynamic-update-slice",
    "gather",
    "iota",
    "pad",
    "reshape",
    "reverse",
    "slice",
    "slice-start",
    "transpose",
}
_INDEXED_READS = {"dynamic-slice", "gather", "slice"}
_ALIASES = {"bitcast", "copy", "reshape"}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What a device does at one launch.

    Attributes:
      name: The operation's name.
      opcode: What it does.
      executions: How often the program launches it.
      num_bytes: Bytes read and written at one launch.
      product_flops: Operations of products of matrices at one launch.
      other_flops: Operations on single elements at one launch.
      cycles: The compiler's estimate of a launch; None if it has none.
    """

    name: str
    opcode: str
    executions: int
    num_bytes: float
    product_flops: float
    other_flops: float
    cycles: int | None = None


def list_kernels(program: Program, trip_counts: Sequence[int] = ()) -> list[Kernel]:
    """Lists what one execution of a program launches.

    Args:
      program: A program after XLA's optimisations, as it is run.
      trip_counts: How often each loop runs whose trips the compiler does not know, in the order in
        which they are executed, an outer one before what is in it.

    Returns:
      The kernels.

    Raises:
      ValueError: If there are more or fewer such loops.
    """
    remaining = list(trip_counts)
    kernels = list(_walk(program, program.entry, 1, remaining))
    if remaining:
        raise ValueError(f"the program has {len(remaining)} loops fewer than trip counts")
    return kernels


def _walk(
    program: Program, computation: str, executions: int, trip_counts: list[int]
) -> Iterator[Kernel]:
    operations = program.computations[computation]
    for op in operations.values():
        if op.opcode in _FREE:
            continue
        if op.opcode == "while":
            trips = op.known_trip_count
            if trips is None:
                if not trip_counts:
                    raise ValueError(f"how often does the loop {op.name} run?")
                trips = trip_counts.pop(0)
            yield from _walk(program, op.called("condition"), executions * (trips + 1), trip_counts)
            yield from _walk(program, op.called("body"), executions * trips, trip_counts)
        elif op.opcode == "call":
            yield from _walk(program, op.called("to_apply"), executions, trip_counts)
        else:
            products, others = _count_flops(program, operations, op)
            num_bytes = _count_bytes(program, operations, op)
            yield Kernel(
                op.name, op.opcode, executions, num_bytes, products, others, op.estimated_cycles
            )


def _count_flops(
    program: Program, operations: dict[str, Operation], op: Operation
) -> tuple[float, float]:
    """Operations of products of matrices, and the others."""
    if op.opcode == "fusion":
        inner = program.computations[op.called("calls")]
        counts = [_count_flops(program, inner, part) for part in inner.values()]
        return sum(c[0] for c in counts), sum(c[1] for c in counts)
    size = sum(shape.size for shape in op.shapes)
    if op.opcode in _FREE or op.opcode in _MOVES:
        return 0.0, 0.0
    if op.opcode in ("dot", "convolution"):
        left, right = (operations[name].shapes[0] for name in op.operands[:2])
        if op.opcode == "dot":
            contracted = (left.dimensions[d] for d in op.numbers("lhs_contracting_dims"))
            return 2.0 * size * math.prod(contracted), 0.0
        # Each element of the result is a sum over the kernel of one feature; windows are taken as
        # full, at the edges, too.
        labels = re.search(r"dim_labels=\w+?_(\w+)->", op.attributes)[1]
        features = labels.index("o")
        # What is dilated is mostly padding: XLA writes batches of products so for TPUs.
        dilation = re.search(r"lhs_dilate=([\dx]+)", op.attributes)
        padding = math.prod(int(d) for d in dilation[1].split("x")) if dilation else 1
        return 2.0 * size * right.size / right.dimensions[features] / padding, 0.0
    if op.opcode in ("reduce", "reduce-window"):
        operands = op.operands[: len(op.operands) // 2]
        return 0.0, float(sum(operations[name].shapes[0].size for name in operands))
    if op.opcode == "sort":
        longest = op.shapes[0].dimensions[op.numbers("dimensions")[0]]
        return 0.0, size * math.log2(max(longest, 2))
    if op.opcode == "scatter":
        return 0.0, float(operations[op.operands[-1]].shapes[0].size)
    return 0.0, float(size)


def _count_bytes(program: Program, operations: dict[str, Operation], op: Operation) -> float:
    if op.opcode != "fusion":
        read = sum(_bytes_read(operations, name, [op]) for name in dict.fromkeys(op.operands))
        return read + _bytes_written(operations, op)
    inner = program.computations[op.called("calls")]
    parameters = [name for name, part in inner.items() if part.opcode == "parameter"]
    (root,) = (part for part in inner.values() if part.is_root)
    parts = [inner[name] for name in root.operands] if root.opcode == "tuple" else [root]
    written = sum(_bytes_written(inner, part) for part in parts)
    return written + sum(_bytes_read(inner, name, inner.values()) for name in parameters)


def _bytes_read(operations: dict[str, Operation], name: str, users: Collection[Operation]) -> float:
    """Bytes that are read of an operand, by those who use it."""
    whole = sum(shape.num_bytes for shape in operations[name].shapes)
    used = 0.0
    for user in users:
        if name not in user.operands:
            continue
        is_first = user.operands[0] == name and user.operands.count(name) == 1
        if user.opcode in _INDEXED_READS and is_first:
            used += sum(shape.num_bytes for shape in user.shapes)
        elif user.opcode == "dynamic-update-slice" and is_first:
            continue
        elif user.opcode == "scatter" and is_first:
            used += operations[user.operands[-1]].shapes[0].num_bytes
        elif user.opcode in _ALIASES and not user.is_root:
            used += _bytes_read(operations, user.name, users)
        else:
            return whole
    return min(used, whole)


def _bytes_written(operations: dict[str, Operation], op: Operation) -> float:
    while op.opcode == "bitcast":
        op = operations[op.operands[0]]
    if op.opcode == "dynamic-update-slice":
        return operations[op.operands[1]].shapes[0].num_bytes
    if op.opcode == "scatter":
        return operations[op.operands[-1]].shapes[0].num_bytes
    return sum(shape.num_bytes for shape in op.shapes)
