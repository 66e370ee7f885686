"""Messages between two processes, here between two ends of one."""

import os
import socket

import numpy as np
import pytest

from fedrec_tff.accelerator import channel


@pytest.fixture
def ends():
    sockets = socket.socketpair()
    memories = [channel.create_memory() for _ in range(2)]
    one, other = (
        channel.Channel(
            sockets[side],
            channel.Arena(memories[side]),
            channel.Arena(memories[1 - side]),
        )
        for side in range(2)
    )
    yield one, other, sockets
    for end in sockets:
        end.close()
    for memory in memories:
        os.close(memory)


def test_arrays_arrive_as_they_were_and_outlive_the_next_message(ends):
    one, other, _ = ends
    rng = np.random.default_rng(0)
    sent = [
        rng.normal(size=(3, 1, 5)).astype(np.float32),
        np.array(True),
        np.zeros([0, 7], np.int64),
        rng.integers(0, 2**64, [2, 2], np.uint64, endpoint=False),
        np.asfortranarray(rng.integers(0, 9, [4, 6])),
    ]

    one.send("first", {"name": "ümläut", "sizes": [1, None]}, sent)
    kind, fields, received = other.receive()
    one.send("second", {}, [np.full([10_000], 7.0)])
    other.receive()

    assert (kind, fields) == ("first", {"name": "ümläut", "sizes": [1, None]})
    assert [a.dtype for a in received] == [a.dtype for a in sent]
    for found, expected in zip(received, sent, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_end_that_closes_is_noticed_in_the_middle_of_a_message(ends):
    one, other, sockets = ends
    sockets[0].sendall((100).to_bytes(8, "little") + b"{")
    sockets[0].close()

    with pytest.raises(channel.ClosedError):
        other.receive()
    with pytest.raises(channel.ClosedError):
        one.send("anything", {})


def test_an_end_that_died_without_closing_is_noticed(ends):
    _, other, _ = ends

    with pytest.raises(channel.ClosedError):
        other.receive(is_alive=lambda: False)
