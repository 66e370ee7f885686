"""Keywords in the place of flags: the same names, the same checks, values as Python has them."""

import contextlib
import difflib
import numbers
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from fedrec_tff import errors
from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.run.preset import asked

_HINTS = typing.get_type_hints(RunConfig)
_REPEATED = field_spec.find_names(RunConfig, lambda spec: spec.is_repeated)
_OF_NUMBERS = field_spec.find_names(RunConfig, lambda spec: spec.holds_numbers)
# Of `train` itself.
_OTHERS = ("events", "output_dir")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z_0-9]*)")
_WANTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list of texts",
}


def read_asked(keywords: Mapping[str, Any]) -> asked.Asked:
    """Makes a configuration of keywords, and checks it as the binaries check flags.

    Args:
      keywords: Values by the names of flags. NumPy's scalars are taken for Python's, paths for
        text, a text that names several things by commas for a list, and a mapping for parameters
        `key=value`.

    Returns:
      Valid flags, and which of them are left for the preset to choose.

    Raises:
      UserError: If a name is unknown, a value of the wrong type or out of range, or two contradict
        each other.
    """
    for name in keywords:
        if name not in _HINTS:
            raise errors.UserError(f"{name}: there is no such keyword{_suggest(name)}")
    return asked.ask({name: _convert(name, value) for name, value in keywords.items()})


@contextlib.contextmanager
def keywords_for_flags() -> Iterator[None]:
    """Turns flags in the messages of errors that pass through into keywords: no dashes.

    What is raised has one line and no history: where in this package a mistake was found helps
    nobody who made it.
    """
    try:
        yield
    except errors.UserError as error:
        raise type(error)(_FLAG.sub(_without_dashes, str(error))).with_traceback(None) from None


def _without_dashes(found: re.Match) -> str:
    name = found[1]
    return name if name in _HINTS or name in _OTHERS else found[0]


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, [*_HINTS, *_OTHERS], 1)
    if close:
        return f": did you mean {close[0]}?"
    return "; they are the flags of `python -m experiments.train --help`"


def _convert(name: str, value: Any) -> Any:
    hint = _HINTS[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None:
        if type(None) in options:
            return None
        raise errors.UserError(f"{name}=None: leave it out for the default")
    kind = typing.get_origin(options[0]) or options[0]
    converted = _to_tuple(name, value) if kind is tuple else _to_scalar(kind, value)
    if converted is None:
        wanted = "a list of whole numbers" if name in _OF_NUMBERS else _WANTED[kind]
        raise errors.UserError(f"{name}={value!r}: must be {wanted}")
    return converted


def _to_scalar(kind: type, value: Any) -> Any:
    """The value as Python's own kind of it; None if it is of another."""
    if kind is str:
        return str(os.fspath(value)) if isinstance(value, str | os.PathLike) else None
    is_truth = isinstance(value, bool) or type(value).__name__ == "bool_"
    if is_truth or kind is bool:
        return bool(value) if is_truth and kind is bool else None
    wanted = numbers.Integral if kind is int else numbers.Real
    return kind(value) if isinstance(value, wanted) else None


def _to_tuple(name: str, value: Any) -> tuple[str, ...] | None:
    if isinstance(value, Mapping):
        return tuple(f"{key}={_write(part)}" for key, part in value.items())
    if isinstance(value, str):
        return (value,) if name in _REPEATED else tuple(value.split(","))
    if name in _OF_NUMBERS:
        parts = value if isinstance(value, list | tuple) else [value]
        whole = [_to_scalar(int, part) for part in parts]
        return None if None in whole else tuple(map(str, whole))
    is_list = isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
    return tuple(map(str, value)) if is_list else None


def _write(value: Any) -> str:
    """A parameter as a flag has it."""
    is_word = value is None or isinstance(value, bool)
    return str(value).lower() if is_word else str(value)
