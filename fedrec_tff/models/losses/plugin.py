"""The loss that a run was given by name: a built-in one, or what `--loss` and `--loss_param` say.

What is wrong with the flags is told without TensorFlow; it is imported with the author's module.
"""

# Tested in tests/models/losses/test_losses_plugin.py.

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedrec_tff import errors
from fedrec_tff.models.losses import catalogue
from fedrec_tff.plugins import chosen, loading
from fedrec_tff.plugins.chosen import Chosen
from fedrec_tff.plugins.plugin_flag import PluginFlag

if TYPE_CHECKING:
    from fedrec_tff.models.losses import scored

FLAG = PluginFlag("loss", kind="loss", first_parameter="the scored batch")
_BUILTIN_MODULE = "fedrec_tff.models.losses.builtin"


def parse(text: str, texts: tuple[str, ...] = ()) -> Chosen:
    """Reads `--loss` and `--loss_param` where they name a loss of one's own.

    Args:
      text: `package.module:loss`, `path/to/file.py:loss`, or the name of an entry point.
      texts: Parameters of the loss, each as `key=value`.

    Returns:
      The loss.

    Raises:
      UserError: If it cannot be found, or a parameter is wrong.
    """
    return chosen.parse(text, texts, FLAG, f"or choose one of {', '.join(catalogue.LOSSES)}")


def choose_builtin(name: str, values: Mapping[str, Any]) -> Chosen:
    """A built-in loss.

    Args:
      name: Name of the loss, one of `catalogue.LOSSES`.
      values: Values of the loss's parameters, and perhaps others'.

    Returns:
      The loss.
    """
    parameters = tuple((key, values[key]) for key in catalogue.LOSSES[name].parameters)
    return Chosen(name, f"{_BUILTIN_MODULE}:{name}", parameters)


def find_candidates(loss: Chosen) -> str:
    """What a loss scores a batch against, one of `catalogue.CANDIDATES`; imports one's own.

    Args:
      loss: The loss, from `parse` or `choose_builtin`.

    Returns:
      The candidates of the built-in loss, or the mark of one's own.

    Raises:
      UserError: If it cannot be imported, or has a mark that means nothing.
    """
    if loss.name in catalogue.LOSSES:
        return catalogue.LOSSES[loss.name].candidates
    function = _import(loss)

    # Imports TensorFlow, as the author's module does.
    from fedrec_tff.models.losses import scored

    found = scored.find_candidates(function)
    if found not in catalogue.CANDIDATES:
        raise errors.UserError(
            f"{FLAG.say(loss.name)}: it is marked as against {found!r}, which must be DRAWN, "
            "CATALOGUE or BATCH of fedrec_tff.models.losses.scored"
        )
    return found


def load(loss: Chosen) -> "scored.LossFn":
    """Imports a loss and sets its parameters.

    Args:
      loss: The loss, from `parse` or `choose_builtin`.

    Returns:
      The loss, as a function of a scored batch alone.

    Raises:
      UserError: If it cannot be imported.
    """
    return functools.partial(_import(loss), **dict(loss.parameters))


@functools.lru_cache
def _import(loss: Chosen) -> Any:
    return loading.import_builder(loss.builder, loss.name, FLAG)
