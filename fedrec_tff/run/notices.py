"""Lines that a run says to whoever started it; results go to standard output."""

# Tested in tests/experiments/test_train_binary.py.

import sys


def say(line: str) -> None:
    """Prints a line to standard error, at once."""
    print(line, file=sys.stderr, flush=True)
