"""Compiled programs as XLA prints them: computations, their operations, and shapes."""

# Tested in tests/benchmarks/accelerator/test_kernels.py.

import dataclasses
import math
import re
from collections.abc import Iterable

_BITS = {"pred": 8, "s4": 4, "u4": 4, "bf16": 16, "token": 0}
_HEADER = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_OPERATION = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"^\s*([\w\-]+)\(")
_SHAPE = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array.

    Attributes:
      dtype: XLA's name of its dtype.
      dimensions: Its shape.
    """

    dtype: str
    dimensions: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.dimensions)

    @property
    def num_bytes(self) -> float:
        """The size in bytes."""
        bits = _BITS.get(self.dtype) or int(re.search(r"\d+", self.dtype)[0])
        return self.size * bits / 8


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a computation.

    Attributes:
      name: Its name, unique in the program.
      opcode: What it does.
      shapes: Its results.
      operands: Names of its operands.
      attributes: What is printed behind the operands.
      argument: What is printed between the parentheses.
      is_root: Whether it is the computation's result.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    attributes: str
    argument: str
    is_root: bool

    def called(self, attribute: str) -> str | None:
        """The name of the computation that an attribute names, as `body` of a loop."""
        found = re.search(rf"\b{attribute}=%([\w.\-]+)", self.attributes)
        return found[1] if found else None

    def numbers(self, attribute: str) -> tuple[int, ...]:
        """Numbers in braces, as `lhs_contracting_dims`."""
        found = re.search(rf"\b{attribute}=\{{([\d,]*)\}}", self.attributes)
        return tuple(int(number) for number in found[1].split(",") if number) if found else ()

    @property
    def known_trip_count(self) -> int | None:
        """How often a loop runs, where the compiler knows it."""
        found = _TRIPS.search(self.attributes)
        return int(found[1]) if found else None

    @property
    def estimated_cycles(self) -> int | None:
        """The compiler's own estimate, which it prints for TPUs."""
        found = _CYCLES.search(self.attributes)
        return int(found[1]) if found else None


@dataclasses.dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
      computations: Operations of each computation by their names, in the order of the text, which
        is that of execution.
      entry: The computation where it starts.
    """

    computations: dict[str, dict[str, Operation]]
    entry: str

    @property
    def loops(self) -> list[Operation]:
        """All loops."""
        return [op for op in self.operations() if op.opcode == "while"]

    def operations(self) -> Iterable[Operation]:
        """All operations of all computations."""
        for computation in self.computations.values():
            yield from computation.values()


def parse(text: str) -> Program:
    """Reads a program.

    Args:
      text: What `as_text` of a compiled program of JAX returns.

    Returns:
      The program.

    Raises:
      ValueError: If it has no entry.
    """
    computations: dict[str, dict[str, Operation]] = {}
    entry, current = None, None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif current is not None:
            found = _OPERATION.match(line)
            if found:
                current[found[2]] = _read_operation(found[2], found[3], bool(found[1]))
    if entry is None:
        raise ValueError("this is no program of XLA as text: it has no ENTRY")
    return Program(computations, entry)


def _read_operation(name: str, text: str, is_root: bool) -> Operation:
    end = _find_end(text, 0) if text.startswith("(") else text.index(" ")
    shapes = tuple(
        Shape(dtype, tuple(int(size) for size in sizes.split(",") if size))
        for dtype, sizes in _SHAPE.findall(text[:end])
    )
    opcode = _OPCODE.match(text[end:])
    start = end + opcode.end() - 1
    stop = _find_end(text, start)
    argument = text[start + 1 : stop - 1]
    operands = tuple(_NAME.findall(argument))
    return Operation(name, opcode[1], shapes, operands, text[stop:], argument, is_root)


def _find_end(text: str, start: int) -> int:
    """Where what the parenthesis at `start` opens is closed again."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError(f"a parenthesis is never closed: {text[:80]}")
