"""Imports and calls somebody else's builder; whatever goes wrong is one line."""

# Tested in tests/aggregators/test_chain.py and tests/whole_runs/test_plugin_sessions.py.

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from fedrec_tff import errors
from fedrec_tff.plugins import signatures
from fedrec_tff.plugins.plugin_flag import PluginFlag

_MAX_LENGTH = 800


@functools.lru_cache
def entry_points(flag: PluginFlag) -> dict[str, str]:
    """The builders that installed packages offer, by name: `package.module:function`.

    Args:
      flag: Flag that names the builders; its group of entry points is looked in.

    Returns:
      The builders, by the names that the flag may be given.
    """
    found = importlib.metadata.entry_points(group=flag.group)
    return {point.name: point.value.replace(" ", "") for point in found}


def import_builder(builder: str, name: str, flag: PluginFlag) -> Callable[..., Any]:
    """Imports a builder.

    Args:
      builder: Name of the builder: `package.module:function` or `path/to/file.py:function`.
      name: Name that the flag gives the builder, for errors.
      flag: Flag that names the builder.

    Returns:
      The function.

    Raises:
      UserError: If its module cannot be imported.
    """
    place, function = signatures.split_builder(builder)
    try:
        module = _import_file(place) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, function)
    # Whatever the module does when it is imported.
    except (Exception, SystemExit) as error:
        raise errors.UserError(
            f"{flag.say(name)}: importing {place} failed: {describe_error(error)}"
        ) from error


def call_builder(
    builder: Callable[..., Any], name: str, flag: PluginFlag, *args: Any, **kwargs: Any
) -> Any:
    """Calls a builder.

    Args:
      builder: The function, from `import_builder`.
      name: Name that the flag gives the builder, for errors.
      flag: Flag that names the builder.
      *args: Positional arguments of the builder.
      **kwargs: Keyword arguments of the builder.

    Returns:
      The result of the builder.

    Raises:
      UserError: If it raises anything.
    """
    try:
        return builder(*args, **kwargs)
    except errors.UserError as error:
        if f"--{flag.name}" in str(error):
            raise
        raise errors.UserError(f"{flag.say(name)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise errors.UserError(
            f"{flag.say(name)}: calling the builder failed: {describe_error(error)}"
        ) from error


def takes_context(builder: Any, signature: signatures.Signature) -> bool:
    """Whether a builder takes the context first.

    Args:
      builder: The function or class, from `import_builder`.
      signature: Signature of the builder as its source tells it.

    Returns:
      Whether it does; where the source does not tell, whether it must be given something by place.
    """
    if signature.has_context is not None:
        return signature.has_context
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return False
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in by_place and p.default is inspect.Parameter.empty for p in parameters)


def digest_source(builder: str, flag: PluginFlag) -> str:
    """The SHA-256 of a builder's file, as hexadecimal digits."""
    source = signatures.find_source(signatures.split_builder(builder)[0], flag)
    return hashlib.sha256(source.read_bytes()).hexdigest()


def describe_error(error: BaseException) -> str:
    """One line: the kind of error, its message, and where in the author's code it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and "importlib" not in f.filename]
    text = " ".join(str(error).split())
    text = text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} ..."
    place = f" ({pathlib.Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text}{place}"


def _import_file(place: str) -> ModuleType:
    """Imports a file; its folder is on the path, as a script's would be."""
    path = pathlib.Path(place).resolve()
    name = f"fedrec_tff_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
