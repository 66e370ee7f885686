"""From the text of `--methods` to methods: `low_rank rank=48 | quantize bits=4; pq subvectors=16`.

Forms are separated by semicolons, the methods of one form by bars, from the first to the last, and
a method's parameters follow its name as `key=value`.
"""

# Tested in tests/serving/compression/test_compression_chain.py.

import dataclasses
import difflib

from fedrec_tff import errors
from fedrec_tff.plugins import loading, parameters, signatures
from fedrec_tff.plugins.plugin_flag import PluginFlag
from fedrec_tff.serving.compression.catalogue import METHODS
from fedrec_tff.serving.compression.method import Method


class _MethodFlag(PluginFlag):
    """Parameters are in the flag itself."""

    @property
    def parameter(self) -> str:
        """See `PluginFlag`."""
        return f"--{self.name}"


FLAG = _MethodFlag("methods", needs_context=False, kind="method")


@dataclasses.dataclass(frozen=True)
class Step:
    """A method with its parameters.

    Attributes:
      text: The method as it was written.
      method: The method.
    """

    text: str
    method: Method


@dataclasses.dataclass(frozen=True)
class Chain:
    """Methods that follow each other.

    Attributes:
      steps: The methods, from the first to the last.
    """

    steps: tuple[Step, ...]

    @property
    def text(self) -> str:
        """The chain as it was written, with one space where there were several."""
        return " | ".join(step.text for step in self.steps)

    @property
    def touches_user_data(self) -> bool:
        """Whether any of the methods looks at users' interactions."""
        return any(step.method.touches_user_data for step in self.steps)


def parse(text: str) -> dict[str, Chain]:
    """Reads `--methods`.

    Args:
      text: Forms of a model.

    Returns:
      Chains by their texts, in their order.

    Raises:
      UserError: If a method is unknown, a parameter is wrong, or a form is there twice.
    """
    found: dict[str, Chain] = {}
    for form in text.split(";"):
        chain = Chain(tuple(map(_parse_step, form.split("|"))))
        if chain.text in found:
            raise errors.UserError(f"--methods: {chain.text!r} is there twice: leave one out")
        found[chain.text] = chain
    return found


def _parse_step(text: str) -> Step:
    name, *texts = text.split() or [""]
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        unknown = f"{name!r} is no method" if name else "a method is missing"
        raise errors.UserError(
            f"--methods: {unknown}: {hint}choose from {', '.join(METHODS)}; forms are separated "
            "by semicolons, methods that follow each other by bars"
        )
    builder = METHODS[name]
    signature = signatures.read_signature(builder, FLAG)
    (values,) = parameters.assign(texts, [(name, signature)], FLAG)
    method = loading.import_builder(builder, name, FLAG)(**values)
    return Step(" ".join([name, *texts]), method)
