"""Runs as child processes, a few at a time, that never outlive this one.

A child is started by a small shell that leaves a watcher behind and becomes the child. The watcher
reads a pipe from us: when we end, for whatever reason, SIGKILL included, the pipe closes and the
watcher kills the child. A child that ended by itself is told to its watcher by a line in the pipe.
Children are in sessions of their own, so Ctrl-C reaches us alone, and we decide what they get.
"""

# Tested in tests/studies/sweep/test_sweep_study.py.

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

_SUPERVISED = (
    'exec 3<&0; (read -r line <&3 || kill -KILL "$$") >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
)
_POLL_SECONDS = 0.05
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
      name: Name that the child was started under.
      status: Exit status of the child, or minus the signal that killed it.
    """

    name: str
    status: int


class _Child:
    """A supervised process."""

    def __init__(
        self, command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str]
    ) -> None:
        self._is_interrupted = False
        read_end, self._pipe = os.pipe()
        try:
            with log.open("ab") as errors:
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _SUPERVISED, "sh", *command],
                    stdin=read_end,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=dict(environment),
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(read_end)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        status = self._process.poll()
        if status is not None and self._pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, b"\n")
            os.close(self._pipe)
            self._pipe = None
        return status

    def interrupt(self) -> None:
        """Sends SIGINT the first time that it is called: a second one would end a run at once."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
        self.poll()


class ProcessPool:
    """Children by name; use as a context manager, at whose end none is left."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            child.end()

    @property
    def num_running(self) -> int:
        """How many children there are."""
        return len(self._children)

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: pathlib.Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a child.

        Args:
          name: Name of the child; no other running one has it.
          command: Program and arguments.
          log: File that its standard error is appended to; its output is discarded.
          environment: Environment of the child; None for ours.
        """
        self._children[name] = _Child(command, log, environment or os.environ)

    def wait_some(self, seconds: float) -> Iterator[Ended]:
        """Waits a while for children to end.

        Args:
          seconds: Seconds to wait at most; no waiting at all beyond the first that has ended.

        Yields:
          Those that have ended; none if the time is over.
        """
        deadline = time.monotonic() + seconds
        while True:
            statuses = {name: child.poll() for name, child in self._children.items()}
            ended = {name: status for name, status in statuses.items() if status is not None}
            for name, status in ended.items():
                del self._children[name]
                yield Ended(name, status)
            if ended or not self._children or time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def interrupt(self, name: str | None = None) -> None:
        """Sends SIGINT, on which runs save and leave, to children that were not sent one yet.

        Args:
          name: Name of the child that gets the signal; None for all.
        """
        children = self._children.values() if name is None else [self._children[name]]
        for child in children:
            child.interrupt()


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def limit_threads(environment: Mapping[str, str], num_threads: int) -> dict[str, str]:
    """An environment in which libraries start so many threads; what is set already stays.

    Args:
      environment: Environment to begin with.
      num_threads: Number of threads for each of the libraries' pools.

    Returns:
      Another environment.
    """
    return {**dict.fromkeys(_THREAD_VARIABLES, str(num_threads)), **environment}
