"""What somebody else's builder takes, and what a check of it found, as text."""

# Tested in tests/experiments/test_aggregators_binary.py.

import textwrap
from collections.abc import Sequence

from fedrec_tff.plugins import signatures

WIDTH = 110


def to_line(status: str, name: str, text: str) -> str:
    """Renders what a check found."""
    return f"{status:<5} {name:<28} {text}"


def describe_parameters(signature: signatures.Signature) -> list[str]:
    """The lines about what flags may set."""
    lines = []
    for parameter in signature.parameters.values():
        kind = parameter.type.__name__ + (" or none" if parameter.is_optional else "")
        value = "must be given" if parameter.is_required else f"default {_to_flag(parameter)}"
        lines.append(f"  {parameter.name}: {kind}, {value}")
        if parameter.help:
            lines += wrap([parameter.help], indent="    ")
    return lines or ["  none"]


def choose_examples(signature: signatures.Signature) -> list[str]:
    """Parameters as flags have them: all that must be given, or else one, to show how."""
    parameters = [*signature.parameters.values()]
    shown = [item for item in parameters if item.is_required]
    shown = shown or [item for item in parameters if item.default is not None][:1]
    return [f"{item.name}={_to_flag(item)}" for item in shown]


def wrap(lines: Sequence[str], indent: str = "  ") -> list[str]:
    """Breaks paragraphs into lines."""
    return [
        textwrap.fill(line, WIDTH, initial_indent=indent, subsequent_indent="    ")
        for line in lines
    ]


def _to_flag(parameter: signatures.Parameter) -> str:
    """A parameter's default as a flag has it; a place to fill in where there is none."""
    if parameter.is_required:
        return f"<{parameter.type.__name__}>"
    if isinstance(parameter.default, bool) or parameter.default is None:
        return str(parameter.default).lower()
    return f"{parameter.default}"
