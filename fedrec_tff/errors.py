"""Errors that mean: the person at the keyboard can put this right."""

# Tested in tests/fuzzing/test_one_line.py and tests/experiments/test_anonymize_binary.py.

import errno

_SHORTAGES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE),
)


class UserError(ValueError):
    """A mistake in flags, files or data; its message is one line that names it and the way out.

    What a message quotes may come from anywhere: it can neither break the line nor steer a
    terminal.
    """

    def __init__(self, message: str) -> None:
        """Initialises the error.

        Args:
          message: What is wrong; line ends in it become spaces, and other characters that are not
            to be printed are written as escapes.
        """
        super().__init__(_write_in_a_line(message))


class DivergedError(UserError):
    """Training has led to a model that scores nothing."""


def _write_in_a_line(text: str) -> str:
    if text.isprintable():
        return text
    characters = (c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.splitlines()))
    return "".join(characters)


def from_os_error(error: OSError) -> UserError | None:
    """What to tell of a disk that is full or fails, or a file that may not be used; else None."""
    if error.errno not in _SHORTAGES:
        return None
    return UserError(f"{error.filename or 'writing files'}: {error.strerror}")
