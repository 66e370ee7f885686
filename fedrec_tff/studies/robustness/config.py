"""What a robustness study consists of: cells, each a run of its own; without TensorFlow."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence

from fedrec_tff import errors
from fedrec_tff.config import config_checks
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.simulation import attack_config, failure_config

CLEAN = "clean"
DEFAULT_ATTACKS = (
    attack_config.SIGN_FLIP,
    attack_config.SCALING,
    attack_config.GAUSSIAN,
    attack_config.LABEL_FLIP,
    attack_config.ALIE,
    attack_config.TARGET_PROMOTION,
    attack_config.NAN,
    attack_config.GARBAGE,
    attack_config.FREE_RIDER,
)

# Fields that the cells set.
_CELL_FLAGS = ("aggregator", "aggregator_param", "attack", "attack_scale", "failure")
_FRACTION_SIGN = "@"
_LONGEST_SLUG = 60
_DIGEST_LENGTH = 8


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
      aggregator: The aggregator as it was asked for: names, then parameters.
      attack: The attack as it was asked for: `name[:scale][@fraction]`, a failure, or `CLEAN`.
      config: The run's flags.
    """

    aggregator: str
    attack: str
    config: RunConfig

    @property
    def folder(self) -> str:
        """Of the cell's run, below that of the study."""
        return f"cells/{_slug(self.aggregator)}/{_slug(self.attack.replace(':', '='))}"


def split_aggregators(texts: Iterable[str]) -> tuple[str, ...]:
    """Takes apart `;`-separated lists: each part is `NAME[,NAME...] [key=value ...]`."""
    return _distinct(part for text in texts for part in text.split(";"))


def split_attacks(texts: Iterable[str]) -> tuple[str, ...]:
    """Takes apart lists separated by `,` or `;`: each part is `NAME[:SCALE][@FRACTION]`."""
    return _distinct(part for text in texts for part in re.split("[,;]", text))


def spread_over_fractions(attacks: Sequence[str], fractions: Sequence[str]) -> tuple[str, ...]:
    """Asks for every attack once with each fraction of attackers.

    Args:
      attacks: Parts as `split_attacks` gives them.
      fractions: Numbers, as they were typed; none for the attacks as they are.

    Returns:
      The parts; those that have a fraction of their own, and failures, as they were.
    """
    spread = []
    for attack in attacks:
        is_attack = re.split("[:@]", attack)[0] in attack_config.ATTACKS
        if fractions and is_attack and _FRACTION_SIGN not in attack:
            spread += [f"{attack}{_FRACTION_SIGN}{fraction}" for fraction in fractions]
        else:
            spread.append(attack)
    return tuple(spread)


def create_cells(
    base: RunConfig, aggregators: Sequence[str], attacks: Sequence[str]
) -> tuple[Cell, ...]:
    """Lays out a study: for each aggregator a run without attackers, and one for each attack.

    Args:
      base: The flags that all runs share.
      aggregators: Parts as `split_aggregators` gives them.
      attacks: Parts as `split_attacks` gives them.

    Returns:
      The cells, each valid.

    Raises:
      UserError: If a flag belongs to the cells, or a cell's flags contradict each other.
    """
    for name in _CELL_FLAGS:
        if getattr(base, name) != getattr(RunConfig, name):
            raise errors.UserError(
                f"--{name} differs from run to run in a study: drop it, and name --aggregators "
                "(with parameters, as in 'clip,trimmed_mean fraction=0.3') and --attacks "
                "(with scales, as in sign_flip:5)"
            )
    if base.personal is not None:
        raise errors.UserError(
            f"--personal_tower={base.personal_tower}: a study measures what the global part of a "
            "model recommends: drop it"
        )
    if base.finetuning_epochs:
        raise errors.UserError(
            "--finetuning_epochs: a study measures what the global model recommends: drop it"
        )
    if base.withhold_held_out_metrics:
        raise errors.UserError(
            "--withhold_held_out_metrics: a study compares exact metrics of the test: drop it"
        )
    if base.list_lengths:
        raise errors.UserError("--list_lengths: a study compares lists of 10: drop it")
    if not aggregators:
        raise errors.UserError("--aggregators: name at least one")
    columns = _distinct((CLEAN, *attacks))
    cells = []
    for aggregator in aggregators:
        name, *parameters = aggregator.split()
        config = dataclasses.replace(base, aggregator=name, aggregator_param=tuple(parameters))
        cells += [Cell(aggregator, attack, _with_attack(config, attack)) for attack in columns]
    for cell in cells:
        config_checks.validate(cell.config)
    return tuple(cells)


def _with_attack(config: RunConfig, attack: str) -> RunConfig:
    """The flags of a cell; those of what it has no use for are at their defaults."""
    start, has_fraction, fraction = attack.partition(_FRACTION_SIGN)
    name, has_scale, scale = start.partition(":")
    is_attack, is_failure = name in attack_config.ATTACKS, name in failure_config.FAILURES
    has_numbers = bool(has_scale or has_fraction)
    if not (is_attack or is_failure or name == CLEAN) or (has_numbers and not is_attack):
        raise errors.UserError(
            f"--attacks: {attack!r} is unknown; choose from "
            f"{', '.join((*attack_config.ATTACKS, *failure_config.FAILURES))}; attacks may have a "
            "scale and a fraction, as in sign_flip:5 or sign_flip:5@0.01"
        )
    if is_attack:
        config = dataclasses.replace(
            config,
            attack=name,
            attack_scale=_read_number(attack, "scale", scale) if has_scale else None,
        )
    if has_fraction:
        number = _read_number(attack, "fraction", fraction)
        config = dataclasses.replace(config, attack_fraction=number)
    if is_failure:
        config = dataclasses.replace(config, failure=name)
    idle = [*attack_config.list_idle_flags(name)]
    if not is_attack:
        idle += ["attack_fraction"]
    if not is_failure:
        idle += ["failure_rate"]
    if name != failure_config.STALE:
        idle += ["failure_staleness"]
    return dataclasses.replace(config, **{name: getattr(RunConfig, name) for name in idle})


def _read_number(attack: str, what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise errors.UserError(f"--attacks: {attack!r}: the {what} must be a number") from error


def _distinct(parts: Iterable[str]) -> tuple[str, ...]:
    stripped = [" ".join(part.split()) for part in parts]
    return tuple(dict.fromkeys(part for part in stripped if part))


def _slug(text: str) -> str:
    """A name for a folder; different for different texts."""
    plain = re.sub(r"[^A-Za-z0-9_.=@-]+", "+", text)[:_LONGEST_SLUG]
    if plain == text and set(text) != {"."}:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{plain}-{digest}"
