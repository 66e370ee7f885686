"""What driver and workers send each other: plain records of bytes, arrays and numbers."""

# Tested in tests/cluster/test_messages.py.

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2

from fedrec_tff.execution import stacking
from fedrec_tff.execution.forms import ClientForm
from fedrec_tff.execution.graph_functions import GraphFunction
from fedrec_tff.execution.secure_sum import Sealer, SecureSumSlot
from fedrec_tff.execution.shares import Block

# What `Work.clients_per_step` is where clients are called one by one.
ONE_BY_ONE = 0


@dataclasses.dataclass(frozen=True)
class FormMessage:
    """A form's clients' part: its computations as serialised protocol buffers."""

    work: bytes
    zero: bytes
    accumulate: bytes
    merge: bytes
    slots: tuple[SecureSumSlot, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table that the worker has, or reads where it lies.

    Attributes:
      key: Key of the table.
      rows: int64 [num_rows], the rows.
    """

    key: str
    rows: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class BlockMessage:
    """A `shares.Block`, with keys in the place of tables."""

    leaves: tuple[np.ndarray | TableRows, ...]
    positions: np.ndarray
    random_input: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """Neighbouring shares of a round, which one worker runs and merges.

    Attributes:
      form: Key of the form.
      prepared: Key of what the server sends to every client.
      shares: Blocks of each share.
      clients_per_block: Number of clients whose data are on the device at once, for each share.
      clients_per_step: Number of clients that are worked on at once; `ONE_BY_ONE` for plain graphs.
      sealer: What clients do with their integers for secure sums before they leave the worker; None
        where the worker adds them up in the clear.
    """

    form: str
    prepared: str
    shares: tuple[tuple[BlockMessage, ...], ...]
    clients_per_block: int
    clients_per_step: int
    sealer: Sealer | None

    @property
    def num_clients(self) -> int:
        """The number of clients in all shares."""
        return sum(len(block.positions) for share in self.shares for block in share)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a `Work`.

    Attributes:
      accumulator: Leaves of the accumulator of all shares; None if there were no clients.
      secure_sums: Secure sums in the clear, int64, one for each slot.
      sealed: Messages of `Work.sealer`.
      seconds: Seconds that the work took.
      failure: The error that ended it; None if all is well.
      unreadable: Keys of tables that the worker cannot read where they lie; then nothing was done.
    """

    accumulator: list[np.ndarray] | None = None
    secure_sums: list[np.ndarray] = dataclasses.field(default_factory=list)
    sealed: list[Any] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    failure: Exception | None = None
    unreadable: tuple[str, ...] = ()


def pack_form(form: ClientForm) -> FormMessage:
    """Serialises a form's clients' part."""
    return FormMessage(
        *(_serialize(getattr(form, name)) for name in ("work", "zero", "accumulate", "merge")),
        form.slots,
    )


def unpack_form(message: FormMessage) -> ClientForm:
    """Imports the graphs of a form that was packed."""
    work = _deserialize(message.work)
    return ClientForm(
        work=work,
        zero=_deserialize(message.zero),
        accumulate=_deserialize(message.accumulate),
        merge=_deserialize(message.merge),
        slots=message.slots,
        client_type=work.type_signature.parameter[0],
    )


def pack_block(block: Block, keys: Mapping[int, str]) -> BlockMessage:
    """Replaces tables by their keys.

    Args:
      block: Block of a share.
      keys: Key of each table, by the table's `id`.

    Returns:
      The message.
    """
    leaves = tuple(
        TableRows(keys[id(leaf.table)], leaf.rows)
        if isinstance(leaf, stacking.StoredRows)
        else leaf
        for leaf in block.clients.leaves
    )
    return BlockMessage(leaves, block.clients.positions, block.random_input)


def unpack_block(message: BlockMessage, tables: Mapping[str, Any]) -> Block:
    """Reverses `pack_block`, with the worker's tables by key."""
    leaves = tuple(
        stacking.StoredRows(tables[leaf.key], leaf.rows) if isinstance(leaf, TableRows) else leaf
        for leaf in message.leaves
    )
    return Block(stacking.LeafStack(leaves, message.positions), message.random_input)


def load_rows(work: Work, tables: Mapping[str, Any]) -> Work:
    """Has rows of some tables travel with the work, for a worker that cannot read these.

    Args:
      work: The work.
      tables: The tables to read here, by key.

    Returns:
      The same work.
    """

    def load(block: BlockMessage) -> BlockMessage:
        leaves = tuple(
            np.asarray(tables[leaf.key][leaf.rows])
            if isinstance(leaf, TableRows) and leaf.key in tables
            else leaf
            for leaf in block.leaves
        )
        return dataclasses.replace(block, leaves=leaves)

    shares = tuple(tuple(load(block) for block in share) for share in work.shares)
    return dataclasses.replace(work, shares=shares)


def find_tables(shares: Sequence[Sequence[Block]]) -> dict[int, Any]:
    """The tables that shares read from, by `id`."""
    return {
        id(leaf.table): leaf.table
        for share in shares
        for block in share
        for leaf in block.clients.leaves
        if isinstance(leaf, stacking.StoredRows)
    }


def _serialize(function: GraphFunction) -> bytes:
    return tff.framework.serialize_computation(function.computation).SerializeToString()


def _deserialize(message: bytes) -> GraphFunction:
    proto = computation_pb2.Computation.FromString(message)
    return GraphFunction(tff.framework.deserialize_computation(proto))
