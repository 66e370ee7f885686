"""Child processes that never outlive this one.

A child is started by a small shell that leaves a watcher behind and becomes the child. The watcher
reads a pipe from us: when we end, for whatever reason, SIGKILL included, the pipe closes and the
watcher kills the child. A child that ended by itself is told to its watcher by a line in the pipe.
Children are in sessions of their own, so Ctrl-C reaches us alone, and we decide what they get.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

# A background job of a shell has no standard input, hence the descriptor 3. The watcher is nobody's
# child, so that it is not taken for one of the child's own processes, nor its memory for theirs.
_SUPERVISED = (
    'exec 3<&0; ({ read -r line <&3 || kill -KILL "$$"; } >/dev/null 2>&1 &); '
    'exec "$@" 3<&- </dev/null'
)
# The same for processes that somebody else started.
_WATCHING = 'read -r line || kill -KILL "$@"'


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
      status: Its exit status, or minus the signal that killed it.
      stdout: What it printed.
      stderr: What it said.
    """

    status: int
    stdout: str
    stderr: str


class Child:
    """A supervised process."""

    def __init__(
        self,
        command: Sequence[str],
        stdout: int | IO = subprocess.DEVNULL,
        stderr: int | IO = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Starts the process; its standard input is empty.

        Args:
          command: Program and arguments. One that cannot be started has a shell's exit status.
          stdout: File for its output, as `subprocess.Popen` takes it.
          stderr: File for its standard error, likewise.
          environment: Variables of its environment; None for ours.
          descriptors: Open files that it has, too, under the same numbers.
        """
        self._is_interrupted = False
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SUPERVISED, "sh", *command],
                stdin=read_end,
                stdout=stdout,
                stderr=stderr,
                env=None if environment is None else dict(environment),
                text=True,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(read_end)

    @property
    def process_id(self) -> int:
        """Its id, by which the system tells of it."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        status = self._process.poll()
        if status is not None and self._pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, b"\n")
            os.close(self._pipe)
            self._pipe = None
        return status

    def communicate(self, timeout_seconds: float) -> tuple[str, str]:
        """Waits for the end of what was started with `subprocess.PIPE`.

        Args:
          timeout_seconds: Number of seconds to wait.

        Returns:
          What it printed, and what it said.

        Raises:
          subprocess.TimeoutExpired: If it takes longer; it goes on.
        """
        return self._process.communicate(timeout=timeout_seconds)

    def interrupt(self) -> None:
        """Sends SIGINT the first time that it is called: a second one would end a run at once."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Ends it at once; harmless if it has ended."""
        # Which closes its pipes, and waits for it.
        with self._process:
            self._process.kill()
        self.poll()


@contextlib.contextmanager
def ending_with_us(process_ids: Sequence[int]) -> Iterator[None]:
    """Has processes that others started killed if we end, however that is, inside of the block.

    Args:
      process_ids: Ids of processes that end by themselves, or by others, not before the block does.
    """
    read_end, write_end = os.pipe()
    try:
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHING, "sh", *map(str, process_ids)],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(read_end)
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            os.write(write_end, b"\n")
        os.close(write_end)
        watcher.wait()


def run(command: Sequence[str], timeout_seconds: float) -> Ended:
    """Runs a child to its end.

    Args:
      command: Program and arguments.
      timeout_seconds: Number of seconds to wait.

    Returns:
      How it ended.

    Raises:
      subprocess.TimeoutExpired: If it took longer; it is ended.
    """
    child = Child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stdout, stderr = child.communicate(timeout_seconds)
    finally:
        child.end()
    return Ended(child.poll(), stdout, stderr)


def wait_for_some(
    poll: Callable[[], dict[str, int]], seconds: float, poll_seconds: float
) -> dict[str, int]:
    """Waits until some of several processes have ended.

    Args:
      poll: Function that returns the exit statuses of those that have ended, by name.
      seconds: Seconds to wait at most.
      poll_seconds: Seconds between two calls.

    Returns:
      What was found at the first call that found any; nothing if the time is over.
    """
    deadline = time.monotonic() + seconds
    while not (ended := poll()) and time.monotonic() < deadline:
        time.sleep(poll_seconds)
    return ended
