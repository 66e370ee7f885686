"""Errors that mean: the person at the keyboard can put this right."""

# Tested in tests/experiments/test_anonymize_binary.py.


class UserError(ValueError):
    """A mistake in flags, files or data; its message is one line that names it and the way out."""


class DivergedError(UserError):
    """Training has led to a model that scores nothing."""
