"""Ctrl-C and SIGTERM as a request: finish the round, save, leave."""

import contextlib
import os
import signal
import threading
import types
from collections.abc import Iterator

from fedrec_tff.run import notices

_FIRST_ANSWER = "stopping: what is under way is finished and saved; Ctrl-C again stops without"
_SECOND_ANSWER = "stopping without it, as soon as the computation that is under way returns"


class StopRequest:
    """Whether somebody asked the program to stop."""

    def __init__(self) -> None:
        self._requested = False
        # Set by another thread: Python calls a handler once for signals that came during one step.
        self.is_urgent = False

    def __bool__(self) -> bool:
        return self._requested

    def request(self) -> None:
        """Asks for a stop at the next round's end; a second request interrupts at once.

        Raises:
          KeyboardInterrupt: If a stop was requested before.
        """
        if self._requested or self.is_urgent:
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
        with _answer_at_once(stop):
            yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _answer_at_once(stop: StopRequest) -> Iterator[None]:
    """Says that a signal has come, also while the main thread compiles.

    Python runs handlers between two steps of the main thread, and a compilation is one step. What
    writes to the wake-up descriptor is C, at once, and another thread reads it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(reader, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)
        thread.join()
        os.close(reader)


def _answer(reader: int, stop: StopRequest) -> None:
    """Answers each of the first two signals with a line, until the other end is closed."""
    if _wait_for_stop(reader):
        notices.say(_FIRST_ANSWER)
    if _wait_for_stop(reader):
        stop.is_urgent = True
        notices.say(_SECOND_ANSWER)
    while _wait_for_stop(reader):
        pass


def _wait_for_stop(reader: int) -> bool:
    """Waits for a signal that asks for a stop; false where there will be none any more."""
    while number := os.read(reader, 1):
        if number[0] in (signal.SIGINT, signal.SIGTERM):
            return True
    return False
