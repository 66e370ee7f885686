"""Ragged sequences of items, stored flat, with the row operations that splits and models need."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from fedrec_tff.datasets import interactions as interactions_lib

# Entries that are counted at once: a copy of all of them may be more than memory holds.
_BLOCK = 2**22


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """Ragged item sequences, one row per user, stored flat: row `i` is between two offsets.

    Attributes:
      items: int32 [n], the rows one after the other.
      offsets: int64 [num_rows + 1]; row i is `items[offsets[i]:offsets[i + 1]]`.
      user_index: int32 [num_rows], whose each row is, into the log's users, for models that know
        more of a user than what they took; None where nobody asks.
    """

    items: np.ndarray
    offsets: np.ndarray
    user_index: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of items in each row, int64 [num_rows]."""
        return np.diff(self.offsets)

    @property
    def row_index(self) -> np.ndarray:
        """The row of each entry of `items`, int64 [n]."""
        return np.repeat(np.arange(self.num_rows), self.lengths)

    def row(self, i: int) -> np.ndarray:
        """Returns a view of row `i`, int32 [lengths[i]]."""
        return self.items[self.offsets[i] : self.offsets[i + 1]]

    def take(self, rows: np.ndarray) -> Sequences:
        """Returns the given rows, in the order given.

        Args:
          rows: Integers [m]; rows may repeat. A bool mask [num_rows] is taken too.
        """
        taken = gather_ranges(self.items, self.offsets[:-1][rows], self.lengths[rows])
        user_index = None if self.user_index is None else self.user_index[rows]
        return dataclasses.replace(taken, user_index=user_index)

    def take_newest(self, rows: np.ndarray, lengths: np.ndarray) -> Sequences:
        """Returns the newest items of the given rows, still oldest first.

        Args:
          rows: Integers [m]; rows may repeat.
          lengths: Integers [m], how many items of each, no more than it has.
        """
        return gather_ranges(self.items, self.offsets[1:][rows] - lengths, lengths)

    @property
    def is_mapped(self) -> bool:
        """Whether the items lie in a file, and go to other processes as its path."""
        return False

    def release(self) -> None:
        """Gives back the memory of what was read, where it lies in a file and is read again."""

    def count_items(self, num_items: int) -> np.ndarray:
        """Counts how often each item occurs, int64 [num_items]; a block of entries at a time."""
        counts = np.zeros(num_items, np.int64)
        for start in range(0, len(self.items), _BLOCK):
            counts += np.bincount(self.items[start : start + _BLOCK], minlength=num_items)
        self.release()
        return counts

    def count_takers(self, num_items: int) -> np.ndarray:
        """Counts in how many rows each item occurs, int64 [num_items]; a block at a time."""
        counts = np.zeros(num_items, np.int64)
        edges = np.arange(0, len(self.items) + _BLOCK, _BLOCK)
        cuts = np.unique(np.searchsorted(self.offsets, edges))
        for first, last in itertools.pairwise(cuts):
            last = min(last, self.num_rows)
            items = self.items[self.offsets[first] : self.offsets[last]]
            row = np.repeat(np.arange(last - first), np.diff(self.offsets[first : last + 1]))
            pairs = np.unique(row * num_items + items)
            counts += np.bincount(pairs % num_items, minlength=num_items)
        self.release()
        return counts

    def last(self, max_length: int) -> Sequences:
        """Returns each row's newest `max_length` items, still oldest first."""
        kept = np.minimum(self.lengths, max_length)
        newest = gather_ranges(self.items, self.offsets[1:] - kept, kept)
        return dataclasses.replace(newest, user_index=self.user_index)

    def keep(self, mask: np.ndarray) -> Sequences:
        """Returns the same rows with only some of their entries.

        Args:
          mask: bool [n], aligned with `items`.
        """
        kept_before = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        return Sequences(self.items[mask], kept_before[self.offsets], self.user_index)

    def to_padded(self, max_length: int, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns a matrix of the newest `max_length` items of each row.

        Args:
          max_length: The number of columns.
          pad: The value that fills the cells behind a row's end.

        Returns:
          The items, int32 [num_rows, max_length], oldest first and left-aligned; and the number
          of items in each row, int32 [num_rows].
        """
        newest = self.last(max_length)
        lengths = newest.lengths.astype(np.int32)
        padded = np.full((self.num_rows, max_length), pad, np.int32)
        padded[np.arange(max_length) < lengths[:, np.newaxis]] = newest.items
        return padded, lengths


def gather_ranges(items: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Sequences:
    """Makes rows of ranges of a flat array.

    Args:
      items: int32 [n].
      starts: Integers [m], where each row begins.
      lengths: Integers [m], how many items each row has.

    Returns:
      Sequences of m rows.
    """
    offsets = _offsets(lengths)
    shift = np.repeat(np.asarray(starts, np.int64) - offsets[:-1], lengths)
    return Sequences(items[np.arange(offsets[-1]) + shift], offsets)


def from_lengths(items: np.ndarray, lengths: np.ndarray) -> Sequences:
    """Cuts a flat array into rows of the given lengths."""
    return Sequences(np.asarray(items, np.int32), _offsets(lengths))


def from_rows(rows: Iterable[Sequence[int]]) -> Sequences:
    """Makes sequences of Python lists: for hand-made data."""
    rows = [np.asarray(row, np.int32) for row in rows]
    lengths = np.array([len(row) for row in rows], np.int64)
    return from_lengths(np.concatenate([np.zeros(0, np.int32), *rows]), lengths)


def from_interactions(interactions: interactions_lib.Interactions) -> Sequences:
    """Returns one row per user, oldest first."""
    return from_lengths(interactions.item_index, interactions.lengths)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
