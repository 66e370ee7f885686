"""The one error class that means: the person at the keyboard can put this right."""


class UserError(ValueError):
    """A mistake in flags, files or data; its message is one line that names it and the way out."""
