"""Child processes whose memory is their own, and that never outlive this one.

A child reads a pipe from us: when we end, for whatever reason, SIGKILL included, the pipe closes
and the child kills itself. It is in a session of its own, so Ctrl-C reaches us alone.
"""

import dataclasses
import os
import signal
import subprocess
import threading
from collections.abc import Sequence

_STDIN = 0


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
      status: Exit status of the child, or minus the signal that killed it.
      stdout: Text of the child's standard output.
      stderr: Text of the child's standard error.
    """

    status: int
    stdout: str
    stderr: str


def end_with_parent() -> None:
    """Kills this process, a child, when its parent ends; call it first."""
    threading.Thread(target=_wait_for_end_of_parent, daemon=True).start()


def run(command: Sequence[str], timeout_seconds: float) -> Ended:
    """Runs a child that calls `end_with_parent`.

    Args:
      command: Program and arguments.
      timeout_seconds: Seconds to wait for the child's end.

    Returns:
      The child's end.

    Raises:
      subprocess.TimeoutExpired: If it took longer; it is ended.
    """
    read_end, write_end = os.pipe()
    try:
        try:
            child = subprocess.Popen(
                command,
                stdin=read_end,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        finally:
            os.close(read_end)
        with child:
            try:
                stdout, stderr = child.communicate(timeout=timeout_seconds)
            finally:
                child.kill()
    finally:
        os.close(write_end)
    return Ended(child.returncode, stdout, stderr)


def _wait_for_end_of_parent() -> None:
    while os.read(_STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
