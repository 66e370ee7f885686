"""Parameters of builders: `key=value`, typed from builders' signatures."""

# Tested in tests/aggregators/test_chain.py.

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedrec_tff import errors
from fedrec_tff.plugins import signatures
from fedrec_tff.plugins.plugin_flag import PluginFlag

_TRUTH_VALUES = {"true": True, "false": False}


def assign(
    texts: Sequence[str],
    builders: Sequence[tuple[str, signatures.Signature]],
    flag: PluginFlag,
) -> list[dict[str, Any]]:
    """Gives each parameter to the builder that it is for.

    Args:
      texts: Parameters, each as `key=value`, where one builder alone has `key`, or as
        `name.key=value`.
      builders: Names, as the flag has them, and signatures: of one builder, or of a chain.
      flag: Flag that names the builders.

    Returns:
      For each builder, the parameters that were set.

    Raises:
      UserError: If a parameter is unknown, ambiguous, of the wrong type, set twice or missing.
    """
    assigned: list[dict[str, Any]] = [{} for _ in builders]
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise errors.UserError(f"{flag.parameter}={text}: write key=value")
        index, name = _find_owner(key, builders, flag)
        if name in assigned[index]:
            raise errors.UserError(f"{flag.parameter}={text}: {key} is set twice")
        assigned[index][name] = parse_value(value, builders[index][1].parameters[name], text, flag)
    for values, (builder, signature) in zip(assigned, builders, strict=True):
        for parameter in signature.parameters.values():
            if parameter.is_required and parameter.name not in values:
                raise errors.UserError(
                    f"{builder} needs a value: {flag.parameter} {parameter.name}="
                    f"<{parameter.type.__name__}>"
                )
    return assigned


def parse_value(value: str, parameter: signatures.Parameter, text: str, flag: PluginFlag) -> Any:
    """Reads a value.

    Args:
      value: Text of the value that was given.
      parameter: Parameter that the value is for.
      text: Whole text that the flag was given, for the error.
      flag: Flag that names the builder.

    Returns:
      A value of the parameter's type, or None.

    Raises:
      UserError: If it is of another type.
    """
    if parameter.is_optional and value.lower() == "none":
        return None
    if parameter.type is bool:
        if value.lower() in _TRUTH_VALUES:
            return _TRUTH_VALUES[value.lower()]
        raise errors.UserError(f"{flag.parameter} {text}: write true or false")
    try:
        parsed = parameter.type(value)
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}[parameter.type]
        raise errors.UserError(f"{flag.parameter} {text}: must be {kind}") from error
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise errors.UserError(f"{flag.parameter} {text}: must be a finite number")
    return parsed


def _find_owner(
    key: str, builders: Sequence[tuple[str, signatures.Signature]], flag: PluginFlag
) -> tuple[int, str]:
    prefix, _, name = key.rpartition(".")
    owners = [
        index
        for index, (builder, signature) in enumerate(builders)
        if name in signature.parameters and prefix in ("", builder, builder.rpartition(":")[2])
    ]
    if len(owners) == 1:
        return owners[0], name
    if owners:
        if len({builders[index][0] for index in owners}) == 1:
            raise errors.UserError(
                f"{flag.parameter} {key}: {builders[owners[0]][0]} is in the chain more than "
                "once, so that its parameters keep their defaults: leave one out"
            )
        choices = " or ".join(f"{builders[index][0]}.{name}" for index in owners)
        raise errors.UserError(f"{flag.parameter} {key}: write {choices}, several have it")
    raise errors.UserError(f"{flag.parameter} {key}: unknown; {_list_parameters(name, builders)}")


def _list_parameters(name: str, builders: Sequence[tuple[str, signatures.Signature]]) -> str:
    known: Mapping[str, list[str]] = {
        builder: list(signature.parameters) for builder, signature in builders
    }
    close = difflib.get_close_matches(name, [n for found in known.values() for n in found], 1)
    hint = f"did you mean {close[0]}? " if close else ""
    listed = "; ".join(
        f"{builder} has {', '.join(found) if found else 'none'}" for builder, found in known.items()
    )
    return f"{hint}{listed}"
