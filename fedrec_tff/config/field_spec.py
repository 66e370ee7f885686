"""The declaration of a flag: its default and, beside it, all that is known about it.

A topic of the configuration is a frozen dataclass whose fields are declared here. What the rest of
the project asks about flags (which say what the data are, which may change when a run is resumed,
which cannot change epsilon) is derived from the declarations, never from a list of names.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

# Counts that nothing else bounds fit 32-bit integers.
MOST = 2**31 - 1
_KEY = "spec"


@dataclasses.dataclass(frozen=True)
class Need:
    """A condition without which a flag means nothing.

    Attributes:
      text: The flags that fulfil it, as a message says them: `--dataset=csv`.
      is_met: Whether a run's flags fulfil it.
      way_out: Advice to somebody who changed the flag all the same.
    """

    text: str
    is_met: Callable[[Any], bool]
    way_out: str = "drop it, or add that"


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """All that is known about a flag besides its name, type and default.

    Attributes:
      help: One or two lines for help texts.
      choices: The values allowed, for an enumeration.
      low: The smallest value allowed; for floats `low` itself is allowed only if `low_is_allowed`.
      high: The largest value allowed.
      low_is_allowed: Whether `low` itself is allowed.
      is_repeated: Whether a tuple is given by repeating the flag, and not by commas.
      holds_numbers: Whether the parts of a tuple are whole numbers, which Python may give as such.
      needs: The conditions without which the flag means nothing, and may not be changed.
      costs_privacy: Whether epsilon may depend on it. It does not where neither who takes part how
        often, nor the noise in multiples of the clip, nor what else is released follows from it.
      about_data: Whether it decides which users there are, and what their data are.
      may_change_on_resume: Whether an interrupted run may go on with another value: it says where
        and how computations run, not what they are; or the ledger sees that it is the same.
      may_grow_on_resume: Whether a run, interrupted or complete, may go on with a larger value: it
        says how long the run is. None is larger than any number.
      is_place: Whether it says where data are: an interrupted run may find the same data elsewhere,
        which their fingerprint tells.
      is_leading: Whether it is one of the ten flags that matter most, which are shown first.
    """

    help: str
    choices: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    low_is_allowed: bool = True
    is_repeated: bool = False
    holds_numbers: bool = False
    needs: tuple[Need, ...] = ()
    costs_privacy: bool = True
    about_data: bool = False
    may_change_on_resume: bool = False
    may_grow_on_resume: bool = False
    is_place: bool = False
    is_leading: bool = False


def declare(default: Any, help: str, **known: Any) -> Any:
    """Declares a flag as a field of a dataclass.

    Args:
      default: The value of a run that does not name the flag.
      help: One or two lines for help texts.
      **known: Whatever else is known about it, by the names of `FieldSpec`.

    Returns:
      The field.
    """
    return dataclasses.field(default=default, metadata={_KEY: FieldSpec(help, **known)})


def read_spec(field: dataclasses.Field) -> FieldSpec:
    """Returns what a field was declared with."""
    return field.metadata[_KEY]


def read_specs(config_class: type) -> dict[str, FieldSpec]:
    """Returns the declarations of all flags of a dataclass, by name."""
    return {field.name: read_spec(field) for field in dataclasses.fields(config_class)}


def find_names(config_class: type, is_meant: Callable[[FieldSpec], bool]) -> tuple[str, ...]:
    """Finds flags by what is known about them.

    Args:
      config_class: A dataclass of flags.
      is_meant: Whether a flag with this declaration is looked for.

    Returns:
      The names, in the order of their declaration.
    """
    return tuple(name for name, spec in read_specs(config_class).items() if is_meant(spec))
