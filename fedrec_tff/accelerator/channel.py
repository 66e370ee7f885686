"""What this process and its worker send each other: a line of JSON, and arrays in shared memory.

Neither side pickles or evaluates what the other sends. The memory has no name, so that nothing is
left of it when both have ended, however that was.
"""

# Tested in tests/accelerator/test_channel.py.

import json
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 64
_POLL_SECONDS = 0.5


class ClosedError(Exception):
    """The other side has gone."""


class Arena:
    """Memory that one side writes arrays to and the other reads them from."""

    def __init__(self, descriptor: int) -> None:
        """Maps nothing yet.

        Args:
          descriptor: A file in memory, from `create_memory`.
        """
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None

    def write(self, arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Writes arrays over what was there; returns what `read` needs."""
        arrays = [np.asarray(array, order="C") for array in arrays]
        places, end = [], 0
        for array in arrays:
            places.append({"dtype": array.dtype.str, "shape": array.shape, "offset": end})
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if end > os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, end)
        buffer = self._map_all()
        for array, place in zip(arrays, places, strict=True):
            _view(buffer, place)[...] = array
        return places

    def read(self, places: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Copies of what the other side wrote."""
        buffer = self._map_all()
        return [_view(buffer, place).copy() for place in places]

    def _map_all(self) -> mmap.mmap | bytearray:
        size = os.fstat(self._descriptor).st_size
        if size == 0:
            return bytearray()
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self._descriptor, size)
        return self._map


def _view(buffer: Any, place: dict[str, Any]) -> np.ndarray:
    count = int(np.prod(place["shape"], dtype=np.int64))
    if count == 0:
        return np.zeros(place["shape"], place["dtype"])
    flat = np.frombuffer(buffer, place["dtype"], count, place["offset"])
    return flat.reshape(place["shape"])


class Channel:
    """One side of the connection: messages in order, one answer to each."""

    def __init__(self, connection: socket.socket, outgoing: Arena, incoming: Arena) -> None:
        """Initialises the channel.

        Args:
          connection: Connected socket.
          outgoing: Memory that this side writes.
          incoming: Memory that the other side writes.
        """
        self._connection = connection
        self._outgoing = outgoing
        self._incoming = incoming

    def send(self, kind: str, fields: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
        """Sends a message; arrays of earlier ones are gone.

        Args:
          kind: Kind of the message.
          fields: What JSON can write.
          arrays: Arrays of numbers or booleans.

        Raises:
          ClosedError: If the other side has gone.
        """
        message = {"kind": kind, "fields": fields, "arrays": self._outgoing.write(arrays)}
        line = json.dumps(message).encode()
        try:
            self._connection.sendall(_LENGTH.pack(len(line)) + line)
        except OSError as error:
            raise ClosedError from error

    def receive(
        self, is_alive: Callable[[], bool] = lambda: True
    ) -> tuple[str, dict[str, Any], list[np.ndarray]]:
        """Waits for a message.

        Args:
          is_alive: Function that says whether the other side still runs; asked while waiting.

        Returns:
          The kind, the fields and the arrays.

        Raises:
          ClosedError: If the other side has gone.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, is_alive))
        message = json.loads(self._read(length, is_alive))
        return message["kind"], message["fields"], self._incoming.read(message["arrays"])

    def _read(self, size: int, is_alive: Callable[[], bool]) -> bytes:
        parts = []
        while size:
            while not select.select([self._connection], [], [], _POLL_SECONDS)[0]:
                if not is_alive():
                    raise ClosedError
            try:
                part = self._connection.recv(min(size, 2**20))
            except OSError as error:
                raise ClosedError from error
            if not part:
                raise ClosedError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def create_memory() -> int:
    """A file in memory without a name: its descriptor, which children do not inherit unasked."""
    return os.memfd_create("fedrec_tff", os.MFD_CLOEXEC)
