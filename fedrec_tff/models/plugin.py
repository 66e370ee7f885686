"""A model of somebody's own: what `--model` and `--model_param` say, and the tower it makes.

What is wrong with the flags is told without TensorFlow; it is imported with the author's module.
"""

# Tested in tests/models/test_custom_towers.py.

import dataclasses
import difflib
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.plugins import loading, parameters, signatures
from fedrec_tff.plugins.plugin_flag import PluginFlag

if TYPE_CHECKING:
    from fedrec_tff.models import query_tower

FLAG = PluginFlag("model")


@dataclasses.dataclass(frozen=True)
class ModelPlugin:
    """A builder and its parameters.

    Attributes:
      name: What the flag says.
      builder: `package.module:function` or `path/to/file.py:function`.
      parameters: What was set, as pairs; the rest is the builder's defaults.
    """

    name: str
    builder: str
    parameters: tuple[tuple[str, Any], ...] = ()


def find_builder(text: str) -> str:
    """Finds the builder that `--model` names.

    Args:
      text: A builder, or the name of an entry point.

    Returns:
      `package.module:function` or `path/to/file.py:function`.

    Raises:
      UserError: If it names neither.
    """
    known = loading.entry_points(FLAG)
    builder = known.get(text, text)
    if ":" in builder:
        return builder
    if text.endswith(".py"):
        public = ", ".join(signatures.list_functions(text, FLAG)) or "none"
        raise errors.UserError(
            f"{FLAG.say(text)}: name a builder in that file, as {text}:builder; its functions are: "
            f"{public}"
        )
    close = difflib.get_close_matches(text, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise errors.UserError(
        f"{FLAG.say(text)}: {hint}name a builder of your own as package.module:builder or "
        "path/to/file.py:builder; the built-in models are chosen by --query_tower"
    )


@functools.lru_cache
def parse(text: str, texts: tuple[str, ...] = ()) -> ModelPlugin:
    """Reads `--model` and `--model_param`, importing nothing.

    Args:
      text: A builder, or the name of an entry point.
      texts: `key=value`.

    Returns:
      The plug-in.

    Raises:
      UserError: If the builder cannot be found, or a parameter is wrong.
    """
    builder = find_builder(text)
    signature = signatures.read_signature(builder, FLAG)
    (values,) = parameters.assign(texts, [(text, signature)], FLAG)
    return ModelPlugin(text, builder, tuple(values.items()))


@functools.lru_cache
def load_tower(plugin: ModelPlugin, context: ModelContext) -> "query_tower.QueryTower":
    """Imports a plug-in and calls its builder, once in a process.

    Args:
      plugin: The builder and its parameters.
      context: What builders are told.

    Returns:
      The tower; of what it does, `tower_contract` checks more.

    Raises:
      UserError: If it cannot be imported, fails, or returns no tower whose weights can be made.
    """
    return create_tower(plugin, context)


def create_tower(plugin: ModelPlugin, context: ModelContext) -> "query_tower.QueryTower":
    """As `load_tower`, an object of its own for each call."""
    builder = loading.import_builder(plugin.builder, plugin.name, FLAG)
    tower = loading.call_builder(builder, plugin.name, FLAG, context, **dict(plugin.parameters))

    # Imports TensorFlow, as the author's module does.
    from fedrec_tff.models import query_tower

    if not isinstance(tower, query_tower.QueryTower):
        raise errors.UserError(
            f"{FLAG.say(plugin.name)}: the builder returned {type(tower).__name__}; it must return "
            "a query_tower.QueryTower (or CausalTower)"
        )
    _check_tensors(plugin.name, loading.call_builder(lambda: tower.tensors, plugin.name, FLAG))
    _check_stddev(plugin.name, "embedding_stddev", tower.embedding_stddev)
    return tower


def _check_tensors(name: str, tensors: Sequence[TowerTensor]) -> None:
    if not isinstance(tensors, tuple) or not all(isinstance(t, TowerTensor) for t in tensors):
        raise errors.UserError(
            f"{FLAG.say(name)}: `tensors` must be a tuple of TowerTensor, and is {tensors!r:.100}"
        )
    for position, tensor in enumerate(tensors):
        shape = tensor.shape
        if not isinstance(shape, tuple) or not all(
            type(size) is int and size > 0 for size in shape
        ):
            raise errors.UserError(
                f"{FLAG.say(name)}: the shape of tensor {position} must be a tuple of whole "
                f"numbers above zero, and is {shape!r:.100}"
            )
        _check_stddev(name, f"initial_stddev of tensor {position}", tensor.initial_stddev)
        if not math.isfinite(tensor.initial_value):
            raise errors.UserError(
                f"{FLAG.say(name)}: initial_value of tensor {position} must be a finite number, "
                f"and is {tensor.initial_value}"
            )


def _check_stddev(name: str, what: str, stddev: float | None) -> None:
    if stddev is not None and not 0.0 <= stddev < math.inf:
        raise errors.UserError(
            f"{FLAG.say(name)}: {what} must be a finite number, at least 0, and is {stddev}"
        )
