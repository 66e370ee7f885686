"""Ctrl-C and SIGTERM as a request: finish the round, save, leave."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator


class StopRequest:
    """Whether somebody asked the program to stop."""

    def __init__(self) -> None:
        self._requested = False

    def __bool__(self) -> bool:
        return self._requested

    def request(self) -> None:
        """Asks for a stop at the next round's end; a second request interrupts at once.

        Raises:
          KeyboardInterrupt: If a stop was requested before.
        """
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns SIGINT and SIGTERM into a `StopRequest` inside a `with` block.

    Signals reach the main thread alone, and no other may say what becomes of them: in another
    thread the request stays false.

    Yields:
      The request, false until a signal comes.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: types.FrameType | None) -> None:
        del signum, frame
        stop.request()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
