"""Cohorts as stacked tensors: clients of the same shapes share an array."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff
import tree

from fedrec_tff.execution import values
from fedrec_tff.execution.exceptions import ClientStructureError


class StoredRows:
    """Rows of a table that are read where they are needed, and when.

    Stands for the array `table[rows]`, and becomes it when it is asked for one.

    Attributes:
      table: Whatever has `shape` and `dtype`, and returns an array for `table[rows]`: an array, a
        file that is mapped into memory. One that is no array is pickled where it travels to other
        machines, and should then be small, as a path is.
      rows: int64 [num_rows], the rows.
    """

    def __init__(self, table: Any, rows: np.ndarray) -> None:
        """Initialises the rows; reads nothing."""
        self.table = table
        self.rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return (len(self.rows), *self.table.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the array."""
        return np.dtype(self.table.dtype)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """Rows of a slice, still unread; the values of any other index into the rows."""
        if isinstance(index, slice):
            return StoredRows(self.table, self.rows[index])
        return self.table[self.rows[index]]

    def __array__(self, dtype: Any = None) -> np.ndarray:
        return np.asarray(self.table[self.rows], dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class StackedClients:
    """Clients whose tensors have the same shapes.

    Attributes:
      structure: The structure of one client; each array, or `StoredRows`, has one more axis, the
        first, over the clients.
      positions: int64 [num_clients], the clients' positions in the cohort.
    """

    structure: Any
    positions: np.ndarray

    def load(self) -> "StackedClients":
        """The same clients, with all that was stored read."""
        loaded = tree.map_structure(
            lambda leaf: np.asarray(leaf) if isinstance(leaf, StoredRows) else leaf, self.structure
        )
        return StackedClients(loaded, self.positions)


@dataclasses.dataclass(frozen=True, eq=False)
class StackedCohort:
    """A cohort that was never a list of clients.

    Attributes:
      parts: Clients of the cohort, by the shapes of their tensors.
    """

    parts: tuple[StackedClients, ...]

    @property
    def num_clients(self) -> int:
        """The number of clients in all parts."""
        return sum(len(part.positions) for part in self.parts)

    def unstack(self) -> list[Any]:
        """The clients one by one, in the order of their positions, as TFF's own runtime wants."""
        clients = {}
        for part in self.parts:
            for row, position in enumerate(part.positions):
                clients[int(position)] = _take(part.structure, row)
        return [clients[position] for position in sorted(clients)]


@dataclasses.dataclass(frozen=True, eq=False)
class LeafStack:
    """The flat form of `StackedClients`.

    Attributes:
      leaves: Arrays of the clients' leaves, one [num_clients, ...] for each leaf of the client
        type; or rows that are still to be read.
      positions: int64 [num_clients], the clients' positions in the cohort.
    """

    leaves: tuple[np.ndarray | StoredRows, ...]
    positions: np.ndarray

    @property
    def num_clients(self) -> int:
        """The number of clients."""
        return len(self.positions)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one client's leaves."""
        return tuple(leaf.shape[1:] for leaf in self.leaves)

    def slice(self, start: int, stop: int) -> "LeafStack":
        """Some of the clients, without copying."""
        return LeafStack(
            tuple(leaf[start:stop] for leaf in self.leaves), self.positions[start:stop]
        )

    def take(self, rows: np.ndarray) -> "LeafStack":
        """The clients of some rows."""
        leaves = (
            StoredRows(leaf.table, leaf.rows[rows]) if isinstance(leaf, StoredRows) else leaf[rows]
            for leaf in self.leaves
        )
        return LeafStack(tuple(leaves), self.positions[rows])


def stack_cohort(clients: Any, client_type: tff.Type) -> list[LeafStack]:
    """Stacks the clients of a round.

    Args:
      clients: Clients of the round: a `StackedCohort`, or a sequence of structures as TFF takes
        them.
      client_type: The type of one client; tensors only.

    Returns:
      One stack for each combination of shapes that occurs.

    Raises:
      ClientStructureError: If a client is not of the type; the message has its position.
    """
    if isinstance(clients, StackedCohort):
        _check_positions(clients)
        return [_flatten_part(part, client_type) for part in clients.parts if len(part.positions)]
    check_is_cohort(clients)
    types = values.leaf_types(client_type)
    groups: dict[tuple, tuple[list[int], list[list[np.ndarray]]]] = {}
    for position, client in enumerate(clients):
        leaves = flatten_client(client, client_type, types, position)
        positions, members = groups.setdefault(tuple(leaf.shape for leaf in leaves), ([], []))
        positions.append(position)
        members.append(leaves)
    return [
        LeafStack(
            tuple(np.stack(column) for column in zip(*members, strict=True)),
            np.asarray(positions, np.int64),
        )
        for positions, members in groups.values()
    ]


def iterate(clients: Any, client_type: tff.Type) -> Iterator[tuple[int, list[Any]]]:
    """Goes through the clients of a round one by one.

    Args:
      clients: Clients of the round: a `StackedCohort`, or a sequence of structures as TFF takes
        them.
      client_type: The type of one client.

    Yields:
      Each client's position in the cohort, and its leaves.

    Raises:
      ClientStructureError: If a client has another structure; leaves are not looked at.
    """
    if isinstance(clients, StackedCohort):
        for stack in stack_cohort(clients, client_type):
            for row, position in enumerate(stack.positions):
                yield int(position), [leaf[row] for leaf in stack.leaves]
        return
    check_is_cohort(clients)
    for position, client in enumerate(clients):
        yield position, _flatten(client, client_type, position)


def _flatten(client: Any, client_type: tff.Type, position: int) -> list[Any]:
    try:
        return values.flatten(client, client_type)
    except TypeError as error:
        reason = str(error)
    raise ClientStructureError(f"client {position} of the cohort: {reason}")


def check_is_cohort(clients: Any) -> None:
    """Raises `ClientStructureError` if this is no sequence of clients."""
    if not isinstance(clients, Sequence) or isinstance(clients, (str, bytes)):
        raise ClientStructureError(
            f"clients must be a list or a StackedCohort, not {type(clients).__name__}"
        )


def flatten_client(
    client: Any, client_type: tff.Type, types: Sequence[tff.TensorType], position: int
) -> list[np.ndarray]:
    """One client's leaves.

    Args:
      client: Client to flatten, a structure of the client type.
      client_type: The type of one client.
      types: Types of the leaves, `values.leaf_types(client_type)`.
      position: The client's position in the cohort.

    Returns:
      One array for each leaf.

    Raises:
      ClientStructureError: If the client is not of the type.
    """
    try:
        leaves = values.flatten(client, client_type)
        return [
            values.to_array(leaf, leaf_type) for leaf, leaf_type in zip(leaves, types, strict=True)
        ]
    except TypeError as error:
        reason = str(error)
    raise ClientStructureError(f"client {position} of the cohort: {reason}")


def _check_positions(cohort: StackedCohort) -> None:
    positions = [np.asarray(part.positions) for part in cohort.parts]
    found = np.sort(np.concatenate(positions)) if positions else np.arange(0)
    if not np.array_equal(found, np.arange(cohort.num_clients)):
        raise ClientStructureError(
            "the positions of a stacked cohort must number its clients: each of 0 to "
            f"{cohort.num_clients - 1} once"
        )


def _flatten_part(part: StackedClients, client_type: tff.Type) -> LeafStack:
    types = values.leaf_types(client_type)
    if any(isinstance(leaf_type, tff.SequenceType) for leaf_type in types):
        raise ClientStructureError(
            "a stacked cohort holds tensors: clients that are sequences come as a list"
        )
    num_clients = len(part.positions)
    try:
        leaves = values.flatten(part.structure, client_type)
        arrays = tuple(
            _check_leaf(leaf, tff.TensorType(leaf_type.dtype, [num_clients, *leaf_type.shape]))
            for leaf, leaf_type in zip(leaves, types, strict=True)
        )
        return LeafStack(arrays, np.asarray(part.positions, np.int64))
    except TypeError as error:
        reason = str(error)
    where = f"clients {part.positions[0]} to {part.positions[-1]} of the stacked cohort"
    raise ClientStructureError(f"{where}: {reason}")


def _check_leaf(leaf: Any, tensor_type: tff.TensorType) -> np.ndarray | StoredRows:
    if not isinstance(leaf, StoredRows):
        return values.to_array(leaf, tensor_type)
    is_of_type = leaf.dtype == tensor_type.dtype and values.has_shape(leaf.shape, tensor_type)
    if not is_of_type:
        raise TypeError(f"expected {tensor_type}, found {leaf.dtype}{list(leaf.shape)}")
    return leaf


def _take(structure: Any, row: int) -> Any:
    """Row `row` of every array in a structure of TFF's containers."""
    if isinstance(structure, (np.ndarray, StoredRows)):
        return structure[row]
    if isinstance(structure, dict):
        return type(structure)((name, _take(value, row)) for name, value in structure.items())
    taken = [_take(value, row) for value in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*taken)
    return type(structure)(taken)
