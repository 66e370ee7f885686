"""The flags of all binaries, generated from `RunConfig`: declared once, shared by all."""

from collections.abc import Collection

from absl import flags

from experiments.command_line import field_flags
from fedrec_tff.config import config_checks, run_config
from fedrec_tff.run.preset import asked, named
from fedrec_tff.run.preset.asked import Asked

_HOLDERS = field_flags.define(run_config.RunConfig)

flags.adopt_module_key_flags(field_flags)


def read_config(ignored: Collection[str] = (), is_checked: bool = True) -> run_config.RunConfig:
    """Reads and checks the flags of a program that chooses none by itself.

    Args:
      ignored: Names of flags that mean something else in this binary.
      is_checked: Whether to check; not where the flags are only part of what runs are made from.

    Returns:
      A configuration, valid if checked.

    Raises:
      UserError: If a flag is wrong, or two contradict each other.
    """
    holders = {name: holder for name, holder in _HOLDERS.items() if name not in ignored}
    config = run_config.RunConfig(**_read_values(holders))
    if is_checked:
        config_checks.validate(config)
    return config


def read_asked() -> Asked:
    """Reads and checks the flags of a run whose preset may choose those that were not given.

    Returns:
      Valid flags, and which of them are left open.

    Raises:
      UserError: If a flag is wrong, or two contradict each other.
    """
    given = {name: holder for name, holder in _HOLDERS.items() if holder.present}
    return asked.ask(field_flags.read(given))


def _read_values(holders: dict[str, flags.FlagHolder]) -> dict[str, object]:
    """Values of flags; those of a named preset where none was given."""
    values = field_flags.read(holders)
    preset = named.read(values["preset"])
    return values | {n: v for n, v in preset.items() if n in holders and not holders[n].present}
