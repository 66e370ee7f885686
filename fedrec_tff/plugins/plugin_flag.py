"""The flags that name somebody else's function: what is said of them in errors."""

# Tested in tests/aggregators/test_chain.py.

import dataclasses

INNER = "inner"


@dataclasses.dataclass(frozen=True)
class PluginFlag:
    """A flag whose value may be `package.module:builder` or `path/to/file.py:builder`.

    Attributes:
      name: The flag, without dashes.
      may_wrap: Whether a builder may take, as its second parameter, what it wraps.
    """

    name: str
    may_wrap: bool = False

    @property
    def parameter(self) -> str:
        """The flag that sets a builder's parameters, with dashes."""
        return f"--{self.name}_param"

    def say(self, value: str) -> str:
        """The flag with a value, as it is typed."""
        return f"--{self.name}={value}"
