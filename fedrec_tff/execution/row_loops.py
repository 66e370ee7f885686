"""Loops that carry tables and write some rows of them at a time, run in place.

`tf.while_loop` with a body that reads rows of a table by `tf.gather` and returns it with others, by
`tf.tensor_scatter_nd_update`: run as one graph it needs a second table for the first chunk.
Here the body runs by itself, chunk after chunk, and what it returns of a table are rows, which are
written where the table lies. What a body reads of a table it has read before anything is written.
"""

# Tested in tests/execution/test_row_loops.py.

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph

from fedrec_tff.execution import graph_functions

_LOOPS = ("While", "StatelessWhile")
_READS = ("GatherV2", "StridedSlice")
_VIEWS = ("ExpandDims", "Identity", "Reshape", "Squeeze", "StridedSlice")
_WRITE = "TensorScatterUpdate"
# A table, int32 or int64 [rows, 1], and what is written there.
Write = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class RowLoop:
    """A loop that tables are carried by, and written in.

    Attributes:
      operation: The loop.
      tables: For each table its position among what is carried, and among the graph's inputs.
      results: For each output of the graph that is carried, as the loop leaves it, its position
        among the outputs, and among what is carried.
    """

    operation: tf.Operation
    tables: Mapping[int, int]
    results: Mapping[int, int]


def find(
    function: graph_functions.GraphFunction, num_tables: int, first_result: int
) -> RowLoop | None:
    """Finds the loop that leaves inputs as they are but for some of their rows.

    Args:
      function: The graph.
      num_tables: Number of inputs, the first ones, that may be written.
      first_result: Position of the first output that counts; those before are dropped.

    Returns:
      The loop; None if there is none, or several, if another result waits for it, or if a table is
      used in more ways than that.
    """
    outputs = [skip_identities(tensor) for tensor in function.outputs]
    results = {
        index: outputs[index].value_index
        for index in range(first_result, len(outputs))
        if outputs[index].op.type in _LOOPS
    }
    loops = {outputs[index].op.name: outputs[index].op for index in results}
    if len(loops) != 1:
        return None
    (operation,) = loops.values()
    places = {tensor.name: index for index, tensor in enumerate(function.inputs[:num_tables])}
    sources = [places.get(skip_identities(tensor).name) for tensor in operation.inputs]
    body = _Body(operation)
    tables = {
        carried: sources[carried]
        for carried in results.values()
        if sources[carried] is not None and body.find_write(carried) is not None
    }
    others = [tensor for index, tensor in enumerate(outputs) if index not in results]
    kept = {places.get(tensor.name) for tensor in others[first_result:]}
    is_alone = all(sources.count(place) == 1 and place not in kept for place in tables.values())
    waits = [*others, *operation.inputs]
    if not tables or not is_alone or _is_needed_by(operation, waits):
        return None
    return RowLoop(operation, tables, results)


def skip_identities(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor that this one is, under another name."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _skip_views(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory this one may share."""
    while tensor.op.type in _VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _is_needed_by(operation: tf.Operation, tensors: Sequence[tf.Tensor]) -> bool:
    """Whether tensors depend on an operation."""
    waiting, seen = [tensor.op for tensor in tensors], set()
    while waiting:
        current = waiting.pop()
        if current is operation:
            return True
        if current.name not in seen:
            seen.add(current.name)
            waiting += [tensor.op for tensor in current.inputs]
            waiting += current.control_inputs
    return False


class _Body:
    """The body of a loop as a graph of its own."""

    def __init__(self, operation: tf.Operation) -> None:
        self.graph = _FunctionGraph(operation, "body")

    def find_write(self, index: int) -> tf.Operation | None:
        """The operation that writes a table's rows, if the body reads rows of it and writes some.

        Args:
          index: Position of the table among what is carried.
        """
        table = self.graph.inputs[index]
        written = skip_identities(self.graph.outputs[index]).op
        if written.type != _WRITE or skip_identities(written.inputs[0]) is not table:
            return None
        row_ids = written.inputs[1]
        is_rows = row_ids.shape.rank == 2 and row_ids.shape[-1] == 1
        is_alone = all(
            _skip_views(output) is not table
            for position, output in enumerate(self.graph.outputs)
            if position != index
        )
        reads = [reader for reader in _find_readers(table) if reader is not written]
        reads_rows = all(reader.type in _READS for reader in reads)
        return written if is_rows and is_alone and reads_rows else None


def _find_readers(tensor: tf.Tensor) -> list[tf.Operation]:
    """The operations that take a tensor, whatever it is called meanwhile."""
    found = []
    for reader in tensor.consumers():
        found += _find_readers(reader.outputs[0]) if reader.type == "Identity" else [reader]
    return found


class _FunctionGraph:
    """A function that an operation of a graph names, imported."""

    def __init__(self, operation: tf.Operation, attribute: str) -> None:
        library = operation.graph.as_graph_def().library
        definitions = {function.signature.name: function for function in library.function}
        definition = definitions[operation.get_attr(attribute).name]
        shapes = [tensor.shape for tensor in operation.inputs]
        with operation.graph.as_default():
            graph_def, names = function_def_to_graph.function_def_to_graph_def(definition, shapes)
        graph_def.library.CopyFrom(library)
        self._imported = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph_def, name=""), []
        )
        graph = self._imported.graph
        signature = definition.signature
        self.inputs = [graph.get_tensor_by_name(f"{a.name}:0") for a in signature.input_arg]
        self.outputs = [
            graph.get_tensor_by_name(names[definition.ret[a.name]]) for a in signature.output_arg
        ]

    def create_function(self, outputs: Sequence[tf.Tensor]) -> Callable[..., list[tf.Tensor]]:
        """A function of what is carried; what it has no need of is not handed on, for speed."""
        needed = [i for i, tensor in enumerate(self.inputs) if _is_needed_by(tensor.op, outputs)]
        function = graph_functions.create_concrete_function(
            self._imported, [self.inputs[index] for index in needed], outputs
        )
        return lambda carried: function(*[carried[index] for index in needed])


class LoopRunner:
    """Runs a loop, and has rows written by somebody else."""

    def __init__(self, loop: RowLoop) -> None:
        """Initialises the runner.

        Args:
          loop: What `find` found.
        """
        body = _Body(loop.operation)
        self._tables = list(loop.tables)
        self._others = [
            index
            for index, output in enumerate(body.graph.outputs)
            if index not in loop.tables and skip_identities(output) is not body.graph.inputs[index]
        ]
        outputs = [body.graph.outputs[index] for index in self._others]
        for index in self._tables:
            _, row_ids, rows = body.find_write(index).inputs
            outputs += [row_ids, rows]
        self._body = body.graph.create_function(outputs)
        condition = _FunctionGraph(loop.operation, "cond")
        self._goes_on = condition.create_function(condition.outputs)

    def run(
        self, carried: Sequence[tf.Tensor], write: Callable[[list[Write]], Any]
    ) -> list[tf.Tensor]:
        """Runs the loop.

        Args:
          carried: What the loop begins with; its tables are written.
          write: Function that writes rows into tables, in place.

        Returns:
          What is carried at the end.
        """
        carried = list(carried)
        tables = [carried[index] for index in self._tables]
        while self._goes_on(carried)[0]:
            results = self._body(carried)
            rows = results[len(self._others) :]
            write(list(zip(tables, rows[::2], rows[1::2], strict=True)))
            for index, value in zip(self._others, results, strict=False):
                carried[index] = value
        return carried
