"""Runs training sessions for tests, each in a fork of this process, which has TensorFlow imported.

Importing TensorFlow takes ten seconds; a fork has it for nothing. Nothing of TensorFlow's runtime
is started before the fork. Requests are lines of JSON on the standard input: an id and a list of
steps that are run one after the other. The answer has the id and each step's exit status.

A step may say where its process is to be hit by a signal; see `_POINTS`.
"""

import gc
import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from tensorboard.plugins.hparams import plugin_data_pb2

from experiments import app, train
from fedrec_tff.privacy import ledger as ledger_lib
from fedrec_tff.run import federated_run  # noqa: F401
from fedrec_tff.run.display import summary  # noqa: F401
from fedrec_tff.run.folder import whole_files
from fedrec_tff.run.folder.program_state import (
    array_file,
    opening,
    state_file,
    state_manager,
)

_MAX_CHAINS_AT_ONCE = 2

# Name: the function at which a signal strikes, and whether before or after it has run.
_POINTS = {
    "after_ledger_append": (ledger_lib.PrivacyLedger, "append", "after"),
    "before_release": (tff.program.CSVFileReleaseManager, "release", "before"),
    "after_release": (tff.program.CSVFileReleaseManager, "release", "after"),
    "in_save": (array_file, "write_array", "after"),
    "before_pruning": (state_file, "write", "after"),
    "after_save": (state_manager.StateManager, "save", "after"),
    "before_write_json": (whole_files, "write_json", "before"),
}


def _strike(point: str, call: int, number: int, tear: str | None = None) -> None:
    """Sends this process a signal at the n-th call of a function; tears a file before if told."""
    owner, name, when = _POINTS[point]
    original = getattr(owner, name)
    calls = 0

    def strike() -> None:
        if tear is not None:
            with open(tear, "ab") as file:
                file.write(b"7,0.1")
        os.kill(os.getpid(), number)

    def count() -> bool:
        nonlocal calls
        calls += 1
        return calls == call

    def plain(*args, **kwargs):
        is_it = count()
        if is_it and when == "before":
            strike()
        result = original(*args, **kwargs)
        if is_it and when == "after":
            strike()
        return result

    async def coroutine(*args, **kwargs):
        is_it = count()
        if is_it and when == "before":
            strike()
        result = await original(*args, **kwargs)
        if is_it and when == "after":
            strike()
        return result

    is_coroutine = original.__code__.co_flags & 0x80
    setattr(owner, name, coroutine if is_coroutine else plain)


def _train(argv: list[str], strike: dict | None = None) -> None:
    if strike is not None:
        _strike(**strike)
    sys.argv = ["train", *argv]
    app.run(train.main)


def _read_events(folder: str, out: str) -> None:
    """Writes all that TensorBoard shows of a run: lists of [tag, step, value] by kind.

    Scalars are called as metrics are, without the number of their topic; `end` has those of the
    folders that are written once.
    """
    found = {"scalars": [], "end": [], "texts": [], "hparams": []}
    root = pathlib.Path(folder)
    for path in sorted(root.rglob("events.out.tfevents.*")):
        scalars = found["scalars" if path.parent == root else "end"]
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                array = tf.make_ndarray(value.tensor) if value.HasField("tensor") else None
                if plugin == "hparams":
                    found["hparams"].append([value.tag, event.step, _hparams(value)])
                elif plugin == "text":
                    found["texts"].append([value.tag, event.step, array.item().decode()])
                elif plugin == "scalars":
                    name = value.tag.partition(" ")[2]
                    scalars.append([name, event.step, array.item()])
    pathlib.Path(out).write_text(json.dumps(found))


def _hparams(value) -> dict:
    data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
    values = data.session_start_info.hparams
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in values.items()}


def _read_checkpoint(path: str, out: str) -> None:
    """Writes the arrays of a checkpoint, in a fixed order; without the time spent."""
    state = opening.open_state(pathlib.Path(path))
    arrays = [np.asarray(state.read(n)) for n in state.names if n.startswith("state/")]
    np.savez(out, *[array for array in arrays if array.dtype.kind in "fiu"])


_JOBS = {"train": _train, "read_events": _read_events, "read_checkpoint": _read_checkpoint}


def _run_step(step: dict, log: str) -> None:
    """Never returns normally: ends as a program of its own would."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for descriptor, suffix in ((1, "out"), (2, "err")):
        file = os.open(f"{log}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    _JOBS[step["job"]](**step["arguments"])
    sys.exit(0)


def _run_chain(request: dict) -> None:
    statuses = []
    for index, step in enumerate(request["steps"]):
        process = os.fork()
        if process == 0:
            _run_step(step, f"{request['log']}-{index}")
        _, status = os.waitpid(process, 0)
        statuses.append(os.waitstatus_to_exitcode(status))
    answer = json.dumps({"id": request["id"], "statuses": statuses}) + "\n"
    os.write(1, answer.encode())
    os._exit(0)


def main() -> None:
    """Serves until the standard input ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What is imported never becomes garbage: no fork looks through it again, nor at its end.
    gc.freeze()
    running = 0
    # Unbuffered: a fork must not find requests that its parent has read ahead.
    for line in iter(sys.stdin.buffer.raw.readline, b""):
        if running == _MAX_CHAINS_AT_ONCE:
            os.wait()
            running -= 1
        if os.fork() == 0:
            _run_chain(json.loads(line))
        running += 1


if __name__ == "__main__":
    main()
