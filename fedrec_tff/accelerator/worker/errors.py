"""What can be wrong with a program."""


class UnsupportedProgramError(Exception):
    """A program cannot be run over a block of clients at once; the message says why."""


class NoDeviceError(Exception):
    """The machine has no such device; the message says what it has."""
