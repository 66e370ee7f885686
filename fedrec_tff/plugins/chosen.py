"""What a flag of a builder and its parameters say, importing nothing."""

# Tested in tests/models/test_custom_towers.py and tests/models/losses/test_losses_plugin.py.

import dataclasses
import difflib
import functools
from typing import Any

from fedrec_tff import errors
from fedrec_tff.plugins import loading, parameters, signatures
from fedrec_tff.plugins.plugin_flag import PluginFlag


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A builder and its parameters.

    Attributes:
      name: Text that the flag was given.
      builder: Name of the builder: `package.module:function` or `path/to/file.py:function`.
      parameters: Parameters that were set, as pairs; the rest is the builder's defaults.
    """

    name: str
    builder: str
    parameters: tuple[tuple[str, Any], ...] = ()


def find_builder(text: str, flag: PluginFlag, other_choices: str) -> str:
    """Finds the builder that a flag names.

    Args:
      text: Text that the flag was given: a builder, or the name of an entry point.
      flag: Flag that names the builder.
      other_choices: Other things that the flag, or another one, may name: the end of an error's
        line.

    Returns:
      `package.module:function` or `path/to/file.py:function`.

    Raises:
      UserError: If it names neither.
    """
    known = loading.entry_points(flag)
    builder = known.get(text, text)
    if ":" in builder:
        return builder
    if text.endswith(".py"):
        public = ", ".join(signatures.list_functions(text, flag)) or "none"
        raise errors.UserError(
            f"{flag.say(text)}: name a {flag.kind} in that file, as {text}:{flag.kind}; its "
            f"functions are: {public}"
        )
    close = difflib.get_close_matches(text, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise errors.UserError(
        f"{flag.say(text)}: {hint}name a {flag.kind} of your own as package.module:{flag.kind} or "
        f"path/to/file.py:{flag.kind}; {other_choices}"
    )


@functools.lru_cache
def parse(text: str, texts: tuple[str, ...], flag: PluginFlag, other_choices: str) -> Chosen:
    """Reads a flag and that of its parameters.

    Args:
      text: Text that the flag was given: a builder, or the name of an entry point.
      texts: Parameters, each as `key=value`.
      flag: Flag that names the builder.
      other_choices: Other things that the flag may name: the end of an error's line, as in
        `find_builder`.

    Returns:
      The builder that was chosen, with its parameters.

    Raises:
      UserError: If the builder cannot be found, or a parameter is wrong.
    """
    builder = find_builder(text, flag, other_choices)
    signature = signatures.read_signature(builder, flag)
    (values,) = parameters.assign(texts, [(text, signature)], flag)
    return Chosen(text, builder, tuple(values.items()))
