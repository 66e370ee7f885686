"""Processes on the nodes of a cluster, each kept by a small worker there, with which it ends."""

# Tested in tests/studies/sweep/test_cluster_pool.py.

import collections
import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fedrec_tff import child_processes, errors

_POLL_SECONDS = 0.5
_MAX_LOSSES = 3
# What a process that was lost with its nodes, again and again, is said to have ended with.
LOST = -int(signal.SIGKILL)
_logger = logging.getLogger(__name__)


class Keeper:
    """Keeps one process on a node; its end, however that is, is that of the process."""

    def __init__(self) -> None:
        """Prepares for Ctrl-C, which is for the driver."""
        # Neither ignored nor blocked, as Ray has it: the process would inherit that.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._child: child_processes.Child | None = None

    def start(
        self, command: Sequence[str], folder: str, log: str, environment: Mapping[str, str]
    ) -> None:
        """Starts the process.

        Args:
          command: Program and arguments.
          folder: Folder that it starts in, on a disk that all nodes see.
          log: File that its standard error is appended to, likewise.
          environment: Variables that are set beside those of the node, where it has not set them.
        """
        os.chdir(folder)
        with pathlib.Path(log).open("ab") as output:
            self._child = child_processes.Child(
                command, stderr=output, environment={**environment, **os.environ}
            )

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._child.poll()

    def interrupt(self) -> None:
        """Sends SIGINT the first time that it is called."""
        self._child.interrupt()


@dataclasses.dataclass
class _Process:
    """A process, and who keeps it.

    Attributes:
      arguments: Arguments of `Keeper.start`.
      keeper: Handle of the keeper.
      reference: Reference to what the keeper is about to return.
      has_started: Whether the keeper has started the process.
      is_interrupted: Whether the process was asked to end.
      num_losses: How often it was lost with its keeper.
    """

    arguments: tuple[Any, ...]
    keeper: Any = None
    reference: Any = None
    has_started: bool = False
    is_interrupted: bool = False
    num_losses: int = 0


class NodeProcesses:
    """Processes by name; use as a context manager, at whose end none is left.

    A process whose node is lost is started again on another, with the same command.
    """

    def __init__(self, ray: Any, num_cpus: int, num_gpus: int = 0) -> None:
        """Initialises the processes.

        Args:
          ray: The module, connected.
          num_cpus: Number of processors that each process takes of a node.
          num_gpus: Number of GPUs that each process takes.
        """
        self._ray = ray
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._processes: dict[str, _Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            self._ray.kill(process.keeper)

    @property
    def num_running(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    def count_places(self) -> int:
        """For how many processes the cluster has room now.

        Raises:
          UserError: If there is room for none.
        """
        cpus, gpus = self._resources["num_cpus"], self._resources["num_gpus"]
        places = 0
        for node in self._ray.nodes():
            found = node["Resources"] if node["Alive"] else {}
            room = found.get("CPU", 0.0) // cpus
            places += int(min(room, found.get("GPU", 0.0) // gpus) if gpus else room)
        if not places:
            wanted = f"{cpus} CPUs" + (f" and {gpus} GPUs" if gpus else "")
            raise errors.UserError(
                f"no node of the cluster has room for a run, each of which takes {wanted}: see "
                "`ray status`, or choose --num_parallel_shards smaller"
            )
        return places

    def start(
        self, name: str, command: Sequence[str], log: pathlib.Path, environment: Mapping[str, str]
    ) -> None:
        """Starts a process, as soon as a node has room for it, in the folder that is ours.

        Args:
          name: Name of the process; no other running one has it.
          command: Program and arguments, which every node has.
          log: File that its standard error is appended to; its output is discarded.
          environment: Variables that are set beside those of the node.
        """
        places = (os.getcwd(), os.fspath(log.resolve()))
        arguments = (list(command), *places, dict(environment))
        self._processes[name] = _Process(arguments)
        self._keep(self._processes[name])

    def wait_some(self, seconds: float) -> Iterator[tuple[str, int]]:
        """Waits a while for processes to end.

        Args:
          seconds: Seconds to wait at most; no waiting at all beyond the first that has ended.

        Yields:
          Names and exit statuses of those that have ended; none if the time is over.
        """
        if not self._processes:
            return
        for name, status in child_processes.wait_for_some(
            self._poll, seconds, _POLL_SECONDS
        ).items():
            self._ray.kill(self._processes.pop(name).keeper)
            yield name, status

    def interrupt(self, name: str | None = None) -> None:
        """Sends SIGINT, on which runs save and leave, to processes that were not sent one yet.

        Args:
          name: Name of the process that gets the signal; None for all.
        """
        found = self._processes.values() if name is None else [self._processes[name]]
        for process in found:
            if process.is_interrupted:
                continue
            process.is_interrupted = True
            if process.has_started:
                process.keeper.interrupt.remote()
            else:
                # It may wait for room for long.
                self._ray.kill(process.keeper)

    def _keep(self, process: _Process) -> None:
        process.keeper = (
            self._ray.remote(Keeper)
            .options(**self._resources, max_restarts=0, scheduling_strategy="SPREAD")
            .remote()
        )
        process.has_started = False
        process.reference = process.keeper.start.remote(*process.arguments)

    def _poll(self) -> dict[str, int]:
        """The exit statuses of processes that have ended, by name."""
        pending = collections.OrderedDict(
            (process.reference, name) for name, process in self._processes.items()
        )
        ready, _ = self._ray.wait(list(pending), num_returns=len(pending), timeout=_POLL_SECONDS)
        ended = {}
        for name in (pending[reference] for reference in ready):
            status = self._receive(name)
            if status is not None:
                ended[name] = status
        return ended

    def _receive(self, name: str) -> int | None:
        """Takes what a keeper returned; the exit status if its process has ended."""
        process, exceptions = self._processes[name], self._ray.exceptions
        try:
            status = self._ray.get(process.reference)
        except exceptions.RayTaskError as error:
            reason = str(error).strip().splitlines()[-1]
            raise errors.UserError(f"a node of the cluster cannot make {name}: {reason}") from error
        except exceptions.RayError as error:
            process.num_losses += 1
            # One that was to end has ended, and what is lost every time is lost.
            if process.is_interrupted or process.num_losses >= _MAX_LOSSES:
                return LOST
            _logger.warning(
                "%s was lost with its node (%s): it goes on elsewhere", name, type(error).__name__
            )
            with contextlib.suppress(Exception):
                self._ray.kill(process.keeper)
            self._keep(process)
            return None
        if process.has_started and status is not None:
            return status
        process.has_started = True
        process.reference = process.keeper.poll.remote()
        return None
