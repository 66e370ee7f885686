"""Tells how far long work is: how much is done, at which rate, and how long the rest takes."""

# Tested in tests/studies/disk_population/test_job.py.

import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 5.0


class Clock:
    """Says a line about one phase of the work, but not every second."""

    def __init__(
        self,
        say_fn: Callable[[str], None],
        phase: str,
        unit: str,
        now_fn: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts.

        Args:
          say_fn: Takes a line.
          phase: The phase, as "reading".
          unit: What is counted, as "rows".
          now_fn: Tells the time in seconds.
        """
        self._say_fn, self._phase, self._unit, self._now_fn = say_fn, phase, unit, now_fn
        self._start = self._latest = now_fn()

    def tell(self, done: float, total: float | None) -> None:
        """Called as the work goes on.

        Args:
          done: How much was done since the start.
          total: How much there was to do at the start, perhaps a guess; None for nobody knows.
        """
        now = self._now_fn()
        if now - self._latest < _SECONDS_BETWEEN_LINES or not done:
            return
        self._latest = now
        seconds = now - self._start
        line = f"{self._phase}: {done:,.0f}"
        if total is not None:
            line += f" of {'about ' if total % 1 else ''}{total:,.0f}"
        line += f" {self._unit}, {done / seconds:,.0f} {self._unit}/s"
        if total is not None:
            line += f", {max(total - done, 0) * seconds / done:,.0f} s left"
        self._say_fn(line)
