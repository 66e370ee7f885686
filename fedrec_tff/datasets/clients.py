"""Client tensors: each training user's sequence once, padded, in buckets of similar length.

To which length a sequence is padded follows from its own length: a client computes the same,
whoever else is there. Sequences stay where they are, in memory or in a mapped file; what is padded
is a cohort, when it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences

_SHORTEST_BUCKET = 16
# How much longer than a stretch its bucket may be: the rest costs memory alone.
_STRETCHES_PER_BUCKET = 16


class PaddedRows:
    """Rows of sequences as a matrix that is never made: what is padded are the rows asked for.

    Stands for an array, int32 [num_rows, padded_length], oldest first, left-aligned, padded with 0,
    and becomes it when it is asked for one.
    """

    dtype = np.dtype(np.int32)

    def __init__(
        self, sequences: Sequences, rows: np.ndarray, lengths: np.ndarray, padded_length: int
    ) -> None:
        """Initialises the matrix; reads nothing.

        Args:
          sequences: The sequences.
          rows: int64 [num_rows], which of them.
          lengths: int32 [num_rows], how many of the newest items of each, at most `padded_length`.
          padded_length: The number of columns.
        """
        self._sequences, self._rows, self._lengths = sequences, rows, lengths
        self.shape = (len(rows), padded_length)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: np.ndarray | slice | int) -> np.ndarray:
        """The rows of an index, as an array gives them; at a cost that follows from these alone."""
        if np.ndim(index) == 0 and not isinstance(index, slice):
            return self[[index]][0]
        taken = self._sequences.take_newest(self._rows[index], self._lengths[index])
        return taken.to_padded(self.shape[1])[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """To other processes go these rows alone; of sequences in a file, where they lie."""
        sequences, rows = self._sequences, self._rows
        if not sequences.is_mapped:
            sequences = sequences.take_newest(rows, self._lengths)
            rows = np.arange(len(rows))
        return PaddedRows, (sequences, rows, self._lengths, self.shape[1])

    def __array__(self, dtype: np.dtype | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class ClientBucket:
    """Clients whose sequences are padded to the same length.

    Attributes:
      item_index: int32 [num_clients, padded_length], oldest first, left-aligned, padded with 0.
      num_interactions: int32 [num_clients], the number of cells that are not padding.
      client_row: int64 [num_clients], the row of each client in `Split.train`.
    """

    item_index: PaddedRows
    num_interactions: np.ndarray
    client_row: np.ndarray

    @property
    def num_clients(self) -> int:
        """The number of clients in this bucket."""
        return len(self.client_row)

    @property
    def padded_length(self) -> int:
        """The number of cells of each client."""
        return self.item_index.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class ClientPopulation:
    """All clients. Client `c` is row `bucket_row[c]` of `buckets[bucket_index[c]]`.

    Attributes:
      buckets: The buckets in the order of their lengths; none is empty.
      num_clients: The number of clients in all buckets.
      bucket_index: int32 [num_clients].
      bucket_row: int64 [num_clients].
    """

    buckets: tuple[ClientBucket, ...]
    num_clients: int
    bucket_index: np.ndarray
    bucket_row: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class CohortPart:
    """The members of a cohort that lie in one bucket.

    Attributes:
      bucket_index: Which bucket.
      bucket_rows: int64 [c], their rows in it.
      positions: int64 [c], their positions in the cohort.
    """

    bucket_index: int
    bucket_rows: np.ndarray
    positions: np.ndarray


def default_bucket_lengths(longest: int) -> tuple[int, ...]:
    """Returns 16, 32, 64 and so on, up to the first that holds the longest client.

    A client's bucket follows from its own length alone, whatever the longest is.
    """
    lengths = [_SHORTEST_BUCKET]
    while lengths[-1] < longest:
        lengths.append(2 * lengths[-1])
    return tuple(lengths)


def stretch_bucket_lengths(longest: int, stretch: int) -> tuple[int, ...]:
    """Bucket lengths for client work that takes a stretch of each sequence, and no more.

    Each length is a program to compile, and those beyond the stretch's would all do the same.

    Args:
      longest: The length of the longest client.
      stretch: The length of the longest stretch.

    Returns:
      The default lengths below the stretch's, its own, and few from there on, as far as needed.
    """
    *lengths, _ = default_bucket_lengths(stretch)
    lengths.append(stretch)
    while lengths[-1] < longest:
        lengths.append(_STRETCHES_PER_BUCKET * lengths[-1])
    return tuple(lengths)


def stack_clients(
    sequences: Sequences,
    bucket_lengths: Sequence[int] | None = None,
    max_length: int | None = None,
) -> ClientPopulation:
    """Makes each row one client, in the shortest bucket that holds it.

    Args:
      sequences: One row per client.
      bucket_lengths: The padded lengths; by default doubling lengths that hold the longest client.
        A bucket without clients is not made.
      max_length: If given, a client keeps its newest `max_length` interactions only.

    Returns:
      The clients, in buckets.

    Raises:
      UserError: If a length is not positive, or the longest bucket is too short.
    """
    if max_length is not None and max_length < 1:
        raise errors.UserError(f"max_length must be at least 1, not {max_length}")
    lengths = sequences.lengths.astype(np.int32)
    if max_length is not None:
        lengths = np.minimum(lengths, np.int32(max_length))
    longest = int(lengths.max(initial=0))
    sizes = np.unique(default_bucket_lengths(longest) if bucket_lengths is None else bucket_lengths)
    if sizes.size == 0 or sizes[0] < 1:
        raise errors.UserError(f"bucket_lengths must be positive, not {bucket_lengths}")
    if sizes[-1] < longest:
        raise errors.UserError(
            f"the longest bucket holds {sizes[-1]} interactions, a client has {longest}: "
            f"add a bucket length, or set max_length={sizes[-1]}"
        )
    used, bucket_index = np.unique(np.searchsorted(sizes, lengths), return_inverse=True)
    bucket_row = np.empty(sequences.num_rows, np.int64)
    buckets = []
    for index, padded_length in enumerate(sizes[used]):
        rows = np.flatnonzero(bucket_index == index)
        bucket_row[rows] = np.arange(len(rows))
        kept = lengths[rows]
        items = PaddedRows(sequences, rows, kept, int(padded_length))
        buckets.append(ClientBucket(items, kept, rows))
    return ClientPopulation(
        tuple(buckets), sequences.num_rows, bucket_index.astype(np.int32), bucket_row
    )


def select(population: ClientPopulation, clients: np.ndarray) -> list[CohortPart]:
    """Groups a cohort by bucket.

    Args:
      population: All clients.
      clients: int64 [m], the clients of the cohort, each in [0, num_clients).

    Returns:
      One part per bucket that has members, in the order of the buckets; within a part, members
      keep the cohort's order.
    """
    clients = np.asarray(clients, np.int64)
    if clients.size and not 0 <= clients.min() <= clients.max() < population.num_clients:
        raise IndexError(f"clients must be in [0, {population.num_clients})")
    bucket_of = population.bucket_index[clients]
    order = np.argsort(bucket_of, kind="stable")
    ends = np.cumsum(np.bincount(bucket_of, minlength=len(population.buckets)))
    groups = np.split(order, ends[:-1])
    return [
        CohortPart(index, population.bucket_row[clients[positions]], positions)
        for index, positions in enumerate(groups)
        if positions.size
    ]
