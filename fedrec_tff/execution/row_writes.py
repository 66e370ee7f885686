"""Large tables at the server that a round changes in a few rows, written in place.

A computation says so by `tf.tensor_scatter_nd_update` of a table that came in: in the graph of
`update` such a result is told apart into which rows change, and to what. Then TensorFlow need not
copy the table, which takes as long as it is large, and there is one of it in memory, not two. So it
may in a loop that writes some rows at a time; see `row_loops`.

What the caller gave is used up by that, as JAX's donated buffers are: it is an error to give it to
a computation again, and arrays that were read of it show the new rows.
"""

# Tested in tests/execution/test_row_writes.py and tests/execution/test_row_loops.py.

import dataclasses
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fedrec_tff.execution import row_loops, tensors
from fedrec_tff.execution.graph_functions import GraphFunction


@dataclasses.dataclass(frozen=True)
class RowWrite:
    """A result that is an input but for some of its rows.

    Attributes:
      input_index: Position of the table among the inputs.
      output_index: Position of the table among the outputs.
      row_ids: Symbolic int32 or int64 [rows, 1], which rows are written.
      rows: Symbolic tensor [rows, ...], what is written.
    """

    input_index: int
    output_index: int
    row_ids: tf.Tensor
    rows: tf.Tensor


def find(function: GraphFunction, num_tables: int, first_result: int) -> tuple[RowWrite, ...]:
    """Finds the results that are an input but for some of its rows.

    Args:
      function: The graph.
      num_tables: Number of inputs, the first ones, that may be written.
      first_result: Position of the first output that counts; those before are dropped.

    Returns:
      One for each such output. Not those whose table is a result as it was, too, nor those of a
      table that is written twice.
    """
    places = {tensor.name: index for index, tensor in enumerate(function.inputs[:num_tables])}
    found, sources = [], []
    for index, output in enumerate(function.outputs[first_result:], first_result):
        output = row_loops.skip_identities(output)
        if output.op.type == "TensorScatterUpdate":
            table, row_ids, rows = output.op.inputs
            place = places.get(row_loops.skip_identities(table).name)
            if place is not None and row_ids.shape[-1] == 1 and row_ids.shape.rank == 2:
                found.append(RowWrite(place, index, row_ids, rows))
                sources.append(place)
                continue
        sources.append(places.get(output.name))
    return tuple(write for write in found if sources.count(write.input_index) == 1)


class Tables:
    """The tables that rounds may write in place, because nobody else holds their memory."""

    def __init__(self) -> None:
        """Begins without any."""
        self._owned: dict[int, weakref.ref] = {}

    def take(self, table: tf.Tensor) -> tf.Tensor:
        """Makes a table writable: uses it up if it is one of these, else copies it.

        Args:
          table: Table to write.

        Returns:
          One of these, with the same rows.
        """
        known = self._owned.pop(_address(table), None)
        if known is None or known() is not table:
            return self._own(tf.raw_ops.DeepCopy(x=table))
        tensors.mark_used_up(table)
        # Another tensor of the same memory, so that the one that came in can be told from it.
        return self._own(tf.identity(table))

    def adopt(self, results: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Makes results one's own, of a graph that does not run again.

        What a graph returns may be a constant of it, or the same memory twice: such is copied.

        Args:
          results: Results of a computation without arguments, such as a first state.

        Returns:
          The results.
        """
        adopted, taken = [], []
        for tensor in results:
            if _may_be_table(tensor):
                begin = _address(tensor)
                end = begin + tensor.dtype.size * int(tf.size(tensor))
                if any(begin < other_end and other < end for other, other_end in taken):
                    tensor = tf.raw_ops.DeepCopy(x=tensor)
                taken.append((begin, end))
                self._own(tensor)
            adopted.append(tensor)
        return adopted

    def protect(self, results: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Copies what shares the memory of one of the tables, so that it stays as it is."""
        return [
            tf.raw_ops.DeepCopy(x=tensor)
            if _may_be_table(tensor) and _address(tensor) in self._owned
            else tensor
            for tensor in results
        ]

    def _own(self, table: tf.Tensor) -> tf.Tensor:
        address = _address(table)
        self._owned[address] = weakref.ref(table, lambda _: self._owned.pop(address, None))
        return table


def _may_be_table(tensor: tf.Tensor) -> bool:
    return tensor.dtype not in (tf.string, tf.variant) and bool(tensor.shape.rank)


def _address(tensor: tf.Tensor) -> int:
    return np.asarray(tensor).__array_interface__["data"][0]


def _write(table: tf.Tensor, row_ids: tf.Tensor, rows: tf.Tensor) -> None:
    if tf.size(rows):
        # The operation goes from row to row: of a stretch of rows, fewer and longer ones.
        ids = row_ids.numpy()[:, 0]
        is_stretch = (np.diff(ids) == 1).all()
        height = math.gcd(len(table), len(ids), int(ids[0])) if is_stretch else 1
        tf.raw_ops.InplaceUpdate(
            x=_join_rows(table, height),
            i=tf.constant(ids[::height] // height, tf.int32),
            v=_join_rows(rows, height),
        )


def _join_rows(table: tf.Tensor, height: int) -> tf.Tensor:
    """The same memory with so many rows in one."""
    return tf.reshape(table, [-1, height, *table.shape[1:]])


class WritingFunction:
    """A graph whose results are written into its inputs where they differ in a few rows alone."""

    def __init__(
        self,
        function: GraphFunction,
        writes: Sequence[RowWrite],
        loop: row_loops.RowLoop | None,
        tables: Tables,
    ) -> None:
        """Initialises the function.

        Args:
          function: The graph.
          writes: What `find` found in it.
          loop: What `row_loops.find` found in it.
          tables: Tables that may be written.
        """
        self._writes = writes
        self._loop = loop
        self._tables = tables
        written = {write.output_index for write in writes} | set(loop.results if loop else ())
        self._others = [i for i in range(len(function.outputs)) if i not in written]
        outputs = [function.outputs[index] for index in self._others]
        for write in writes:
            outputs += [write.row_ids, write.rows]
        if loop is not None:
            self._runner = row_loops.LoopRunner(loop)
            outputs += [
                tensor
                for index, tensor in enumerate(loop.operation.inputs)
                if index not in loop.tables
            ]
        self.function = function.replace_outputs(outputs)

    def finish(
        self,
        inputs: Sequence[tf.Tensor],
        results: Sequence[tf.Tensor],
        run_parallel: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]],
    ) -> list[tf.Tensor]:
        """Writes the rows, once the graph is done with the tables.

        Args:
          inputs: The inputs that `function` was called with.
          results: What it returned.
          run_parallel: Function that calls another with each of some arguments, at once.

        Returns:
          The outputs of the graph that this stands for.
        """
        remaining = iter(results)
        outputs = {index: next(remaining) for index in self._others}
        rows = [(next(remaining), next(remaining)) for _ in self._writes]
        tables = [self._tables.take(inputs[write.input_index]) for write in self._writes]
        jobs = [(table, *pair) for table, pair in zip(tables, rows, strict=True)]

        def write(jobs: list[row_loops.Write]) -> None:
            run_parallel(lambda job: _write(*job), jobs)

        write(jobs)
        for write, table in zip(self._writes, tables, strict=True):
            outputs[write.output_index] = table
        if self._loop is not None:
            outputs |= self._run_loop(inputs, list(remaining), write)
        return [outputs[index] for index in range(len(outputs))]

    def _run_loop(
        self,
        inputs: Sequence[tf.Tensor],
        others: list[tf.Tensor],
        write: Callable[[list[row_loops.Write]], None],
    ) -> dict[int, tf.Tensor]:
        """The outputs that the loop makes."""
        carried = [
            self._tables.take(inputs[self._loop.tables[index]])
            if index in self._loop.tables
            else others.pop(0)
            for index in range(len(self._loop.operation.inputs))
        ]
        carried = self._runner.run(carried, write)
        return {output: carried[index] for output, index in self._loop.results.items()}
