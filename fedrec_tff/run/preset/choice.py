"""A decision about some flags, and its reason."""

# Tested in tests/run/preset/test_choosing.py.

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a rule decides.

    Attributes:
      flags: Values by the names of flags.
      reason: Half a sentence for the person who reads the run's first lines.
    """

    flags: Mapping[str, Any]
    reason: str

    def describe(self) -> str:
        """Returns one line: the flags as a command line has them, and the reason.

        Flags that name nothing are left out.
        """
        said = {name: value for name, value in self.flags.items() if value not in (None, ())}
        flags = [f"--{name}={_write(value)}" for name, value in said.items()]
        return f"{' '.join(flags)}: {self.reason}"


def _write(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
