"""What the tests of whole training runs share: tiny flags, the session server, reading outputs."""

import contextlib
import csv
import itertools
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 1500.0

# A few seconds of training. Histories are short enough that 99 negatives can be drawn.
TINY = {
    "synthetic_users": 100,
    "synthetic_items": 300,
    # One length of clients, one program to compile. It leaves some items without anybody.
    "max_interactions_per_user": 14,
    # The same items with privacy and without.
    "catalogue": "table",
    "embedding_dim": 8,
    "num_negatives": 16,
    "clients_per_round": 20,
    "rounds": 8,
    "rounds_per_evaluation": 4,
    "rounds_per_checkpoint": 3,
}
# Repeatable, with noise.
DETERMINISTIC = {**TINY, "noise_multiplier": 1.5, "insecure_deterministic_noise": True}


def to_argv(flags, output_dir):
    flags = {"preset": "basic", **flags}
    return [f"--output_dir={output_dir}", *(f"--{name}={value}" for name, value in flags.items())]


def train_step(flags, output_dir, **strike):
    """A step for the server; `strike` has point, call, number and tear."""
    arguments = {"argv": to_argv(flags, output_dir), "strike": strike or None}
    return {"job": "train", "arguments": arguments}


def kill(point, call, **kwargs):
    return {"point": point, "call": call, "number": int(signal.SIGKILL), **kwargs}


class SessionServer:
    """A `session_server.py`, which starts at once and is waited for only by `wait`."""

    def __init__(self, folder):
        self._folder = folder
        self._ids = itertools.count()
        self._answers = {}
        self._errors = (folder / "server.err").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("session_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            # What must be secret is so whatever this is.
            umask=0,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
            cwd=ROOT,
        )

    def start(self, steps):
        """Queues a chain of steps; two chains run at a time."""
        number = next(self._ids)
        request = {"id": number, "steps": steps, "log": str(self._folder / f"chain-{number}")}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return number

    def wait(self, number):
        """Exit statuses of a chain's steps; minus the signal's number for a killed one."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while number not in self._answers:
            ready, _, _ = select.select([self._process.stdout], [], [], 1.0)
            line = self._process.stdout.raw.readline() if ready else None
            if line == b"" or time.monotonic() > deadline:
                self._errors.flush()
                errors = (self._folder / "server.err").read_text()[-3000:]
                raise RuntimeError(f"the session server ended, or hangs: {errors}")
            if line:
                answer = json.loads(line)
                self._answers[answer["id"]] = answer["statuses"]
        return self._answers[number]

    def stderr(self, number, step=-1):
        """What a step of a finished chain printed."""
        return self._output(number, step, "err")

    def stdout(self, number, step=-1):
        return self._output(number, step, "out")

    def call(self, job, **arguments):
        """Runs one step that must succeed."""
        number = self.start([{"job": job, "arguments": arguments}])
        assert self.wait(number) == [0], self.stderr(number)

    def close(self):
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _output(self, number, step, suffix):
        index = step % len(self._answers[number])
        return (self._folder / f"chain-{number}-{index}.{suffix}").read_text()


class Run:
    """A run's folder, read."""

    def __init__(self, root, server):
        self.root = pathlib.Path(root)
        self._server = server
        self._read = {}

    @property
    def results(self):
        return json.loads((self.root / "results.json").read_text())

    @property
    def config(self):
        return json.loads((self.root / "config.json").read_text())

    @property
    def ledger_path(self):
        return self.root / "privacy_ledger.jsonl"

    @property
    def rows(self):
        """Rows of metrics.csv: names to numbers, without the empty fields."""
        with (self.root / "metrics.csv").open(newline="") as file:
            return [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]

    @property
    def checkpoint_rounds(self):
        names = os.listdir(self.root / "checkpoints")
        return sorted(int(name.removeprefix("program_state_")) for name in names)

    def checkpoint(self, round_number):
        """Arrays of the program state after a round; read once."""
        if round_number not in self._read:
            path = self.root / "checkpoints" / f"program_state_{round_number}"
            out = self.root.parent / f"{self.root.name}-{round_number}.npz"
            self._server.call("read_checkpoint", path=str(path), out=str(out))
            with np.load(out) as arrays:
                self._read[round_number] = [arrays[name] for name in arrays.files]
        return self._read[round_number]

    @property
    def events(self):
        """Scalars, those of the end, texts and hparams: lists of [tag, step, value]; read once."""
        if "events" not in self._read:
            out = self.root.parent / f"{self.root.name}-events.json"
            self._server.call("read_events", folder=str(self.root), out=str(out))
            self._read["events"] = json.loads(out.read_text())
        return self._read["events"]


def without_times(rows):
    return [
        {
            name: value
            for name, value in row.items()
            if not name.removeprefix("non_private/").startswith("time/")
        }
        for row in rows
    ]
