"""A connection to a Ray cluster, or a Ray of one's own on this machine."""

# Tested in tests/cluster/test_ray_connection.py.

import contextlib
import logging
import os
import pathlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from fedrec_tff import child_processes, errors
from fedrec_tff.cluster import ray_package

AUTO = "auto"
LOCAL = "local"
_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 5.0
# Where this project is: workers on the same machine, or the same disk, find it there.
_FOLDER = str(pathlib.Path(__file__).parents[2])


@contextlib.contextmanager
def connect(address: str, num_cpus: int | None = None, flag: str = "ray_address") -> Iterator[Any]:
    """Connects to Ray inside of a `with` block.

    What was started here ends with the block; a cluster that was joined is left as it is.

    Args:
      address: `local` for a Ray of one's own on this machine; `auto` for the cluster that this
        machine is a node of; or its address, HOST:PORT.
      num_cpus: Number of processors that a local Ray says to have; None for those that this process
        may use.
      flag: Name of the flag that gave the address, for messages.

    Yields:
      The module `ray`, connected.

    Raises:
      UserError: If Ray is not installed, or the cluster cannot be joined.
    """
    flag = f"--{flag}={address}"
    ray_package.check_is_installed(flag)
    ray = ray_package.import_ray()
    if ray.is_initialized():
        # Somebody's own, who connected before.
        yield ray
        return
    if address not in (AUTO, LOCAL):
        _check_answers(flag, address)
    _init(ray, flag, address, num_cpus)
    with contextlib.ExitStack() as stack:
        if address == LOCAL:
            stack.enter_context(_ending_descendants())
        stack.callback(ray.shutdown)
        yield ray


def _init(ray: Any, flag: str, address: str, num_cpus: int | None) -> None:
    options: dict[str, Any] = {}
    if address == LOCAL:
        options = {
            "num_cpus": num_cpus or len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            # Its processes, which run what they are sent, then listen there alone.
            "_node_ip_address": _LOOPBACK,
        }
    # What a node says of processes that it lost, at length on standard output, we say in a line.
    ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None
    try:
        with _keeping_signals():
            ray.init(
                address=address,
                job_config=ray.job_config.JobConfig(_py_driver_sys_path=[_FOLDER]),
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except ConnectionError as error:
        raise errors.UserError(
            f"{flag}: no Ray cluster was found here: start one with `ray start --head`, name one "
            "as HOST:PORT, or choose local"
        ) from error
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise errors.UserError(f"{flag}: this cluster cannot be joined: {reason}") from error


@contextlib.contextmanager
def _ending_descendants() -> Iterator[None]:
    """Ends the processes of a Ray that was just started here, some of which stay for a minute."""
    # In the lock, and Ray brings its own.
    import psutil

    started = psutil.Process().children(recursive=True)
    with child_processes.ending_with_us([process.pid for process in started]):
        yield
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _check_answers(flag: str, address: str) -> None:
    """Refuses an address at which nobody answers; Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
    raise errors.UserError(
        f"{flag}: nobody answers there ({reason}): give the address that `ray start --head` said, "
        "on a machine that is a node of the cluster"
    )


@contextlib.contextmanager
def _keeping_signals() -> Iterator[None]:
    """Keeps what becomes of SIGTERM, which Ray takes for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
