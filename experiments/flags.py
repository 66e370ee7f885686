"""The flags of all binaries, generated from `RunConfig`: declared once, shared by all."""

from collections.abc import Collection

from absl import flags

from experiments import field_flags
from fedrec_tff.config import config_checks, run_config

_HOLDERS = field_flags.define(run_config.RunConfig)

flags.adopt_module_key_flags(field_flags)


def read_config(ignored: Collection[str] = (), is_checked: bool = True) -> run_config.RunConfig:
    """Reads and checks the flags.

    Args:
      ignored: Names of flags that mean something else in this binary.
      is_checked: Whether to check; not where the flags are only part of what runs are made from.

    Returns:
      A configuration, valid if checked.

    Raises:
      UserError: If a flag is wrong, or two contradict each other.
    """
    holders = {name: holder for name, holder in _HOLDERS.items() if name not in ignored}
    config = run_config.RunConfig(**field_flags.read(holders))
    if is_checked:
        config_checks.validate(config)
    return config
