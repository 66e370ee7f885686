"""Errors that mean: the person at the keyboard can put this right."""

# Tested in tests/experiments/test_anonymize_binary.py.

import errno

_SHORTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


class UserError(ValueError):
    """A mistake in flags, files or data; its message is one line that names it and the way out."""


class DivergedError(UserError):
    """Training has led to a model that scores nothing."""


def from_os_error(error: OSError) -> UserError | None:
    """What to tell of a full disk or a file that may not be written; None of all else."""
    if error.errno not in _SHORTAGES:
        return None
    return UserError(f"{error.filename or 'writing files'}: {error.strerror}")
