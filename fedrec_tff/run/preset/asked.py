"""What a person asked for: the flags that were given, and those that were left open."""

# Tested in tests/run/preset/test_choosing.py and tests/run/preset/test_named.py.

import dataclasses
from collections.abc import Mapping
from typing import Any

from fedrec_tff.config import config_checks, field_spec, preset_config
from fedrec_tff.config.checks import output_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.preset import choosing, named
from fedrec_tff.run.preset.facts import DataFacts

_NAMES = frozenset(field_spec.read_specs(RunConfig))
# Data of an ordinary size, to try beforehand whether what was given goes together.
_ORDINARY = DataFacts(num_users=1000, is_ordered=True, mean_length=30.0, long_length=60)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Flags as far as they are known before the data are.

    Attributes:
      config: Flags; those that are left open have their defaults.
      open_flags: Names of the flags that the preset may choose once the data are known.
    """

    config: RunConfig
    open_flags: frozenset[str] = frozenset()


def ask(given: Mapping[str, Any]) -> Asked:
    """Takes the flags that were given, and checks whether they go together.

    Args:
      given: Values by the names of flags; `preset` may be among them.

    Returns:
      Flags that are valid with whatever the preset will choose.

    Raises:
      UserError: If a value is wrong, two contradict each other, or there is no such preset.
    """
    preset = given.get("preset", preset_config.AUTO)
    config = RunConfig(**(named.read(preset) | dict(given)))
    if preset != preset_config.AUTO:
        config_checks.validate(config)
        return Asked(config)
    config_checks.check_ranges(config)
    # Rules of the preset read these.
    output_checks.check(config)
    open_flags = _NAMES - frozenset(given)
    choosing.choose(config, open_flags, _ORDINARY)
    return Asked(config, open_flags)
