"""A live line that counts rounds, for programs that release no metrics on their way."""

# Tested in tests/experiments/test_audit_binary.py.

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

_LINES_ELSEWHERE = 5


@contextlib.contextmanager
def show_rounds(rounds: int, unit: str = "round") -> Iterator[Callable[[int], None]]:
    """Shows a bar on a terminal, a few lines elsewhere, on standard error.

    Args:
      rounds: Number of rounds in all.
      unit: Name of what is counted, where that isn't rounds.

    Yields:
      A function that is told the number of each round that is done.
    """
    is_live = sys.stderr.isatty()
    columns = (
        rich.progress.TextColumn(unit),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    console = rich.console.Console(stderr=True)
    start = time.monotonic()
    with rich.progress.Progress(*columns, console=console, disable=not is_live) as progress:
        task = progress.add_task("", total=rounds)

        def show(done: int) -> None:
            progress.update(task, completed=done)
            due = done * _LINES_ELSEWHERE // rounds > (done - 1) * _LINES_ELSEWHERE // rounds
            if not is_live and due:
                left = (rounds - done) * (time.monotonic() - start) / done
                print(f"{unit} {done}/{rounds}  {left:.0f} s left", file=sys.stderr, flush=True)

        yield show
