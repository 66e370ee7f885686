"""Programs that TensorFlow lowered, as functions of JAX, which JAX can make batches of."""

# Tested in tests/accelerator/test_operations.py.

from collections.abc import Sequence

import jax
from jax._src.interpreters import mlir
from jax._src.lib import _jax, xla_client
from jaxlib.mlir import ir

from fedrec_tff.accelerator.worker import operations
from fedrec_tff.accelerator.worker.errors import UnsupportedProgramError

_RETURNS = ("func.return", "stablehlo.return")


class Program:
    """A program over a flat list of arrays, from XLA's serialised form of it."""

    def __init__(self, serialized: bytes) -> None:
        """Reads a program.

        Args:
          serialized: A serialised `HloModuleProto`.
        """
        computation = xla_client.XlaComputation(serialized)
        text = _jax.mlir.xla_computation_to_mlir_module(computation)
        self._context = mlir.make_ir_context()
        with self._context:
            self._module = ir.Module.parse(text)
        self._functions = {
            ir.StringAttr(function.attributes["sym_name"]).value: function
            for function in self._module.body
        }

    def __call__(self, *arguments: jax.Array) -> list[jax.Array]:
        """Applies the program: eagerly, or as a part of what JAX traces.

        Args:
          *arguments: The program's parameters.

        Returns:
          Its results.

        Raises:
          UnsupportedProgramError: If it holds an operation that has no counterpart in JAX, or was
            made for the values of some of its parameters.
        """
        (block,) = self._functions["main"].regions[0].blocks
        # TensorFlow makes constants of them, and leaves them out.
        if len(block.arguments) != len(arguments):
            raise UnsupportedProgramError(
                "it asks values of a client, or of the server, when it is compiled: as the bounds "
                "of a slice, or as a shape"
            )
        with self._context:
            return self._call("main", arguments)

    def _call(self, name: str, arguments: Sequence[jax.Array]) -> list[jax.Array]:
        (block,) = self._functions[name].regions[0].blocks
        return self._run(block, arguments, {})

    def _run(
        self, block: ir.Block, arguments: Sequence[jax.Array], outer: dict[ir.Value, jax.Array]
    ) -> list[jax.Array]:
        """Runs a block; `outer` are the values that stand around it."""
        known = {**outer, **dict(zip(block.arguments, arguments, strict=True))}
        for operation in block.operations:
            op = operation.operation
            operands = [known[operand] for operand in op.operands]
            if op.name in _RETURNS:
                return operands
            results = self._apply(op, operands, known)
            known.update(zip(op.results, results, strict=True))
        raise UnsupportedProgramError("a block without a return")

    def _apply(
        self, op: ir.Operation, operands: list[jax.Array], known: dict[ir.Value, jax.Array]
    ) -> Sequence[jax.Array]:
        if op.name in ("func.call", "call"):
            callee = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
            return self._call(callee, operands)
        regions = [self._create_function(region, known) for region in op.regions]
        return operations.apply(op, operands, regions)

    def _create_function(
        self, region: ir.Region, known: dict[ir.Value, jax.Array]
    ) -> operations.RegionFn:
        (block,) = region.blocks
        return lambda *arguments: self._run(block, arguments, known)
