"""Buffers of fixed size that a round's updates are written into, as an aggregation's accumulator.

What lies beyond the counts is never read. Where an update finds no room it is written to a spare
place at the end; the counts go on, and `create_checks` fails.
"""

# Tested in tests/aggregators/test_robust_selection.py.

import abc
import collections
from typing import NamedTuple

import tensorflow as tf

from fedrec_tff.aggregators.robust import layout as layout_lib

# The names are what the contexts' errors say.
_TOO_MANY_CLIENTS = "a_round_had_more_clients_than_max_clients"
_TOO_MANY_ROWS = "a_round_had_more_table_rows_than_rows_per_client_has_room_for"


class Updates(NamedTuple):
    """The updates of a round.

    Clients are numbered from 0, in no particular order.

    Attributes:
      row_ids: int32 [parts], the table row of each part.
      row_clients: int32 [parts], whose it is.
      rows: float32 [parts, width], what a client sent for a row of the table; never all zero, and
        at most one for each client and table row. What is missing here is zero.
      rest: float32 [num_clients, rest_size], the numbers outside of the table.
    """

    row_ids: tf.Tensor
    row_clients: tf.Tensor
    rows: tf.Tensor
    rest: tf.Tensor

    @property
    def num_clients(self) -> tf.Tensor:
        """int32 scalar."""
        return tf.shape(self.rest)[0]


class Buffer(abc.ABC):
    """Room for the updates of a round.

    Its content is an `OrderedDict` of tensors, which has the int32 scalars `num_clients` and
    `num_excluded`, those with updates that are not finite.
    """

    def __init__(self, layout: layout_lib.Layout, max_clients: int) -> None:
        """Initialises the buffer.

        Args:
          layout: Layout of updates.
          max_clients: Number of clients that there is room for.
        """
        self._layout = layout
        self._max_clients = max_clients

    @property
    @abc.abstractmethod
    def num_numbers(self) -> int:
        """About how many numbers of four bytes it holds."""

    @abc.abstractmethod
    def create_zero(self) -> collections.OrderedDict[str, tf.Tensor]:
        """Nobody's updates."""

    @abc.abstractmethod
    def add(
        self, content: collections.OrderedDict[str, tf.Tensor], update: layout_lib.Update
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """Writes one client's update behind the others."""

    @abc.abstractmethod
    def merge(
        self,
        first: collections.OrderedDict[str, tf.Tensor],
        second: collections.OrderedDict[str, tf.Tensor],
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """The updates of both."""

    @abc.abstractmethod
    def read(self, content: collections.OrderedDict[str, tf.Tensor]) -> Updates:
        """The updates."""

    def create_checks(self, content: collections.OrderedDict[str, tf.Tensor]) -> list[tf.Operation]:
        """What fails where there were more updates than there is room for."""
        return [
            tf.debugging.assert_less_equal(
                content["num_clients"], self._max_clients, name=_TOO_MANY_CLIENTS
            )
        ]


class DenseBuffer(Buffer):
    """Keeps a whole table for each client."""

    @property
    def num_numbers(self) -> int:
        """About how many numbers of four bytes it holds."""
        layout = self._layout
        return self._max_clients * (layout.num_rows * layout.width + layout.rest_size)

    def create_zero(self) -> collections.OrderedDict[str, tf.Tensor]:
        """Nobody's updates."""
        layout, places = self._layout, self._max_clients + 1
        return collections.OrderedDict(
            num_clients=tf.constant(0),
            num_excluded=tf.constant(0),
            tables=tf.zeros([places, layout.num_rows, layout.width]),
            rest=tf.zeros([places, layout.rest_size]),
        )

    def add(
        self, content: collections.OrderedDict[str, tf.Tensor], update: layout_lib.Update
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """Writes one client's update behind the others."""
        place = tf.minimum(content["num_clients"], self._max_clients)
        return collections.OrderedDict(
            _count(content, update),
            tables=_write(content["tables"], place, update.rows),
            rest=_write(content["rest"], place, update.rest),
        )

    def merge(
        self,
        first: collections.OrderedDict[str, tf.Tensor],
        second: collections.OrderedDict[str, tf.Tensor],
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """The updates of both."""
        counts = first["num_clients"], second["num_clients"]
        return collections.OrderedDict(
            _add_counts(first, second),
            tables=_append(first["tables"], second["tables"], *counts),
            rest=_append(first["rest"], second["rest"], *counts),
        )

    def read(self, content: collections.OrderedDict[str, tf.Tensor]) -> Updates:
        """The updates."""
        num_clients = content["num_clients"]
        tables = content["tables"][:num_clients]
        index = tf.where(tf.reduce_any(tf.not_equal(tables, 0.0), axis=2))
        clients, ids = tf.unstack(tf.cast(index, tf.int32), axis=1)
        return Updates(ids, clients, tf.gather_nd(tables, index), content["rest"][:num_clients])


class RowBuffer(Buffer):
    """Keeps the rows that clients sent, one client's after another's."""

    def __init__(self, layout: layout_lib.Layout, max_clients: int, max_rows: int) -> None:
        """Initialises the buffer.

        Args:
          layout: Layout of updates.
          max_clients: Number of clients that there is room for.
          max_rows: Number of the clients' rows, of all together, that there is room for.
        """
        super().__init__(layout, max_clients)
        self._max_rows = max_rows

    @property
    def num_numbers(self) -> int:
        """About how many numbers of four bytes it holds."""
        layout = self._layout
        return self._max_rows * (layout.width + 1) + self._max_clients * layout.rest_size

    def create_zero(self) -> collections.OrderedDict[str, tf.Tensor]:
        """Nobody's updates."""
        layout = self._layout
        return collections.OrderedDict(
            num_clients=tf.constant(0),
            num_excluded=tf.constant(0),
            num_rows=tf.constant(0),
            rows=tf.zeros([self._max_rows + 1, layout.width]),
            row_ids=tf.zeros([self._max_rows + 1], tf.int32),
            lengths=tf.zeros([self._max_clients + 1], tf.int32),
            rest=tf.zeros([self._max_clients + 1, layout.rest_size]),
        )

    def add(
        self, content: collections.OrderedDict[str, tf.Tensor], update: layout_lib.Update
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """Writes one client's update behind the others; padding rows at its end are left out."""
        place = tf.minimum(content["num_clients"], self._max_clients)
        position = tf.range(tf.size(update.ids))
        is_used = tf.reduce_any(tf.not_equal(update.rows, 0.0), axis=1)
        length = tf.maximum(tf.reduce_max(tf.where(is_used, position + 1, 0)), 0)
        num_rows = content["num_rows"]
        places = tf.minimum(num_rows + position, self._max_rows)[:, tf.newaxis]
        return collections.OrderedDict(
            _count(content, update),
            num_rows=num_rows + tf.where(_is_finite(update), length, 0),
            rows=tf.tensor_scatter_nd_update(content["rows"], places, update.rows),
            row_ids=tf.tensor_scatter_nd_update(content["row_ids"], places, update.ids),
            lengths=_write(content["lengths"], place, length),
            rest=_write(content["rest"], place, update.rest),
        )

    def merge(
        self,
        first: collections.OrderedDict[str, tf.Tensor],
        second: collections.OrderedDict[str, tf.Tensor],
    ) -> collections.OrderedDict[str, tf.Tensor]:
        """The updates of both."""
        counts = first["num_clients"], second["num_clients"]
        num_rows = first["num_rows"], second["num_rows"]
        return collections.OrderedDict(
            _add_counts(first, second),
            num_rows=num_rows[0] + num_rows[1],
            rows=_append(first["rows"], second["rows"], *num_rows),
            row_ids=_append(first["row_ids"], second["row_ids"], *num_rows),
            lengths=_append(first["lengths"], second["lengths"], *counts),
            rest=_append(first["rest"], second["rest"], *counts),
        )

    def read(self, content: collections.OrderedDict[str, tf.Tensor]) -> Updates:
        """The updates."""
        num_clients, num_rows = content["num_clients"], content["num_rows"]
        clients = tf.repeat(tf.range(num_clients), content["lengths"][:num_clients])
        ids, rows = content["row_ids"][:num_rows], content["rows"][:num_rows]
        is_used = tf.reduce_any(tf.not_equal(rows, 0.0), axis=1)
        ids, clients, rows = [tf.boolean_mask(t, is_used) for t in (ids, clients, rows)]
        return Updates(ids, clients, rows, content["rest"][:num_clients])

    def create_checks(self, content: collections.OrderedDict[str, tf.Tensor]) -> list[tf.Operation]:
        """What fails where there were more updates, or rows, than there is room for."""
        check = tf.debugging.assert_less_equal(
            content["num_rows"], self._max_rows, name=_TOO_MANY_ROWS
        )
        return [*super().create_checks(content), check]


def _is_finite(update: layout_lib.Update) -> tf.Tensor:
    """Whether all of an update is finite, and its squared norm too: bool scalar."""
    squares = tf.reduce_sum(tf.square(update.rows)) + tf.reduce_sum(tf.square(update.rest))
    return tf.math.is_finite(squares)


def _count(
    content: collections.OrderedDict[str, tf.Tensor], update: layout_lib.Update
) -> dict[str, tf.Tensor]:
    one = tf.cast(_is_finite(update), tf.int32)
    return {
        "num_clients": content["num_clients"] + one,
        "num_excluded": content["num_excluded"] + 1 - one,
    }


def _add_counts(
    first: collections.OrderedDict[str, tf.Tensor], second: collections.OrderedDict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    return {name: first[name] + second[name] for name in ("num_clients", "num_excluded")}


def _write(buffer: tf.Tensor, place: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    if not buffer.shape.num_elements():
        # Scatter operations refuse these: a model may have nothing but the table, or no table.
        return buffer
    return tf.tensor_scatter_nd_update(buffer, place[tf.newaxis, tf.newaxis], value[tf.newaxis])


def _append(
    first: tf.Tensor, second: tf.Tensor, first_count: tf.Tensor, second_count: tf.Tensor
) -> tf.Tensor:
    """The first entries of one buffer, then those of the other, as far as there is room."""
    size = first.shape[0]
    first_count = tf.minimum(first_count, size)
    second_count = tf.minimum(second_count, size - first_count)
    end = first_count + second_count
    joined = tf.concat([first[:first_count], second[:second_count], first[end:]], axis=0)
    return tf.ensure_shape(joined, first.shape)
