"""Builders' signatures, read from their source: what a flag may set, before anything is imported.

Importing a builder means importing TensorFlow, and a mistyped parameter should be told at once.
"""

# Tested in tests/aggregators/test_chain.py.

import ast
import dataclasses
import functools
import importlib.util
import inspect
import pathlib
import re
from typing import Any

from fedrec_tff import errors
from fedrec_tff.plugins.plugin_flag import INNER, PluginFlag

_TYPES = {"int": int, "float": float, "bool": bool, "str": str}
_ARGUMENT = re.compile(r"^\s*(\w+): (.*)$")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter that a flag may set.

    Attributes:
      name: Its name.
      type: One of int, float, bool, str.
      default: Its value if it is not set.
      is_required: Whether it has no default.
      is_optional: Whether it may be None.
      help: What the docstring's `Args:` say of it; empty if nothing.
    """

    name: str
    type: type
    default: Any = None
    is_required: bool = False
    is_optional: bool = False
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a builder takes besides its context.

    Attributes:
      summary: The first line of its docstring; empty if there is none.
      docstring: All of it, without the `Args:`.
      has_inner: Whether it takes what it wraps.
      parameters: By name.
    """

    summary: str
    docstring: str
    has_inner: bool
    parameters: dict[str, Parameter]


def split_builder(text: str) -> tuple[str, str]:
    """Splits `package.module:function` or `path/to/file.py:function` at its colon."""
    place, _, function = text.rpartition(":")
    return place, function


def find_source(place: str, flag: PluginFlag) -> pathlib.Path:
    """Finds a builder's file.

    Args:
      place: `package.module`, or the path of a file that ends with `.py`.
      flag: What names it.

    Returns:
      The path of its source.

    Raises:
      UserError: If there is none.
    """
    if place.endswith(".py"):
        path = pathlib.Path(place)
        if not path.is_file():
            raise errors.UserError(f"--{flag.name}: there is no file {place}")
        return path
    try:
        found = importlib.util.find_spec(place)
    # A package's own code runs when its module is looked for.
    except Exception as error:
        raise errors.UserError(
            f"--{flag.name}: looking for the module {place}: {type(error).__name__}: {error}"
        ) from error
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise errors.UserError(
            f"--{flag.name}: there is no module {place} on Python's path; a file can be named by "
            "its path, as in path/to/file.py:builder"
        )
    return pathlib.Path(found.origin)


def list_functions(place: str, flag: PluginFlag) -> list[str]:
    """The public functions of a file or module.

    Args:
      place: See `find_source`.
      flag: What names it.

    Returns:
      Their names, in the file's order.

    Raises:
      UserError: If it cannot be found or read.
    """
    return [name for name in _read_functions(place, flag) if not name.startswith("_")]


@functools.lru_cache
def read_signature(builder: str, flag: PluginFlag) -> Signature:
    """Reads a builder's signature.

    Args:
      builder: `package.module:function` or `path/to/file.py:function`. The function must be written
        out in that file, its parameters annotated as int, float, bool or str (or `| None`), or with
        a default of such a type.
      flag: What names it.

    Returns:
      The signature.

    Raises:
      UserError: If it cannot be found or read.
    """
    place, function = split_builder(builder)
    functions = _read_functions(place, flag)
    if function not in functions:
        public = ", ".join(name for name in functions if not name.startswith("_")) or "none"
        raise errors.UserError(
            f"{flag.say(builder)}: {find_source(place, flag)} defines no function {function!r}; "
            f"there are: {public}"
        )
    return _read_function(functions[function], builder, flag)


def _read_functions(place: str, flag: PluginFlag) -> dict[str, ast.FunctionDef]:
    path = find_source(place, flag)
    try:
        tree = ast.parse(path.read_text(), filename=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UserError(f"--{flag.name}: {path} cannot be read: {error}") from error
    except SyntaxError as error:
        raise errors.UserError(
            f"--{flag.name}: {path}, line {error.lineno}: {error.msg}"
        ) from error
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _read_function(node: ast.FunctionDef, builder: str, flag: PluginFlag) -> Signature:
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if not positional:
        raise errors.UserError(
            f"{flag.say(builder)}: a builder takes the context as its first parameter, and this "
            "one takes none"
        )
    if arguments.vararg is not None or arguments.kwarg is not None:
        raise errors.UserError(
            f"{flag.say(builder)}: write its parameters out: *args and **kwargs cannot be set "
            "by flags"
        )
    has_inner = flag.may_wrap and len(positional) > 1 and positional[1] == INNER
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    body, _, documented = docstring.partition("\nArgs:\n")
    help_texts = _read_argument_help(documented)
    first = 2 if has_inner else 1
    named = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = [*zip(named, defaults, strict=True)][first:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = [
        _read_parameter(argument, default, help_texts.get(argument.arg, ""), builder, flag)
        for argument, default in pairs
    ]
    return Signature(
        body.split("\n")[0], body.strip(), has_inner, {item.name: item for item in parameters}
    )


def _read_parameter(
    argument: ast.arg,
    default: ast.expr | None,
    help_text: str,
    builder: str,
    flag: PluginFlag,
) -> Parameter:
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError as error:
        raise errors.UserError(
            f"{flag.say(builder)}: the default of {argument.arg} must be a plain number, string "
            "or truth value"
        ) from error
    annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
    parts = {part.strip() for part in annotation.strip("'\"").split("|")} - {""}
    named = parts - {"None"}
    if not named and value is not None:
        named = {type(value).__name__}
    if len(named) != 1 or not named <= _TYPES.keys():
        wrapped = f"; what a wrapping step wraps is called {INNER}" if flag.may_wrap else ""
        raise errors.UserError(
            f"{flag.say(builder)}: annotate {argument.arg} as int, float, bool or str, so that "
            f"flags can set it{wrapped}"
        )
    return Parameter(
        argument.arg,
        _TYPES[named.pop()],
        value,
        is_required=default is None,
        is_optional="None" in parts,
        help=help_text,
    )


def _read_argument_help(documented: str) -> dict[str, str]:
    """The lines of `Args:`, by parameter; lines without a name go on from the one before."""
    texts: dict[str, str] = {}
    name = None
    for line in documented.split("\n"):
        if line and not line.startswith(" "):
            break
        matched = _ARGUMENT.match(line)
        if matched:
            name = matched.group(1)
            texts[name] = matched.group(2)
        elif name is not None:
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts
