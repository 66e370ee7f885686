"""Enters the native context and ends in every way there is; a process for each, by forking.

Prints a line of JSON for each ending: how the process ended, whether its standard output was
closed, which worker processes it had, and which of them are still there.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time

import numpy as np
import psutil
import tensorflow_federated as tff

from fedrec_tff.execution import native

_DEADLINE_SECONDS = 300.0
_ENDINGS = ("block", "no block", "exception", "SIGINT", "SIGTERM", "SIGKILL")
_kept = []


def _live(ending: str) -> None:
    """What a forked process does; its standard output is a pipe."""

    @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
    def add(values):
        return tff.federated_sum(values)

    context = native.native_context()
    with context if ending != "no block" else _without_end(context):
        result = add([1, 2, 3]) if ending == "block" else None
        workers = [child.pid for child in psutil.Process().children(recursive=True)]
        print(
            json.dumps({"workers": workers, "sum": None if result is None else int(result)}),
            flush=True,
        )
        if ending == "exception":
            raise RuntimeError("on purpose")
        if ending.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, ending))
            time.sleep(_DEADLINE_SECONDS)


@contextlib.contextmanager
def _without_end(context):
    """Enters a context and does not leave it, like a script that does not care."""
    _kept.append(context)
    context.__enter__()
    yield


def _start(ending: str) -> tuple[int, int]:
    """Forks; returns the process and the reading end of its output."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        os.dup2(theirs, 1)
        os.close(theirs)
        os.close(ours)
        _live(ending)
        sys.exit(0)
    os.close(theirs)
    return process, ours


def _read_to_end(descriptor: int) -> tuple[bytes, bool]:
    """Reads as `| tail` would; says whether the end came."""
    output, deadline = b"", time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 1.0)[0]:
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return output, True
            output += chunk
    return output, False


def _wait_for_end(pids: list[int]) -> list[int]:
    """Those of the processes that are there after some time."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and any(_is_alive(pid) for pid in pids):
        time.sleep(0.1)
    return [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Runs all endings at once, then looks at what is left."""
    started = {ending: _start(ending) for ending in _ENDINGS}
    for ending, (process, descriptor) in started.items():
        output, is_closed = _read_to_end(descriptor)
        _, status = os.waitpid(process, 0)
        told = json.loads(output.splitlines()[0])
        report = {
            "ending": ending,
            "status": os.waitstatus_to_exitcode(status),
            "is_closed": is_closed,
            "left": _wait_for_end(told["workers"]),
            **told,
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
