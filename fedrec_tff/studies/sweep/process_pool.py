"""Runs as child processes, a few at a time."""

# Tested in tests/studies/sweep/test_sweep_study.py.

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from fedrec_tff import child_processes

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


class ProcessPool:
    """Children by name; use as a context manager, at whose end none is left."""

    def __init__(self, num_threads: int) -> None:
        """Initialises the pool.

        Args:
          num_threads: Number of threads of each child, as far as its environment says.
        """
        self._children: dict[str, child_processes.Child] = {}
        self.num_threads = num_threads

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

    def start(self, name: str, command: Sequence[str], log: pathlib.Path) -> None:
        """Starts a child.

        Args:
          name: Name of the child; no other running one has it.
          command: Program and arguments.
          log: File that its standard error is appended to; its output is discarded.
        """
        with log.open("ab") as errors:
            self._children[name] = child_processes.Child(
                command,
                stderr=errors,
                environment=limit_threads(os.environ, self.num_threads),
            )

    def wait_some(self, seconds: float) -> Iterator[Ended]:
        """Waits a while for children to end.

        Args:
          seconds: Seconds to wait at most; no waiting at all beyond the first that has ended.

        Yields:
          Those that have ended; none if the time is over.
        """
        if not self._children:
            return
        for name, status in child_processes.wait_for_some(
            self._poll, seconds, _POLL_SECONDS
        ).items():
            del self._children[name]
            yield Ended(name, status)

    def interrupt(self, name: str | None = None) -> None:
        """Sends SIGINT, on which runs save and leave, to children that were not sent one yet.

        Args:
          name: Name of the child that gets the signal; None for all.
        """
        children = self._children.values() if name is None else [self._children[name]]
        for child in children:
            child.interrupt()

    def _poll(self) -> dict[str, int]:
        statuses = {name: child.poll() for name, child in self._children.items()}
        return {name: status for name, status in statuses.items() if status is not None}


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
