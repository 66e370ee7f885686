"""Runs binaries for the tests of faults, each in a traced fork of this process.

It has TensorFlow imported, and nothing of its runtime started. Requests are lines of JSON on the
standard input, the arguments of a job by name; each is answered with a line.
"""

import dataclasses
import datetime
import gc
import importlib
import json
import os
import pathlib
import pickle
import signal
import sys
import time
from typing import Any

import snapshots
import system_calls
import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from experiments import app
from fedrec_tff.run import federated_run  # noqa: F401
from fedrec_tff.run.display import summary  # noqa: F401


def _run(
    binary: str,
    argv: list[str],
    folder: str,
    log: str,
    fault: dict[str, Any] | None = None,
    snapshots_to: str | None = None,
    clock_shift: float = 0.0,
    user: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Runs a binary, and tells how it ended and what it did to a folder."""

    def begin() -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for descriptor, suffix in ((1, "out"), (2, "err")):
            file = os.open(f"{log}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(file, descriptor)
        _shift_clock(clock_shift)
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        sys.argv = [binary, *argv]
        # Here: each has flags of its own.
        app.run(importlib.import_module(f"experiments.{binary}").main)

    camera = None if snapshots_to is None else snapshots.Camera(pathlib.Path(folder))
    ended = system_calls.trace(
        begin,
        pathlib.Path(folder),
        None if fault is None else system_calls.Fault(**_to_fault(fault)),
        before=None if camera is None else camera.see,
        **options,
    )
    if camera is not None:
        with open(snapshots_to, "wb") as file:
            pickle.dump(camera.finish(), file)
    return {
        "status": ended.status,
        "operations": [dataclasses.astuple(operation) for operation in ended.operations],
        "survivors": list(ended.survivors),
        "stderr": pathlib.Path(f"{log}.err").read_text(),
    }


def _to_fault(fault: dict[str, Any]) -> dict[str, Any]:
    return {**fault, "kinds": frozenset(fault.get("kinds", system_calls.NEEDS_ROOM))}


def _shift_clock(seconds: float) -> None:
    """Has the clock on the wall, as Python reads it, go wrong by so much."""
    if seconds:
        tell, tell_in_ns = time.time, time.time_ns
        time.time = lambda: tell() + seconds
        time.time_ns = lambda: tell_in_ns() + int(seconds * 1e9)
        assert datetime.date.today() == datetime.date.fromtimestamp(tell() + seconds)


def _read(folder: str) -> dict[str, Any]:
    """Reads what came out of a run: of its event files the scalars, with the files' folders."""
    root = pathlib.Path(folder)
    scalars = []
    for path in sorted(root.rglob("events.out.tfevents.*")):
        for record in event_file_loader.RawEventFileLoader(str(path)).Load():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    name = f"{path.parent.relative_to(root)}:{value.tag}"
                    scalars.append([name, event.step, tf.make_ndarray(value.tensor).item()])
    return {"scalars": sorted(scalars)}


def _read_in_fork(**arguments: Any) -> dict[str, Any]:
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with os.fdopen(writer, "w") as file:
            json.dump(_read(**arguments), file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = json.load(file)
    os.waitpid(process, 0)
    return answer


_JOBS = {"run": _run, "read": _read_in_fork}


def main() -> None:
    """Serves until the standard input ends."""
    # Whoever started us may ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # No fork looks through what is imported for garbage.
    gc.freeze()
    for line in iter(sys.stdin.buffer.raw.readline, b""):
        request = json.loads(line)
        answer = _JOBS[request.pop("job")](**request)
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
