"""Runs a coroutine to its end, wherever the caller is: in a script, in a notebook, in any thread.

A notebook's cells run inside of an event loop, and asyncio refuses to start a second one beside a
running one. We do not want to run beside it, but in its place until we are done, as any function
that blocks does. So the thread's running loop is set aside meanwhile. Another thread would do for
asyncio, but not for TFF, whose contexts belong to the thread that has installed them, nor for
Ctrl-C, which reaches the main thread alone.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Runs a coroutine to its end, in a loop of its own; blocks the caller.

    Args:
      coroutine: The coroutine to run.

    Returns:
      The coroutine's result.
    """
    # A loop from a factory is not made the thread's own, which would take the notebook's place.
    with (
        _set_running_loop_aside(),
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        return runner.run(coroutine)


@contextlib.contextmanager
def _set_running_loop_aside() -> Iterator[None]:
    """Hides the running loop of this thread, if there is one, from asyncio inside of the block."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)
