"""What can be wrong with a program, and with a machine."""

# Tested in tests/accelerator/test_pjrt_context.py and tests/accelerator/test_worker_process.py.


class UnsupportedProgramError(Exception):
    """A program cannot be run over a block of clients at once; the message says why."""


class NoDeviceError(Exception):
    """The machine has no such device; the message says what it has."""
