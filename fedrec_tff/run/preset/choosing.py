"""From the flags that were given, and what may be known of the data, to a whole configuration."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import config_checks, field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.preset import any_run, with_privacy, without_privacy
from fedrec_tff.run.preset.choice import Choice
from fedrec_tff.run.preset.facts import DataFacts

_SPECS = field_spec.read_specs(RunConfig)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A configuration, and how it came about.

    Attributes:
      config: Valid flags.
      choices: What the rules decided of it, in their order; empty if nothing was left open.
    """

    config: RunConfig
    choices: tuple[Choice, ...] = ()

    @property
    def flags(self) -> dict[str, Any]:
        """The values that were chosen, by the names of flags."""
        return {name: value for choice in self.choices for name, value in choice.flags.items()}

    def describe(self) -> str:
        """Returns a line for each choice; empty if there was none."""
        if not self.choices:
            return ""
        lines = [f"  {choice.describe()}" for choice in self.choices]
        return "\n".join([f"--preset={self.config.preset} chose what was left open:", *lines])


def choose(config: RunConfig, open_flags: Collection[str], facts: DataFacts) -> Chosen:
    """Chooses what is left open by what may be known of the data.

    A rule sees what was given and what the rules before it have chosen, which stands. A flag that
    would mean nothing beside these is left alone.

    Args:
      config: Flags; those that are left open have their defaults.
      open_flags: Names of the flags that are left open.
      facts: What may be known of the data.

    Returns:
      The whole configuration.

    Raises:
      UserError: If what was given does not go with what was chosen.
    """
    rules = with_privacy.RULES if config.is_private else without_privacy.RULES
    left, choices = set(open_flags), []
    for rule in (*any_run.RULES, *rules):
        choice = rule(config, facts)
        if choice is None:
            continue
        kept = _keep_meaningful(config, {n: v for n, v in choice.flags.items() if n in left})
        left -= choice.flags.keys()
        if kept:
            config = dataclasses.replace(config, **kept)
            choices.append(dataclasses.replace(choice, flags=kept))
    chosen = Chosen(config, tuple(choices))
    _check(chosen)
    return chosen


def restore(config: RunConfig, open_flags: Collection[str], stored: Mapping[str, Any]) -> RunConfig:
    """Takes what a run was begun with for what is left open, so that it goes on as it began.

    Args:
      config: Flags; those that are left open have their defaults.
      open_flags: Names of the flags that are left open.
      stored: The run's flags, as `config.json` has them.

    Returns:
      The whole configuration.
    """
    values = {name: stored[name] for name in open_flags if name in stored}
    typed = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return dataclasses.replace(config, **typed)


def _keep_meaningful(config: RunConfig, flags: dict[str, Any]) -> dict[str, Any]:
    """Drops what means nothing beside the rest, as `--num_heads` beside a tower without heads."""
    changed = dataclasses.replace(config, **flags)
    return {
        name: value
        for name, value in flags.items()
        if all(need.is_met(changed) for need in _SPECS[name].needs)
    }


def _check(chosen: Chosen) -> None:
    try:
        config_checks.validate(chosen.config)
    except errors.UserError as error:
        named = [f"--{name}" for name in chosen.flags if f"--{name}=" in str(error)]
        if not named:
            raise
        raise errors.UserError(
            f"{error} (--preset=auto chose {', '.join(named)}: name another value, or "
            "--preset=basic)"
        ) from error
