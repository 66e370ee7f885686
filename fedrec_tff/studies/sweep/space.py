"""What a sweep tries: values of flags, as `--sweep name=...` says them."""

# Tested in tests/studies/sweep/test_sweep_config.py.

import dataclasses
import difflib
import itertools
import math
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig

_HINTS = typing.get_type_hints(RunConfig)
_FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}
_LOG = "log"
_NONE = "none"
_BOOLEANS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A flag that differs from trial to trial.

    Attributes:
      name: Name of the flag.
      values: Values that the flag may have, in order; empty for a range.
      low: The smallest value of a range.
      high: The largest value of a range.
      is_log: Whether a range is uniform in the logarithm.
      is_integer: Whether a range is of whole numbers.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    is_integer: bool = False

    @property
    def is_range(self) -> bool:
        """Whether it is a range, not a list."""
        return self.low is not None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values of a list; the ends of a range."""
        return (self.low, self.high) if self.is_range else self.values

    def at(self, position: float) -> Any:
        """The value at a position of a range, uniformly or logarithmically.

        Args:
          position: Position in the range, in [0, 1].

        Returns:
          A value of the range; whole numbers get equal shares of the positions.
        """
        low, high = float(self.low), float(self.high)
        if self.is_integer:
            low, high = low - 0.5, high + 0.5
        if self.is_log:
            value = math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
        else:
            value = low + position * (high - low)
        clipped = min(max(value, float(self.low)), float(self.high))
        return round(clipped) if self.is_integer else clipped

    def draw(self, generator: np.random.Generator) -> Any:
        """Draws a value, each of a list as likely as the others."""
        if self.is_range:
            return self.at(float(generator.random()))
        return self.values[int(generator.integers(len(self.values)))]


def parse(texts: Sequence[str]) -> tuple[Dimension, ...]:
    """Reads all `--sweep` flags.

    Args:
      texts: Flags with their values, each as `name=v1,v2`, `name=v1;v2`, `name=low:high` or
        `name=low:high:log`.

    Returns:
      The dimensions, in order.

    Raises:
      UserError: If a flag is unknown or belongs to the sweep, or a value is not of its type.
    """
    dimensions = tuple(_parse_one(text) for text in texts)
    names = [dimension.name for dimension in dimensions]
    for name in names:
        if names.count(name) > 1:
            raise errors.UserError(f"--sweep={name}=... is given twice: name all values in one")
    return dimensions


def enumerate_grid(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of lists, the last dimension fastest.

    Args:
      dimensions: Dimensions, all of them lists.

    Yields:
      Values by flag.
    """
    for values in itertools.product(*(dimension.values for dimension in dimensions)):
        yield {d.name: value for d, value in zip(dimensions, values, strict=True)}


def draw(dimensions: Sequence[Dimension], generator: np.random.Generator) -> dict[str, Any]:
    """Draws one value of every dimension, independently."""
    return {dimension.name: dimension.draw(generator) for dimension in dimensions}


def is_optional(name: str) -> bool:
    """Whether a flag may be left out, so that it has no value."""
    return isinstance(_HINTS[name], types.UnionType)


def _parse_one(text: str) -> Dimension:
    name, equals, right = text.partition("=")
    name = name.strip().removeprefix("--")
    if not equals or not name:
        raise errors.UserError(
            f"--sweep={text}: write name=v1,v2,v3 or name=low:high, as in clip_norm=0.1,0.5"
        )
    _check_name(name)
    if ":" in right and _kind(name) in (int, float):
        return _parse_range(name, right)
    # Values that hold commas, as chains of aggregators do, are told apart by semicolons.
    separator = ";" if ";" in right else ","
    parts = [part.strip() for part in right.split(separator)]
    values = tuple(_read(name, part) for part in parts if part)
    if not values:
        raise errors.UserError(f"--sweep={name}: name at least one value")
    for value in values:
        if values.count(value) > 1:
            raise errors.UserError(f"--sweep={name}: the value {value} is there twice")
    return Dimension(name, values)


def _check_name(name: str) -> None:
    if name == "seed":
        raise errors.UserError("--sweep=seed: seeds are no setting to choose; use --seeds=0,1,2")
    if name == "output_dir":
        raise errors.UserError("--sweep=output_dir: each trial has a folder of its own: drop it")
    if name not in _FIELDS:
        close = difflib.get_close_matches(name, _FIELDS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise errors.UserError(
            f"--sweep={name}: no flag of a run is called so; {hint}"
            "`python -m experiments.train --help` lists them"
        )


def _parse_range(name: str, text: str) -> Dimension:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] != _LOG):
        raise errors.UserError(
            f"--sweep={name}={text}: a range is low:high, or low:high:log for one that is uniform "
            "in the logarithm"
        )
    low, high = (_read_number(name, part) for part in parts[:2])
    if not low < high:
        raise errors.UserError(f"--sweep={name}={text}: {low} is not below {high}")
    is_log = len(parts) == 3
    if is_log and low <= 0:
        raise errors.UserError(f"--sweep={name}={text}: a logarithmic range begins above 0")
    return Dimension(name, (), low, high, is_log, _kind(name) is int)


def _kind(name: str) -> type:
    hint = _HINTS[name]
    if typing.get_origin(hint) is tuple:
        return tuple
    return typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint


def _read(name: str, text: str) -> Any:
    """One value of a list, of the flag's type; `none` for a flag that is left out."""
    kind = _kind(name)
    if text == _NONE and (is_optional(name) or kind is tuple):
        return () if kind is tuple else None
    if kind is tuple:
        return tuple(text.split())
    if kind is bool:
        if text not in _BOOLEANS:
            raise errors.UserError(f"--sweep={name}: {text!r} is neither true nor false")
        return _BOOLEANS[text]
    return text if kind is str else _read_number(name, text)


def _read_number(name: str, text: str) -> float:
    kind = _kind(name)
    try:
        number = kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise errors.UserError(f"--sweep={name}: {text!r} is not {wanted}") from error
    try:
        is_finite = math.isfinite(number)
    except OverflowError:  # of a whole number
        is_finite = False
    if not is_finite:
        raise errors.UserError(f"--sweep={name}: {text!r} is not a finite number")
    return number
