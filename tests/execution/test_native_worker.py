import contextlib
import errno
import signal
import socket
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedrec_tff import child_processes
from fedrec_tff.execution import loopback, native, stacking


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def _add(values):
    return tff.federated_sum(values)


class _State(NamedTuple):
    mean: float
    counts: tuple[int]


_STATE = tff.to_type(_State(np.float32, (np.int32,)))


@tff.tensorflow.computation(np.int32)
def _to_float(number):
    return tf.cast(number, tf.float32)


@tff.tensorflow.computation(_STATE, np.float32, np.int32)
def _update(state, mean, total):
    return _State(state.mean + mean, (state.counts[0] + total,))


@tff.federated_computation(
    tff.FederatedType(_STATE, tff.SERVER), tff.FederatedType(np.int32, tff.CLIENTS)
)
def _step(state, numbers):
    floats = tff.federated_map(_to_float, numbers)
    return tff.federated_map(
        _update, (state, tff.federated_mean(floats), tff.federated_sum(numbers))
    )


def _devices(pid):
    """The device of each socket that a process listens on; nothing for those of all devices."""
    option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE
    return [found.getsockopt(*option, 16) for found in loopback.find_listening(pid)]


def _our_workers():
    children = psutil.Process().children(recursive=True)
    return {child for child in children if child.name() == "worker_binary"}


def test_a_worker_that_was_killed_is_an_error_and_not_a_wait_for_ever():
    before = _our_workers()
    with native.native_context():
        assert _add([1, 2, 3]) == 6
        (worker,) = _our_workers() - before
        worker.send_signal(signal.SIGKILL)
        psutil.wait_procs([worker], timeout=300)
        with pytest.raises(native.WorkerLostError, match="worker process has ended"):
            _add([1, 2, 3])
    with native.native_context():
        assert _add([4, 5]) == 9


def test_what_a_child_listens_on_is_tied_to_the_loopback_device():
    program = (
        "import socket; s = [socket.create_server(('', 0)) for _ in range(2)];"
        "u = socket.socketpair(); print('listens', flush=True); import time; time.sleep(60)"
    )
    child = child_processes.Child([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child._process.stdout.readline() == "listens\n"
        assert _devices(child.process_id) == [b"", b""]
        assert loopback.confine(child.process_id) == 2
        assert _devices(child.process_id) == [b"lo\0", b"lo\0"]
    finally:
        child.end()
    with pytest.raises(ProcessLookupError):
        loopback.confine(child.process_id)


def test_where_a_worker_cannot_be_tied_to_this_machine_that_is_said(monkeypatch, caplog):
    def refuse(pid):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(loopback, "confine", refuse)
    with native.native_context():
        assert _add([1, 2]) == 3
    (warning,) = (r.getMessage() for r in caplog.records if r.name == native.__name__)
    assert "all addresses of this machine" in warning
    assert "Operation not permitted" in warning


def test_executors_of_other_cohort_sizes_are_closed(monkeypatch):
    closed = []
    close = tff.framework.RemoteExecutor.close
    monkeypatch.setattr(
        tff.framework.RemoteExecutor, "close", lambda self: (closed.append(self), close(self))[1]
    )
    with native.native_context():
        for size in range(1, 11):
            assert _add([1] * size) == size
        assert len(set(closed)) >= 10 - native._MAX_EXECUTORS
        # A size that was closed comes back.
        assert _add([7]) == 7


@pytest.mark.slow
def test_workers_that_somebody_started_share_the_clients():
    with contextlib.ExitStack() as stack:
        workers = [native.WorkerProcess(1) for _ in range(2)]
        for worker in workers:
            stack.callback(worker.close)
            worker.connect()
            # Ours are reached from this machine alone, whatever address they listen on.
            assert _devices(worker._child.process_id) == [b"lo\0"]
        before = _our_workers()
        addresses = [f"localhost:{worker._port}" for worker in workers]
        with native.native_context(workers=addresses):
            for size in (0, 1, 2, 7):
                clients = list(range(size))
                assert _add(clients) == sum(clients)
            part = stacking.StackedClients(np.int32([4, 5, 6]), np.arange(3))
            result = _step(_State(np.float32(1), (np.int32(2),)), stacking.StackedCohort((part,)))
            assert result == _State(np.float32(6), (np.int32(17),))
            assert isinstance(result.counts, tuple)
            # No worker was started.
            assert _our_workers() == before
            workers[1].close()
            with pytest.raises(native.WorkerLostError, match=f"answers at {addresses[1]}"):
                _add([1, 2, 3])
    with pytest.raises(native.WorkerLostError), native.native_context(workers=addresses):
        pass
