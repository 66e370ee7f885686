"""A model by its builder: what `--model` and `--model_param` say, and the tower that it makes.

What is wrong with the flags is told without TensorFlow; it is imported with an author's module. The
built-in towers are loaded here, too.
"""

# Tested in tests/models/test_custom_towers.py.

import functools
import math
from collections.abc import Sequence

from fedrec_tff import errors
from fedrec_tff.models import query_tower
from fedrec_tff.models.model_context import ModelContext
from fedrec_tff.models.tower_tensor import TowerTensor
from fedrec_tff.plugins import chosen, loading
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.plugins.plugin_flag import PluginFlag

FLAG = PluginFlag("model")


_OTHER_CHOICES = "the built-in models are chosen by --query_tower"


def find_builder(text: str) -> str:
    """The builder that `--model` names; see `chosen.find_builder`."""
    return chosen.find_builder(text, FLAG, _OTHER_CHOICES)


def parse(text: str, texts: tuple[str, ...] = ()) -> Chosen:
    """Reads `--model` and `--model_param`, importing nothing; see `chosen.parse`."""
    return chosen.parse(text, texts, FLAG, _OTHER_CHOICES)


@functools.lru_cache
def load_tower(plugin: Chosen, context: ModelContext) -> query_tower.QueryTower:
    """Imports a plug-in and calls its builder, once in a process.

    Args:
      plugin: The builder and its parameters.
      context: Context that builders are given.

    Returns:
      The tower; of what it does, `tower_contract` checks more.

    Raises:
      UserError: If it cannot be imported, fails, or returns no tower whose weights can be made.
    """
    return create_tower(plugin, context)


def create_tower(plugin: Chosen, context: ModelContext) -> query_tower.QueryTower:
    """As `load_tower`, an object of its own for each call."""
    builder = loading.import_builder(plugin.builder, plugin.name, FLAG)
    tower = loading.call_builder(builder, plugin.name, FLAG, context, **dict(plugin.parameters))
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
