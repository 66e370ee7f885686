"""The worker's loop: messages in, answers out, programs and tables kept in between.

Messages, each answered by one: `form` (programs of one computation for clients of one shape),
`table` (rows that clients' data are read from), `prepared` (what the server sends in a round),
`round` (shares of a cohort), `describe` (what XLA makes of a form's program).
"""

# Tested in tests/accelerator/test_pjrt_context.py.

import signal
import socket
from typing import Any

import jax
import numpy as np

from fedrec_tff.accelerator import channel
from fedrec_tff.accelerator.worker import errors, share_runner

_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


def serve(connection: int, incoming: int, outgoing: int, device: str, num_cpu_devices: int) -> None:
    """Answers messages until the other side closes the connection.

    Args:
      connection: Descriptor of a connected socket.
      incoming: Descriptor of the memory that the other side writes.
      outgoing: Descriptor of the memory that this side writes.
      device: Name of the devices.
      num_cpu_devices: Number of devices that `cpu` stands for.
    """
    # Ctrl-C is for the process that started this one, which decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", num_cpu_devices)
    link = channel.Channel(
        socket.socket(fileno=connection), channel.Arena(outgoing), channel.Arena(incoming)
    )
    try:
        runner = share_runner.ShareRunner(_find_devices(device))
    except errors.NoDeviceError as error:
        link.send("failure", {"class": "device", "message": str(error)})
        return
    names = [str(found) for found in runner.devices]
    link.send("ready", {"devices": names, "platform": runner.devices[0].platform})
    while True:
        try:
            kind, fields, arrays = link.receive()
        except channel.ClosedError:
            return
        link.send(*_answer(runner, kind, fields, arrays))


def _answer(
    runner: share_runner.ShareRunner, kind: str, fields: dict[str, Any], arrays: list[np.ndarray]
) -> tuple[str, dict[str, Any], list[np.ndarray]]:
    try:
        fields, arrays = getattr(runner, f"take_{kind}")(fields, arrays)
    except errors.UnsupportedProgramError as error:
        return "failure", {"class": "unsupported", "message": str(error)}, []
    except errors.NoDeviceError as error:
        return "failure", {"class": "device", "message": str(error)}, []
    except Exception as error:
        is_memory = isinstance(error, MemoryError) or _OUT_OF_MEMORY in str(error)
        # Messages of XLA name shapes and programs, never values.
        message = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
        return "failure", {"class": "memory" if is_memory else "other", "message": message}, []
    return "done", fields, arrays


def _find_devices(name: str) -> list[jax.Device]:
    kind, _, index = name.partition(":")
    try:
        found = jax.devices(kind)
    except RuntimeError as error:
        there = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise errors.NoDeviceError(
            f"{name!r} is not what JAX finds on this machine, which is {there}: {error}"
        ) from error
    if not index:
        return found
    if int(index) >= len(found):
        raise errors.NoDeviceError(f"{name!r}: there are {len(found)} of these, from {kind}:0 on")
    return [found[int(index)]]
