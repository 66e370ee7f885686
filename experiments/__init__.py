"""Binaries: `python -m experiments.NAME`."""

import signal
import sys

# What `python -m` calls the program while it is being imported: Ctrl-C ends it then, without a word
# about the line that it was at. `app` takes that back once it can answer.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
