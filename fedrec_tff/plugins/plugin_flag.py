"""The flags that name somebody else's function: what is said of them in errors."""

# Tested in tests/aggregators/test_chain.py.

import dataclasses

INNER = "inner"
CONTEXT = "context"


@dataclasses.dataclass(frozen=True)
class PluginFlag:
    """A flag whose value may be `package.module:builder` or `path/to/file.py:builder`.

    Attributes:
      name: Name of the flag, without dashes.
      may_wrap: Whether a builder may take, after its context, what it wraps.
      needs_context: Whether a builder is a function that takes a context. If not, it may do without
        one, and be a class, or anything else that has the name.
      kind: Kind of thing that the flag names, for errors.
      first_parameter: Description of the first parameter of such a thing, for errors.
    """

    name: str
    may_wrap: bool = False
    needs_context: bool = True
    kind: str = "builder"
    first_parameter: str = "the context"

    @property
    def group(self) -> str:
        """The group of entry points in which installed packages offer some."""
        return f"fedrec_tff.{self.name}{'es' if self.name.endswith('s') else 's'}"

    @property
    def parameter(self) -> str:
        """The flag that sets a builder's parameters, with dashes."""
        return f"--{self.name}_param"

    def say(self, value: str) -> str:
        """The flag with a value, as it is typed."""
        return f"--{self.name}={value}"
