"""Keeps other machines from a child's sockets, where the child listens on all addresses.

TFF's worker listens on all of a machine's addresses, executes whatever it is sent, asks nobody who
they are, and has no flag for any of that. So its listening sockets are tied to the loopback device
from here: Linux lets a process have a second handle on a socket of its child (`pidfd_getfd`, since
5.6), and what is set on one handle holds for both.
"""

# Tested in tests/execution/test_native_worker.py.

import contextlib
import ctypes
import os
import pathlib
import socket
from collections.abc import Iterator

_DEVICE = b"lo\0"
# The number of the call is the same on all machines that Linux 5.6 or later runs on.
_PIDFD_GETFD = 438


def confine(pid: int) -> int:
    """Lets a child's listening sockets take connections from this machine alone.

    Args:
      pid: Number of a process that is a child of this one.

    Returns:
      How many sockets it listens on by now.

    Raises:
      OSError: If this system doesn't allow it, or the process has ended.
    """
    count = 0
    for listening in find_listening(pid):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _DEVICE)
        count += 1
    return count


def find_listening(pid: int) -> Iterator[socket.socket]:
    """Finds the internet sockets that a child listens on.

    Args:
      pid: Number of a process that is a child of this one.

    Yields:
      A handle on each, which is closed afterwards.

    Raises:
      OSError: If this system doesn't allow it, or the process has ended.
    """
    process = os.pidfd_open(pid)
    try:
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if not _is_socket(entry):
                continue
            with _take(process, int(entry.name)) as found:
                is_internet = found.family in (socket.AF_INET, socket.AF_INET6)
                if is_internet and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield found
    finally:
        os.close(process)


def _is_socket(entry: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(entry).startswith("socket:")
    # Closed since.
    return False


def _take(process: int, descriptor: int) -> socket.socket:
    """A handle of ours on a socket of a process."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    handle = call(_PIDFD_GETFD, process, descriptor, 0)
    if handle < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return socket.socket(fileno=handle)
