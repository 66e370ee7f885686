"""The worker: a process of an environment of its own, which ends with us."""

# Tested in tests/accelerator/test_worker_process.py.

import contextlib
import os
import pathlib
import socket
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedrec_tff import child_processes, errors
from fedrec_tff.accelerator import channel
from fedrec_tff.execution import exceptions

ENVIRONMENT_VARIABLE = "FEDREC_ACCELERATOR_PYTHON"
_FOLDER = ".venv-accelerator"
_HERE = pathlib.Path(__file__).resolve().parents[2]
_START = pathlib.Path(__file__).parent / "worker" / "start.py"
_FAILURES = {
    "device": exceptions.DeviceNotFoundError,
    "memory": exceptions.OutOfMemoryError,
    "unsupported": exceptions.UnsupportedComputationError,
}
# Of what a worker said before it ended, what a message has room for.
_MOST_CHARACTERS = 300


def check_is_installed(flag: str) -> None:
    """Checks that there is an environment for the worker.

    Args:
      flag: What needs it, as the user typed it.

    Raises:
      UserError: If there is none.
    """
    try:
        find_python()
    except exceptions.WorkerUnfitError as error:
        raise errors.UserError(f"{flag}: {error}") from error


def find_python() -> pathlib.Path:
    """Finds the worker's interpreter.

    Returns:
      Its path.

    Raises:
      WorkerUnfitError: If there is none.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named is not None:
        if not os.access(named, os.X_OK):
            raise exceptions.WorkerUnfitError(
                f"{ENVIRONMENT_VARIABLE}={named} is no interpreter that can be run"
            )
        return pathlib.Path(named)
    for home in (pathlib.Path(sys.prefix).parent, _HERE):
        python = home / _FOLDER / "bin" / "python"
        if os.access(python, os.X_OK):
            return python
    raise exceptions.WorkerUnfitError(
        f"there is no environment for accelerators: `make accelerator` installs it into {_FOLDER}, "
        f"or {ENVIRONMENT_VARIABLE} names the interpreter of one that has JAX"
    )


class WorkerProcess:
    """A worker and the channel to it."""

    def __init__(self, device: str, num_cpu_devices: int = 1) -> None:
        """Starts a worker.

        Args:
          device: Name of its devices: `cpu`, `gpu` (all of them), `gpu:N`, `tpu` or `tpu:N`.
          num_cpu_devices: Number of devices that `cpu` stands for.

        Raises:
          WorkerUnfitError: If there is no environment for it, or it cannot start.
          DeviceNotFoundError: If the machine has no such device, or JAX does not see it.
        """
        self._owned = contextlib.ExitStack()
        outgoing, incoming, self._said = (self._create_memory() for _ in range(3))
        ours, its = socket.socketpair()
        self._owned.enter_context(ours)
        inherited = (its.fileno(), outgoing, incoming)
        command = [str(find_python()), "-I", str(_START), *map(str, inherited)]
        command += [device, str(num_cpu_devices)]
        try:
            self._child = child_processes.Child(
                command, stderr=self._said, environment=_environment(device), descriptors=inherited
            )
        finally:
            its.close()
        self._channel = channel.Channel(ours, channel.Arena(outgoing), channel.Arena(incoming))
        try:
            fields, _ = self._receive()
        except exceptions.WorkerLostError as error:
            self.end()
            raise exceptions.WorkerUnfitError(f"{error}: it did not start") from error
        except BaseException:
            self.end()
            raise
        self.device_names: list[str] = fields["devices"]
        self.platform: str = fields["platform"]

    def ask(
        self, kind: str, fields: dict[str, Any], arrays: Sequence[np.ndarray] = ()
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Sends a message and waits for the answer.

        Args:
          kind: Kind of the message; see `worker.serving`.
          fields: What JSON can write.
          arrays: Arrays of numbers or booleans.

        Returns:
          The fields and arrays of the answer.

        Raises:
          UnsupportedComputationError: If the worker cannot run a program.
          OutOfMemoryError: If the device has too little memory.
          ExecutionError: If something else failed there.
          WorkerLostError: If the worker has ended.
        """
        with self._telling_of_losses():
            self._channel.send(kind, fields, arrays)
        return self._receive()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._child.poll() is not None

    def end(self) -> None:
        """Ends the worker; harmless if it has ended."""
        self._child.end()
        self._owned.close()

    def _create_memory(self) -> int:
        descriptor = channel.create_memory()
        self._owned.callback(os.close, descriptor)
        return descriptor

    def _receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        with self._telling_of_losses():
            kind, fields, arrays = self._channel.receive(lambda: self._child.poll() is None)
        if kind == "failure":
            raise _FAILURES.get(fields["class"], exceptions.ExecutionError)(fields["message"])
        return fields, arrays

    @contextlib.contextmanager
    def _telling_of_losses(self):
        try:
            yield
        except channel.ClosedError:
            lost = self._describe_loss()
        else:
            return
        # Not inside of `except`, so that the message stands alone.
        raise lost

    def _describe_loss(self) -> exceptions.WorkerLostError:
        self._child.end()
        os.lseek(self._said, 0, os.SEEK_SET)
        with open(self._said, errors="replace", closefd=False) as file:
            said = file.read().strip().splitlines()
        last = f": {said[-1][-_MOST_CHARACTERS:]}" if said else ""
        return exceptions.WorkerLostError(
            f"the accelerator's process has ended, with status {self._child.poll()}{last}"
        )


def _environment(device: str) -> dict[str, str]:
    """Our environment, without what is meant for TensorFlow's XLA, and with less to say.

    A GPU's memory is taken as it is needed: a sweep may have several runs on one.
    """
    ours = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    ours.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if device.startswith("cpu"):
        ours["JAX_PLATFORMS"] = "cpu"
    return {**ours, "TF_CPP_MIN_LOG_LEVEL": "2"}
