"""Builders' signatures, read from their source: what a flag may set, before anything is imported.

Importing a builder means importing TensorFlow, and a mistyped parameter should be told at once.
"""

# Tested in tests/aggregators/test_chain.py.

import ast
import dataclasses
import functools
import importlib.machinery
import inspect
import pathlib
import re
import sys
from typing import Any

from fedrec_tff import errors
from fedrec_tff.plugins.plugin_flag import CONTEXT, INNER, PluginFlag

_TYPES = {"int": int, "float": float, "bool": bool, "str": str}
_ARGUMENT = re.compile(r"^\s*(\w+): (.*)$")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter that a flag may set.

    Attributes:
      name: Name of the parameter.
      type: Type of the parameter, one of int, float, bool, str.
      default: Value of the parameter if it is not set.
      is_required: Whether the parameter has no default.
      is_optional: Whether the parameter may be None.
      help: Text about the parameter in the docstring's `Args:`; empty if there is none.
    """

    name: str
    type: type
    default: Any = None
    is_required: bool = False
    is_optional: bool = False
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a builder takes.

    Attributes:
      summary: First line of the builder's docstring; empty if there is none.
      docstring: Whole docstring of the builder, without the `Args:`.
      has_inner: Whether the builder takes what it wraps.
      parameters: Parameters that a flag may set, by name.
      has_context: Whether the builder takes a context first; None if only importing it tells.
    """

    summary: str
    docstring: str
    has_inner: bool
    parameters: dict[str, Parameter]
    has_context: bool | None = True


def split_builder(text: str) -> tuple[str, str]:
    """Splits `package.module:function` or `path/to/file.py:function` at its colon."""
    place, _, function = text.rpartition(":")
    return place, function


def find_source(place: str, flag: PluginFlag) -> pathlib.Path:
    """Finds a builder's file.

    Args:
      place: Place of the builder: `package.module`, or the path of a file that ends with `.py`.
      flag: Flag that names the builder.

    Returns:
      The path of the builder's source.

    Raises:
      UserError: If there is none.
    """
    if place.endswith(".py"):
        path = pathlib.Path(place)
        if not path.is_file():
            raise errors.UserError(f"--{flag.name}: there is no file {place}")
        return path
    found = _find_module(place)
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise errors.UserError(
            f"--{flag.name}: there is no module {place} on Python's path; a file can be named by "
            "its path, as in path/to/file.py:builder"
        )
    return pathlib.Path(found.origin)


def _find_module(name: str) -> importlib.machinery.ModuleSpec | None:
    """Finds a module without importing the packages that it is in, as `find_spec` would."""
    parts = name.split(".")
    found, folders = None, None
    for length in range(1, len(parts) + 1):
        full_name = ".".join(parts[:length])
        try:
            specs = (finder.find_spec(full_name, folders) for finder in sys.meta_path)
            found = next((spec for spec in specs if spec is not None), None)
        # Of a name that is none, by what finder is asked.
        except (ImportError, ValueError, AttributeError, OSError):
            return None
        if found is None or (length < len(parts) and found.submodule_search_locations is None):
            return None
        folders = found.submodule_search_locations
    return found


def list_functions(place: str, flag: PluginFlag) -> list[str]:
    """The public functions of a file or module, and its classes where these are builders, too.

    Args:
      place: Place to look in: `package.module`, or the path of a file that ends with `.py`.
      flag: Flag that names the builder.

    Returns:
      The names of the functions and classes, in the file's order.

    Raises:
      UserError: If it cannot be found or read.
    """
    found = _read_definitions(place, flag).items()
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [name for name, node in found if isinstance(node, kinds) and not name.startswith("_")]


@functools.lru_cache
def read_signature(builder: str, flag: PluginFlag) -> Signature:
    """Reads a builder's signature.

    Args:
      builder: Name of the builder: `package.module:function` or `path/to/file.py:function`. The
        function must be written out in that file, its parameters annotated as int, float, bool or
        str (or `| None`), or with a default of such a type. Where the flag needs no context: or a
        class, whose constructor is read, or another name of that file, of which nothing is known
        before it is imported.
      flag: Flag that names the builder.

    Returns:
      The signature.

    Raises:
      UserError: If it cannot be found or read.
    """
    place, function = split_builder(builder)
    definitions = _read_definitions(place, flag)
    if function not in definitions:
        public = ", ".join(list_functions(place, flag)) or "none"
        raise errors.UserError(
            f"{flag.say(builder)}: {find_source(place, flag)} defines no function {function!r}; "
            f"there are: {public}"
        )
    node = definitions[function]
    if isinstance(node, ast.FunctionDef):
        return _read_function(node, _read_docstring(node), builder, flag)
    if isinstance(node, ast.ClassDef):
        return _read_class(node, builder, flag)
    return Signature("", "", has_inner=False, parameters={}, has_context=None)


def _read_definitions(place: str, flag: PluginFlag) -> dict[str, ast.stmt]:
    """The functions of a file by name; where the flag needs no context, all names."""
    path = find_source(place, flag)
    try:
        tree = ast.parse(path.read_text(), filename=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UserError(f"--{flag.name}: {path} cannot be read: {error}") from error
    except SyntaxError as error:
        raise errors.UserError(
            f"--{flag.name}: {path}, line {error.lineno}: {error.msg}"
        ) from error
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) or not flag.needs_context:
            found |= dict.fromkeys(_list_names(node), node)
    return found


def _list_names(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _read_docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "")


def _read_class(node: ast.ClassDef, builder: str, flag: PluginFlag) -> Signature:
    """What the constructor takes; one that the class does not write itself takes nothing."""
    found = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    docstring = _read_docstring(node)
    if not found:
        return Signature(docstring.split("\n")[0], docstring, False, {}, has_context=False)
    documented = f"{docstring}\n{_read_docstring(found[0])}"
    signature = _read_function(found[0], documented, builder, flag, is_constructor=True)
    return dataclasses.replace(signature, docstring=docstring.partition("\nArgs:\n")[0].strip())


def _read_function(
    node: ast.FunctionDef,
    docstring: str,
    builder: str,
    flag: PluginFlag,
    is_constructor: bool = False,
) -> Signature:
    """Reads a function.

    Args:
      node: Syntax tree of the function.
      docstring: Docstring to take texts from.
      builder: Name that the flag gives the builder.
      flag: Flag that names the builder.
      is_constructor: Whether the function takes `self` first.

    Returns:
      The signature of the builder.
    """
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args][is_constructor:]
    defaults: list[ast.expr | None] = [None] * (len(named) - len(arguments.defaults))
    pairs = [*zip(named, defaults + arguments.defaults, strict=True)]
    has_context = bool(pairs) and (
        flag.needs_context or _is_context(*pairs[0], flag, is_constructor)
    )
    if flag.needs_context and not has_context:
        raise errors.UserError(
            f"{flag.say(builder)}: a {flag.kind} takes {flag.first_parameter} as its first "
            "parameter, and this one takes none"
        )
    is_open = arguments.vararg is not None or arguments.kwarg is not None
    if is_open and has_context:
        raise errors.UserError(
            f"{flag.say(builder)}: write its parameters out: *args and **kwargs cannot be set "
            "by flags"
        )
    pairs = pairs[1:] if has_context else pairs
    has_inner = flag.may_wrap and bool(pairs) and pairs[0][0].arg == INNER
    pairs = pairs[1:] if has_inner else pairs
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if not has_context:
        # Written for TFF, and not for us: what flags cannot set keeps its default.
        pairs = [pair for pair in pairs if pair[1] is None or _is_plain(*pair)]
    body, _, documented = docstring.partition("\nArgs:\n")
    help_texts = _read_argument_help(documented)
    parameters = [
        _read_parameter(argument, default, help_texts.get(argument.arg, ""), builder, flag)
        for argument, default in pairs
    ]
    return Signature(
        body.split("\n")[0],
        body.strip(),
        has_inner,
        {item.name: item for item in parameters},
        has_context,
    )


def _is_context(
    argument: ast.arg, default: ast.expr | None, flag: PluginFlag, is_constructor: bool
) -> bool:
    """Whether a first parameter is the context, where there may be none.

    A function's is, whatever it is called, unless a flag could set it. A constructor, which may
    have been written for TFF, must name it.
    """
    if default is not None or (flag.may_wrap and argument.arg == INNER):
        return False
    if is_constructor:
        named = _read_annotation(argument)
        return argument.arg == CONTEXT or any("Context" in part for part in named)
    return not _is_plain(argument, default)


def _is_plain(argument: ast.arg, default: ast.expr | None) -> bool:
    """Whether a flag can set a parameter."""
    named = _read_annotation(argument) - {"None"}
    if not named and default is not None:
        try:
            named = {type(ast.literal_eval(default)).__name__}
        except ValueError:
            return False
    return len(named) == 1 and named <= _TYPES.keys()


def _read_annotation(argument: ast.arg) -> set[str]:
    """The types that an annotation names, as written."""
    annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
    return {part.strip() for part in annotation.strip("'\"").split("|")} - {""}


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
    parts = _read_annotation(argument)
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
