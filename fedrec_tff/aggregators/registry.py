"""Aggregators by what `--aggregator` says: a name, an entry point, or a builder of one's own."""

import difflib

from fedrec_tff import errors
from fedrec_tff.aggregators import builtin
from fedrec_tff.aggregators.aggregator import (
    FLAG,
    TERMINAL,
    WRAPPER,
    Aggregator,
    AggregatorContext,
)
from fedrec_tff.plugins import loading, signatures

__all__ = ["Aggregator", "AggregatorContext", "find", "get", "names", "register"]

_AGGREGATORS = {aggregator.name: aggregator for aggregator in builtin.AGGREGATORS}


def register(aggregator: Aggregator) -> None:
    """Makes an aggregator available by name, in this process.

    Args:
      aggregator: The aggregator to register.

    Raises:
      ValueError: If the name is taken.
    """
    if aggregator.name in _AGGREGATORS:
        raise ValueError(f"an aggregator named {aggregator.name!r} is registered already")
    _AGGREGATORS[aggregator.name] = aggregator


def names() -> tuple[str, ...]:
    """The registered names; those of entry points are not among them."""
    return tuple(_AGGREGATORS)


def entry_points() -> dict[str, str]:
    """The builders that installed packages offer, by name: `package.module:function`."""
    return loading.entry_points(FLAG)


def get(name: str) -> Aggregator:
    """Finds a registered aggregator.

    Args:
      name: Name under which the aggregator is registered.

    Returns:
      The aggregator.

    Raises:
      UserError: If there is none of that name.
    """
    if name not in _AGGREGATORS:
        if name.endswith(".py"):
            public = ", ".join(signatures.list_functions(name, FLAG)) or "none"
            raise errors.UserError(
                f"--aggregator={name}: name a builder in that file, as {name}:builder; its "
                f"functions are: {public}"
            )
        known = [*names(), *entry_points()]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise errors.UserError(
            f"--aggregator={name}: unknown; {hint}choose from {', '.join(known)}, or name a "
            "builder of your own as package.module:builder or path/to/file.py:builder"
        )
    return _AGGREGATORS[name]


def find(text: str) -> Aggregator:
    """Finds what one part of `--aggregator` says.

    Args:
      text: A registered name, that of an entry point, or a builder.

    Returns:
      The aggregator. Of a builder only what its signature tells is known: whether it is a step that
      returns a transform is seen where it stands, and when it is called.

    Raises:
      UserError: If there is no such thing.
    """
    if text in _AGGREGATORS:
        return _AGGREGATORS[text]
    builder = entry_points().get(text, text)
    if ":" not in builder:
        return get(text)
    signature = signatures.read_signature(builder, FLAG)
    return Aggregator(
        name=text,
        description=signature.summary,
        builder=builder,
        kind=WRAPPER if signature.has_inner else TERMINAL,
        # It may; see `--aggregator_param`.
        uses_clip_norm=True,
        is_plugin=True,
    )
