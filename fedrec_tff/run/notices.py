"""Lines that a run says to whoever started it; results go to standard output."""

import contextlib
import gc
import sys
from collections.abc import Iterator


def say(line: str) -> None:
    """Prints a line to standard error, at once."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def starting_tensorflow() -> Iterator[None]:
    """Says that TensorFlow starts, which takes seconds; it is imported in the block.

    Nobody looks for garbage meanwhile: imports make many objects and hardly any garbage, and all
    would be looked through again and again.
    """
    say("starting TensorFlow")
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
