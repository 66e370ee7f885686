"""Serialised TensorFlow computations as functions over flat lists of tensors."""

# Tested in tests/execution/test_forms.py.

import collections
import copy
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import stateless_random

_unique_numbers = itertools.count()


class GraphFunction:
    """A computation of plain TensorFlow over flat lists of tensors.

    Called while a `tf.function` is traced it becomes part of it; called eagerly it runs. Tensors
    are in the order of TFF's types: declaration order, where `tf.nest` would sort keys.

    Attributes:
      computation: The computation itself.
      type_signature: Type signature of the computation.
      ops: Number of operations of each kind, in the graph and in its functions.
      is_random: Whether it draws random numbers from what `random_input` gives it.
      draws_stateless_floats: Whether it draws numbers that would be others under XLA.
      is_seeded: Whether it draws random numbers that are the same at each call.
      stateful_random_ops: Kinds of random operations that draw from TensorFlow's own state.
      inputs: Symbolic tensors of the leaves of the parameter.
      outputs: Symbolic tensors of the leaves of the result.
    """

    def __init__(self, computation: tff.Computation) -> None:
        """Imports the computation's graph.

        Args:
          computation: Computation of plain TensorFlow, as made by `tff.tensorflow.computation`.

        Raises:
          TypeError: If it is anything else.
        """
        proto = tff.framework.ConcreteComputation.get_proto(computation)
        if proto.WhichOneof("computation") != "tensorflow":
            raise TypeError(f"expected plain TensorFlow, found {computation.type_signature}")
        self.computation = computation
        self.type_signature = computation.type_signature
        graph_def = _read_graph(proto.tensorflow)
        self.draws_stateless_floats = stateless_random.draws_stateless_floats(graph_def)
        rewriting = stateless_random.rewrite(graph_def)
        random_inputs = rewriting.inputs
        self.is_random = random_inputs is not None
        self.is_seeded = rewriting.is_seeded
        self.stateful_random_ops = stateless_random.stateful_ops(graph_def)
        self.ops = _count_ops(graph_def)
        input_names = _bound_names(proto.tensorflow.parameter)
        output_names = _bound_names(proto.tensorflow.result)
        imported = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph_def, name=""), []
        )
        graph = imported.graph
        self._imported = imported
        _free_variables_with(imported)
        self.inputs = [graph.get_tensor_by_name(name) for name in input_names]
        self.outputs = [graph.get_tensor_by_name(name) for name in output_names]
        self._random_inputs = []
        if random_inputs is not None:
            names = (random_inputs.key, random_inputs.counter)
            self._random_inputs = [graph.get_tensor_by_name(name) for name in names]
        names = input_names if random_inputs is None else [*input_names, *names]
        inputs = [*self.inputs, *self._random_inputs]
        self._function = _import_function(graph_def, inputs, output_names)
        self._initialize = None
        if proto.tensorflow.initialize_op:
            operation = graph.get_operation_by_name(proto.tensorflow.initialize_op)
            self._initialize = imported.prune([*self.inputs, *self._random_inputs], operation)

    @property
    def has_initializer(self) -> bool:
        """Whether variables or tables must be initialised before each call."""
        return self._initialize is not None

    def __call__(
        self, inputs: Sequence[tf.Tensor], random_input: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Runs the computation, or adds it to the function that is being traced.

        Args:
          inputs: Input tensors, one for each leaf of the parameter.
          random_input: uint64 [2], key of random operations, never given twice; needed if
            `is_random`.

        Returns:
          One tensor for each leaf of the result.
        """
        return list(self._function(*self._join(inputs, random_input)))

    def _join(
        self, inputs: Sequence[tf.Tensor], random_input: tf.Tensor | None
    ) -> Sequence[tf.Tensor]:
        return [*inputs, random_input[:1], random_input[1]] if self.is_random else inputs

    def replace_outputs(self, outputs: Sequence[tf.Tensor]) -> "GraphFunction":
        """The same computation with other results.

        Args:
          outputs: Symbolic tensors of this computation's graph.

        Returns:
          A function like this one; its `type_signature` is still that of this one.
        """
        other = copy.copy(self)
        other.outputs = list(outputs)
        other._function = other._build_function(other.outputs)
        return other

    def _build_function(self, outputs: Sequence[tf.Tensor]) -> Callable[..., list[tf.Tensor]]:
        inputs = [*self.inputs, *self._random_inputs]
        return create_concrete_function(self._imported, inputs, outputs)

    def initialize(
        self, inputs: Sequence[tf.Tensor], random_input: tf.Tensor | None = None
    ) -> None:
        """Initialises variables and tables; does nothing where there are none.

        Args:
          inputs: Inputs of the call that follows: a first value may be one of them.
          random_input: Key of random operations of the call that follows.
        """
        if self._initialize is not None:
            self._initialize(*map(tf.convert_to_tensor, self._join(inputs, random_input)))


def create_concrete_function(
    imported: Any, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]
) -> Callable[..., list[tf.Tensor]]:
    """Makes a function of a part of a graph.

    Args:
      imported: The graph, as `tf.compat.v1.wrap_function` returned it.
      inputs: Symbolic tensors of it.
      outputs: Symbolic tensors of it that follow from them.

    Returns:
      A function of one known signature: calls of the others cost milliseconds.
    """
    # Pruning leaves TFF's session token behind, a placeholder that XLA refuses.
    pruned = imported.prune(inputs, outputs)
    return tf.function(
        lambda *arguments: pruned(*arguments),
        input_signature=[tf.TensorSpec(t.shape, t.dtype) for t in inputs],
        autograph=False,
    ).get_concrete_function()


def _import_function(
    graph_def: tf.compat.v1.GraphDef, inputs: Sequence[tf.Tensor], output_names: Sequence[str]
) -> Callable[..., list[tf.Tensor]]:
    """What `create_concrete_function` makes, for less, of a graph to which nothing was added."""
    nodes = [name.partition(":")[0] for name in output_names]
    # TFF's session token is left behind, a placeholder that XLA refuses.
    needed = tf.compat.v1.graph_util.extract_sub_graph(graph_def, nodes)
    there = {node.name for node in needed.node}

    def call(*arguments: tf.Tensor) -> list[tf.Tensor]:
        given = {
            tensor.name: argument
            for tensor, argument in zip(inputs, arguments, strict=True)
            if tensor.op.name in there
        }
        return tf.graph_util.import_graph_def(
            needed, input_map=given, return_elements=output_names, name=""
        )

    return tf.function(
        call, input_signature=[tf.TensorSpec(t.shape, t.dtype) for t in inputs], autograph=False
    ).get_concrete_function()


def _free_variables_with(imported: Any) -> None:
    """Has the variables of a graph freed with it: nothing else does before the process ends."""
    graph = imported.graph
    handles = [op.outputs[0] for op in graph.get_operations() if op.type == "VarHandleOp"]
    if handles:
        with tf.init_scope():
            found = imported.prune([], handles)()
        weakref.finalize(imported, _destroy, found).atexit = False


def _destroy(handles: Sequence[tf.Tensor]) -> None:
    with tf.init_scope():
        for handle in handles:
            tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)


def _bound_names(binding: object) -> list[str]:
    """The names of a binding's tensors, in the order of the type's leaves."""
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        return [binding.tensor.tensor_name]
    if kind == "sequence":
        return [binding.sequence.variant_tensor_name]
    if kind == "struct":
        return [name for element in binding.struct.element for name in _bound_names(element)]
    return []


def _read_graph(graph: object) -> tf.compat.v1.GraphDef:
    graph_def = tf.compat.v1.GraphDef()
    graph.graph_def.Unpack(graph_def)
    name = f"tff{next(_unique_numbers)}"
    _rename_functions(graph_def, f"__{name}")
    _separate_resources(graph_def, name)
    return graph_def


def _count_ops(graph_def: tf.compat.v1.GraphDef) -> collections.Counter[str]:
    return collections.Counter(node.op for node in _all_nodes(graph_def))


def _all_nodes(graph_def: tf.compat.v1.GraphDef) -> Iterator[tf.compat.v1.NodeDef]:
    """The nodes of a graph and of its functions."""
    functions = graph_def.library.function
    return itertools.chain(graph_def.node, *(f.node_def for f in functions))


def _separate_resources(graph_def: tf.compat.v1.GraphDef, container: str) -> None:
    """Keeps variables and tables apart from those of other graphs of this process.

    They are found by their names, and graphs that were made by themselves have the same ones:
    metrics of Keras are called `total` and `count` in all.
    """
    for node in _all_nodes(graph_def):
        if "container" in node.attr:
            node.attr["container"].s = container.encode()


def _rename_functions(graph_def: tf.compat.v1.GraphDef, suffix: str) -> None:
    """Gives library functions names that no other graph of this process has."""
    names = {function.signature.name for function in graph_def.library.function}
    for function in graph_def.library.function:
        function.signature.name += suffix
    for gradient in graph_def.library.gradient:
        gradient.function_name += suffix
        gradient.gradient_func += suffix
    for node in _all_nodes(graph_def):
        if node.op in names:
            node.op += suffix
        for value in node.attr.values():
            for func in (value.func, *value.list.func):
                if func.name in names:
                    func.name += suffix
