"""Computations taken apart: what runs on the server, and what runs for each client."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
from google.protobuf.internal import api_implementation

from fedrec_tff.execution import values
from fedrec_tff.execution.exceptions import UnsupportedComputationError
from fedrec_tff.execution.graph_functions import GraphFunction
from fedrec_tff.execution.secure_sum import SecureSumSlot

# The largest values of TFF's own secure sums have 62 bits, so that two of them fit an int64.
_MAX_BITWIDTH = 62


@dataclasses.dataclass(frozen=True, eq=False)
class LocalForm:
    """A computation without clients.

    Attributes:
      function: The whole computation as a graph.
    """

    function: GraphFunction


@dataclasses.dataclass(frozen=True, eq=False)
class ClientForm:
    """What is done of a computation for its clients, wherever that is.

    `work(client, prepared)` returns a value to be accumulated, and then what goes into secure sums.
    `accumulate` adds a value to what begins as `zero()`; `merge` adds two accumulators.

    Attributes:
      work: Function for the client's part.
      zero: Function that makes an empty accumulator.
      accumulate: Function that adds a client to an accumulator.
      merge: Function that adds two accumulators.
      slots: Descriptions of the tensors that secure sums add up.
      client_type: The type of one client.
    """

    work: GraphFunction
    zero: GraphFunction
    accumulate: GraphFunction
    merge: GraphFunction
    slots: tuple[SecureSumSlot, ...]
    client_type: tff.Type

    @property
    def accumulator_types(self) -> list[tff.TensorType]:
        """The leaves of an accumulator."""
        return values.leaf_types(self.zero.type_signature.result)


@dataclasses.dataclass(frozen=True, eq=False)
class FederatedForm(ClientForm):
    """A computation with clients, as TFF's `MapReduceForm`.

    `prepare(server)` is what clients are sent. `update(server, report(accumulator), *secure_sums)`
    returns `server` unchanged and the computation's result.

    Attributes:
      prepare: Function that makes what clients are sent.
      report: Function that turns the accumulator into what the server's part takes.
      update: Function for the server's part.
      parameter_type: The type of the computation's parameter, placed.
    """

    prepare: GraphFunction
    report: GraphFunction
    update: GraphFunction
    parameter_type: tff.Type

    @property
    def num_server_leaves(self) -> int:
        """The leaves of everything that is placed at the server."""
        return len(values.leaf_types(self.prepare.type_signature.parameter))

    def split_argument(self, argument: Any) -> tuple[list[Any], Any]:
        """Takes an argument apart.

        Args:
          argument: Argument of the computation, of type `parameter_type`.

        Returns:
          The leaves of what is placed at the server, and the cohort. Several arguments placed at
          clients become one list of tuples.

        Raises:
          TypeError: If the argument's structure differs.
        """
        server_leaves: list[Any] = []
        client_arguments: list[Any] = []
        for part, part_type in _placed_parts(argument, self.parameter_type):
            if part_type.placement is tff.SERVER:
                server_leaves += values.flatten(part, part_type.member)
            else:
                client_arguments.append(part)
        if len(client_arguments) == 1:
            return server_leaves, client_arguments[0]
        if len({len(argument) for argument in client_arguments}) > 1:
            raise TypeError("the arguments placed at clients have different numbers of clients")
        return server_leaves, list(zip(*client_arguments, strict=True))


def extract(computation: tff.Computation) -> LocalForm | FederatedForm:
    """Takes a computation apart.

    Args:
      computation: Computation to take apart.

    Returns:
      The form of the computation.

    Raises:
      UnsupportedComputationError: If it has no MapReduce form; the message says why.
    """
    proto = tff.framework.ConcreteComputation.get_proto(computation)
    if proto.WhichOneof("computation") == "tensorflow":
        return LocalForm(GraphFunction(computation))
    try:
        with _deep_messages():
            if _has_placement(computation.type_signature.parameter, tff.CLIENTS):
                return _extract_federated(computation)
            return LocalForm(GraphFunction(_extract_local(computation)))
    except UnsupportedComputationError:
        raise
    # TFF's compiler raises a dozen kinds of errors, some of them private.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedComputationError(
            f"this computation has no MapReduce form: {type(error).__name__}: {reason}"
        ) from error


@contextlib.contextmanager
def _deep_messages() -> Iterator[None]:
    """Lets protobuf parse more than 100 messages in each other.

    TFF copies computations by parsing them, and factories that are nested in factories, as those of
    distributed differential privacy, make deep ones.
    """
    if api_implementation.Type() != "upb":
        yield
        return
    from google._upb import _message

    _message.SetAllowOversizeProtos(True)
    try:
        yield
    finally:
        _message.SetAllowOversizeProtos(False)


def _grappler_config() -> tf.compat.v1.ConfigProto:
    """No Grappler: it would lower loops and branches to a form that XLA does not take in parts."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _extract_local(computation: tff.Computation) -> tff.Computation:
    block = computation.to_building_block()
    block, _ = tff.tensorflow.replace_intrinsics_with_bodies(block)
    compiled = tff.backends.mapreduce.consolidate_and_extract_local_processing(
        block, _grappler_config()
    )
    return tff.framework.ConcreteComputation.from_building_block(compiled)


def _extract_federated(computation: tff.Computation) -> FederatedForm:
    form = tff.backends.mapreduce.get_map_reduce_form_for_computation(
        _canonicalize(computation), _grappler_config()
    )
    return FederatedForm(
        prepare=GraphFunction(form.prepare),
        work=GraphFunction(form.work),
        zero=GraphFunction(form.zero),
        accumulate=GraphFunction(form.accumulate),
        merge=GraphFunction(form.merge),
        report=GraphFunction(form.report),
        update=GraphFunction(form.update),
        slots=_create_slots(form),
        client_type=form.work.type_signature.parameter[0],
        parameter_type=computation.type_signature.parameter,
    )


def _canonicalize(computation: tff.Computation) -> tff.Computation:
    """Gives a computation the signature of a MapReduce form.

    Returns:
      A computation from (everything at the server, everything at clients) to (everything at the
      server unchanged, the result as one value).
    """
    parameter_type = computation.type_signature.parameter
    result_type = computation.type_signature.result
    if _has_placement(result_type, tff.CLIENTS):
        raise UnsupportedComputationError(
            "this computation returns values placed at clients; only what comes to the server has "
            f"a MapReduce form: {result_type.compact_representation()}"
        )
    types = list(_placed_types(parameter_type))
    server_type = tff.FederatedType(
        [t.member for t in types if t.placement is tff.SERVER], tff.SERVER
    )
    client_members = [t.member for t in types if t.placement is tff.CLIENTS]
    is_single = len(client_members) == 1
    client_type = tff.FederatedType(client_members[0] if is_single else client_members, tff.CLIENTS)

    @tff.federated_computation(server_type, client_type)
    def canonical(server, clients):
        client_values = [clients] if is_single else [clients[i] for i in range(len(client_members))]
        server_values = [server[i] for i in range(len(types) - len(client_members))]
        remaining = {tff.SERVER: iter(server_values), tff.CLIENTS: iter(client_values)}
        result = computation(_rebuild(parameter_type, remaining))
        if not isinstance(result_type, tff.FederatedType):
            result = tff.federated_zip(result)
        return server, result

    return canonical


def _rebuild(type_spec: tff.Type, remaining: dict[Any, Iterator[Any]]) -> Any:
    """A structure of the type, of the next values of each placement."""
    if isinstance(type_spec, tff.FederatedType):
        return next(remaining[type_spec.placement])
    return tff.structure.Struct(
        [(name, _rebuild(t, remaining)) for name, t in tff.structure.to_elements(type_spec)]
    )


def _placed_types(type_spec: tff.Type) -> Iterator[tff.FederatedType]:
    if isinstance(type_spec, tff.FederatedType):
        yield type_spec
    elif isinstance(type_spec, tff.StructType):
        for _, element in tff.structure.to_elements(type_spec):
            yield from _placed_types(element)
    else:
        raise UnsupportedComputationError(
            "arguments must be placed at the server or at clients, where others are; this one is "
            f"not: {type_spec.compact_representation()}"
        )


def _placed_parts(value: Any, type_spec: tff.Type) -> Iterator[tuple[Any, tff.FederatedType]]:
    if isinstance(type_spec, tff.FederatedType):
        yield value, type_spec
        return
    for part, (_, part_type) in zip(
        values.match(value, type_spec, "the argument"),
        tff.structure.to_elements(type_spec),
        strict=True,
    ):
        yield from _placed_parts(part, part_type)


def _has_placement(type_spec: tff.Type | None, placement: Any) -> bool:
    return type_spec is not None and tff.types.contains(
        type_spec, lambda t: isinstance(t, tff.FederatedType) and t.placement is placement
    )


def _create_slots(form: tff.backends.mapreduce.MapReduceForm) -> tuple[SecureSumSlot, ...]:
    _, bitwidth_types, max_input_types, modulus_types = form.work.type_signature.result
    slots = []
    for leaf_type, bitwidth in _with_parameters(bitwidth_types, form.secure_sum_bitwidth):
        if bitwidth > _MAX_BITWIDTH:
            raise UnsupportedComputationError(
                f"a secure sum of {bitwidth} bits: at most {_MAX_BITWIDTH} fit an int64"
            )
        slots.append(SecureSumSlot(_shape(leaf_type), max_input=2**bitwidth - 1))
    for leaf_type, max_input in _with_parameters(max_input_types, form.secure_sum_max_input):
        slots.append(SecureSumSlot(_shape(leaf_type), max_input=max_input))
    for leaf_type, modulus in _with_parameters(modulus_types, form.secure_modular_sum_modulus):
        slots.append(SecureSumSlot(_shape(leaf_type), modulus=modulus))
    return tuple(slots)


def _shape(leaf_type: tff.TensorType) -> tuple[int, ...]:
    if not tff.types.is_shape_fully_defined(leaf_type.shape):
        raise UnsupportedComputationError(f"a secure sum of unknown shape: {leaf_type}")
    return tuple(leaf_type.shape)


def _with_parameters(
    value_types: tff.StructType, parameters: tff.Computation
) -> Iterator[tuple[tff.TensorType, int]]:
    """Each leaf of each secure sum with its parameter; one number may serve a whole structure."""
    if not values.leaf_types(value_types):
        return
    function = GraphFunction(parameters)
    remaining = collections.deque(int(tensor) for tensor in function([]))
    parameter_types = parameters.type_signature.result
    for value_type, parameter_type in zip(value_types, parameter_types, strict=True):
        leaf_types = values.leaf_types(value_type)
        is_shared = not isinstance(parameter_type, tff.StructType)
        shared = [remaining.popleft()] * len(leaf_types) if is_shared else None
        for index, leaf_type in enumerate(leaf_types):
            yield leaf_type, shared[index] if is_shared else remaining.popleft()
