"""Computations that are no round: their steps one after the other, as they are written.

What has no MapReduce form: values that stay at clients, a broadcast of an aggregate. Every step
runs as a plain graph, client by client; nothing is compiled.
"""

# Tested in tests/execution/test_step_by_step.py.

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff.execution import entropy, exceptions, rounds, stacking, tensors, values
from fedrec_tff.execution.graph_functions import GraphFunction

_SELECT = "federated_select"

# Values are tensors, TFF's structures of them, functions, and what is placed at clients.


@dataclasses.dataclass(frozen=True, eq=False)
class _AtClients:
    """One value for each client."""

    members: list[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class _AllEqual:
    """One value that all clients have, however many there are."""

    member: Any


def extract(computation: tff.Computation) -> "StepByStep | None":
    """The steps of a computation; None if there are some that only a round can do, or none can.

    Args:
      computation: Computation that has no MapReduce form.
    """
    block = computation.to_building_block()
    block, _ = tff.tensorflow.replace_intrinsics_with_bodies(block)
    block = tff.framework.to_call_dominant(block)
    intrinsics = set()

    def note(inner):
        if isinstance(inner, tff.framework.Intrinsic):
            intrinsics.add(inner.uri)
        return inner, False

    tff.framework.transform_postorder(block, note)
    can_run = intrinsics <= {_SELECT, *_INTRINSICS}
    return StepByStep(computation, block) if can_run else None


class StepByStep:
    """A computation as its steps."""

    def __init__(
        self, computation: tff.Computation, block: tff.framework.ComputationBuildingBlock
    ) -> None:
        """Initialises the steps; `block` is the computation in TFF's call-dominant form."""
        self._type = computation.type_signature
        self._block = block
        # By the identity of blocks, which live as long as the whole.
        self._functions: dict[int, GraphFunction] = {}

    def run(self, argument: Any, keys: entropy.RoundKeys) -> Any:
        """Runs the steps.

        Args:
          argument: Argument of the computation; None if it takes none.
          keys: Keys of random operations.

        Returns:
          The result, in the containers of its type; of what is placed at clients, a list.

        Raises:
          ClientStructureError: If a client is not of its type.
          ExecutionError: If an operation fails.
          TypeError: If another argument is not of its type.
        """
        cohorts: list[int] = []
        parameter = None
        if self._type.parameter is not None:
            parameter = _take_in(argument, self._type.parameter, cohorts)
        if len(set(cohorts)) > 1:
            raise TypeError("the arguments placed at clients have different numbers of clients")
        run = _Run(self._functions, keys, cohorts[0] if cohorts else None)
        result = run.evaluate(self._block, {})
        if self._type.parameter is not None or callable(result):
            result = result(parameter)
        given_out = run.give_out(result, self._type.result)
        return tff.types.type_to_py_container(given_out, self._type.result)


class _Run:
    """One run of a computation's steps."""

    def __init__(
        self, functions: dict[int, GraphFunction], keys: entropy.RoundKeys, num_clients: int | None
    ) -> None:
        self._functions = functions
        self._keys = keys
        self._num_clients = num_clients
        self._num_steps = 0
        self._where = ""

    def evaluate(self, block: Any, names: dict[str, Any]) -> Any:
        """The value of a part of the computation."""
        match block:
            case tff.framework.Reference():
                return names[block.name]
            case tff.framework.Selection():
                source = self.evaluate(block.source, names)
                return source[block.index] if block.name is None else source[block.name]
            case tff.framework.Struct():
                elements = tff.structure.to_elements(block)
                return tff.structure.Struct([(n, self.evaluate(e, names)) for n, e in elements])
            case tff.framework.Block():
                for name, local in block.locals:
                    names = {**names, name: self.evaluate(local, names)}
                return self.evaluate(block.result, names)
            case tff.framework.Lambda():
                return lambda argument=None: self.evaluate(
                    block.result, {**names, block.parameter_name: argument}
                )
            case tff.framework.Call():
                function = self.evaluate(block.function, names)
                if block.argument is None:
                    return function()
                return function(self.evaluate(block.argument, names))
            case tff.framework.Literal():
                return tf.constant(block.value, block.type_signature.dtype)
            case tff.framework.CompiledComputation():
                return lambda argument=None: self._call(block, argument)
            case tff.framework.Intrinsic():
                if block.uri == _SELECT:
                    slices_type = block.type_signature.result.member
                    return lambda argument: _select(self, argument, slices_type)
                return lambda argument: _INTRINSICS[block.uri](self, argument)
        raise exceptions.UnsupportedComputationError(f"a computation with a {type(block).__name__}")

    def _call(self, block: tff.framework.CompiledComputation, argument: Any) -> Any:
        """Runs a plain graph."""
        function = self._functions.get(id(block))
        if function is None:
            computation = tff.framework.ConcreteComputation.from_building_block(block)
            function = self._functions[id(block)] = GraphFunction(computation)
            rounds.check_is_graph_alone("a step", function)
        self._num_steps += 1
        inputs = [] if argument is None else tff.structure.flatten(argument)
        stage = f"step {self._num_steps}{self._where}"
        results = rounds.run_stage(stage, function, inputs, self._keys)
        return values.build(results, function.type_signature.result)

    def at_each(self, function: Callable[..., Any], value: Any) -> _AtClients:
        """A function of what each client has."""
        members = []
        for position, member in enumerate(self.members(value)):
            self._where = f" of client {position} of the cohort"
            members.append(function(member))
        self._where = ""
        return _AtClients(members)

    def members(self, value: _AtClients | _AllEqual) -> list[Any]:
        """What each client has."""
        if isinstance(value, _AtClients):
            return value.members
        if self._num_clients is None:
            raise exceptions.UnsupportedComputationError(
                "no argument of this computation is placed at clients, so that nothing says how "
                "many there are"
            )
        return [value.member] * self._num_clients

    def give_out(self, value: Any, type_spec: tff.Type) -> Any:
        """A value as TFF's contexts return it, but for the containers of Python."""
        if isinstance(type_spec, tff.StructType):
            elements = zip(value, tff.structure.to_elements(type_spec), strict=True)
            return tff.structure.Struct([(n, self.give_out(v, t)) for v, (n, t) in elements])
        if not isinstance(type_spec, tff.FederatedType):
            return tensors.to_arrays([value], [type_spec])[0]
        if type_spec.placement is tff.SERVER:
            return self.give_out(value, type_spec.member)
        if type_spec.all_equal:
            return self.give_out(value.member, type_spec.member)
        return [self.give_out(member, type_spec.member) for member in self.members(value)]


def _take_in(value: Any, type_spec: tff.Type, cohorts: list[int]) -> Any:
    """An argument as tensors; the sizes of cohorts are noted."""
    if isinstance(type_spec, tff.StructType):
        parts = values.match(value, type_spec, "the argument")
        elements = zip(parts, tff.structure.to_elements(type_spec), strict=True)
        return tff.structure.Struct([(n, _take_in(v, t, cohorts)) for v, (n, t) in elements])
    if not isinstance(type_spec, tff.FederatedType):
        return tensors.to_tensors([value], [type_spec])[0]
    if type_spec.placement is tff.SERVER:
        return _take_in(value, type_spec.member, cohorts)
    if type_spec.all_equal:
        return _AllEqual(_take_in(value, type_spec.member, cohorts))
    members = list(_take_in_clients(value, type_spec.member))
    cohorts.append(len(members))
    return _AtClients(members)


def _take_in_clients(clients: Any, client_type: tff.Type) -> Iterator[Any]:
    types = values.leaf_types(client_type)
    members = dict(stacking.iterate(clients, client_type))
    for position in sorted(members):
        try:
            yield values.build(tensors.to_tensors(members[position], types), client_type)
            continue
        except TypeError as error:
            reason = str(error)
        raise exceptions.ClientStructureError(f"client {position} of the cohort: {reason}")


def _map(run: _Run, argument: Any) -> Any:
    function, value = argument
    return run.at_each(function, value)


def _map_all_equal(run: _Run, argument: Any) -> Any:
    function, value = argument
    return _AllEqual(function(value.member))


def _zip_at_clients(run: _Run, argument: Any) -> Any:
    names = tff.structure.name_list_with_nones(argument)
    if all(isinstance(part, _AllEqual) for part in argument):
        members = (part.member for part in argument)
        return _AllEqual(tff.structure.Struct(zip(names, members, strict=True)))
    columns = [run.members(part) for part in argument]
    rows = zip(*columns, strict=True)
    return _AtClients([tff.structure.Struct(zip(names, row, strict=True)) for row in rows])


def _aggregate(run: _Run, argument: Any) -> Any:
    value, total, accumulate, _, report = argument
    for member in run.members(value):
        total = accumulate(tff.structure.Struct([(None, total), (None, member)]))
    return report(total)


def _select(run: _Run, argument: Any, slices_type: tff.SequenceType) -> _AtClients:
    keys, _, server_value, function = argument

    def select(client_keys):
        rows = [
            function(tff.structure.Struct([(None, server_value), (None, key)]))
            for key in tf.unstack(client_keys)
        ]
        slices = [values.pack(tff.structure.flatten(row), slices_type.element) for row in rows]
        return tensors.to_tensors([slices], [slices_type])[0]

    return run.at_each(select, keys)


_INTRINSICS: dict[str, Callable[[_Run, Any], Any]] = {
    "federated_aggregate": _aggregate,
    "federated_apply": lambda run, argument: argument[0](argument[1]),
    "federated_broadcast": lambda run, argument: _AllEqual(argument),
    "federated_eval_at_clients": lambda run, argument: run.at_each(
        lambda _: argument(), _AllEqual(None)
    ),
    "federated_eval_at_server": lambda run, argument: argument(),
    "federated_map": _map,
    "federated_map_all_equal": _map_all_equal,
    "federated_value_at_clients": lambda run, argument: _AllEqual(argument),
    "federated_value_at_server": lambda run, argument: argument,
    "federated_zip_at_clients": _zip_at_clients,
    "federated_zip_at_server": lambda run, argument: argument,
}
