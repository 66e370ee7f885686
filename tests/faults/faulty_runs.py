"""A small private run with repeatable noise, what came out of it, and the server that runs it."""

import collections
import csv
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import system_calls

ROOT = pathlib.Path(__file__).resolve().parents[2]
_HERE = pathlib.Path(__file__).parent

# All that a session does is done: rounds with an evaluation and without, checkpoints that are
# removed, two releases before training, and each of these costs privacy.
FLAGS = {
    "preset": "basic",
    "synthetic_users": 60,
    "synthetic_items": 60,
    "max_interactions_per_user": 10,
    "catalogue": "table",
    "embedding_dim": 4,
    "num_blocks": 0,
    "num_negatives": 8,
    "clients_per_round": 10,
    "rounds": 4,
    "rounds_per_evaluation": 2,
    "rounds_per_checkpoint": 1,
    "noise_multiplier": 1.5,
    "insecure_deterministic_noise": True,
    "private_evaluation_noise_multiplier": 4.0,
    "execution": "debug",
}
_EPSILON = "privacy/insecure_epsilon"
_MEASURED = {
    *("non_private/seconds", "non_private/users_per_second", "git_revision"),
    *("privacy_statement", "privacy_ledger_digest", "insecure_epsilon"),
}
_EVENTS = re.compile(r"events\.out\.tfevents\.\d+\..*?\.\d+\.\d+(\.\w+)$")
_TIMES = ("time/", "seconds")


def to_argv(flags, output_dir):
    return [f"--output_dir={output_dir}", *(f"--{name}={value}" for name, value in flags.items())]


class FaultServer:
    """A `fault_server.py`."""

    def __init__(self, folder):
        self._errors = (folder / "server.err").open("w")
        self._log = folder / "session"
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "fault_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(_HERE)]),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            cwd=ROOT,
        )

    def call(self, job, **arguments):
        """Has a job done, and returns its answer."""
        self._process.stdin.write(json.dumps({"job": job, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, pathlib.Path(self._errors.name).read_text()[-3000:]
        return json.loads(line)

    def run(self, binary, argv, watched, **options):
        """Runs a binary; see `system_calls.trace` for what is watched, and what goes wrong."""
        fault = options.pop("fault", None)
        if fault is not None:
            fault = {**dataclasses.asdict(fault), "kinds": sorted(fault.kinds)}
        answer = self.call(
            "run",
            binary=binary,
            argv=list(map(str, argv)),
            folder=str(watched),
            log=str(self._log),
            fault=fault,
            **options,
        )
        operations = tuple(system_calls.Operation(*found) for found in answer["operations"])
        survivors = tuple(answer["survivors"])
        return Session(answer["status"], operations, survivors, answer["stderr"])

    def train(self, root, flags=FLAGS, **options):
        """Starts the run in a folder, or resumes it."""
        return self.run("train", to_argv(flags, root), root, **options)

    def close(self):
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


@dataclasses.dataclass(frozen=True)
class Session:
    """How a session ended, and what it did."""

    status: int
    operations: tuple
    survivors: tuple
    stderr: str

    @property
    def last_line(self):
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""

    def check_is_clean(self):
        """No process is left, and nobody sees a stack trace."""
        assert self.survivors == ()
        assert "Traceback" not in self.stderr, self.stderr

    def check_is_refused(self, *named):
        """One line says what is wrong, by some of these names, and the status is that of it."""
        self.check_is_clean()
        assert self.status == 2, self.stderr
        assert any(name in self.last_line for name in named), self.stderr


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All that a finished run has, but for times and for what tells its sessions."""

    results: dict
    spent: float
    model: dict
    rows: list
    epsilons: list
    scalars: list
    files: frozenset
    ledger: bytes

    def check_is(self, expected):
        """The same as that of the run that was left alone."""
        # A checkpoint that was to be removed when a kill came is kept; else nothing is left over.
        extra = [name for name in self.files - expected.files if "program_state" not in name]
        assert (extra, expected.files - self.files) == ([], set())
        assert self.results == expected.results
        # A line of the ledger that was torn counts.
        assert self.spent >= expected.spent
        assert self.model == expected.model
        assert self.rows == expected.rows
        # What was computed again is told with what had been spent by then.
        pairs = zip(self.epsilons, expected.epsilons, strict=True)
        assert all(ours >= theirs for ours, theirs in pairs)
        assert _subtract(self.scalars, expected.scalars) == []
        assert _subtract(expected.scalars, self.scalars) == []


def _subtract(points, others):
    """Points that are there more often than among others."""
    left = collections.Counter(map(tuple, points)) - collections.Counter(map(tuple, others))
    return sorted(left.elements(), key=repr)


def read_outcome(server, root):
    """Reads a finished run."""
    results = json.loads((root / "results.json").read_text())
    rows, epsilons = [], []
    with (root / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            epsilons.append(float(row.pop(_EPSILON, 0.0)))
            rows.append({n: v for n, v in row.items() if not any(time in n for time in _TIMES)})
    scalars = [
        [name, step, None if any(time in name for time in _TIMES) else value]
        for name, step, value in server.call("read", folder=str(root))["scalars"]
    ]
    return Outcome(
        {name: value for name, value in results.items() if name not in _MEASURED},
        results[_EPSILON.partition("/")[2]],
        read_model(root),
        rows,
        epsilons,
        sorted(scalars, key=repr),
        frozenset(_name_kind(path.relative_to(root)) for path in root.rglob("*")),
        (root / "privacy_ledger.jsonl").read_bytes(),
    )


def read_model(root):
    """The bits of a released model by the names of its arrays."""
    with np.load(root / "model.npz") as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


def _name_kind(path):
    found = _EVENTS.fullmatch(path.name)
    return str(path if found is None else path.with_name(f"events{found[1]}"))
