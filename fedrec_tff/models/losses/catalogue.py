"""The built-in losses: what must be known of them before TensorFlow is imported.

A loss is a function of what a batch was scored against (`scored.Scored`), and of parameters of its
own. The built-in ones are such functions in `builtin`, and are loaded as one's own are.
"""

# Tested in tests/models/losses/test_losses_builtin.py.

import dataclasses
from collections.abc import Mapping

# What a loss scores a batch against: negatives that a client draws once in a round; the whole
# catalogue, so that updates are dense; or the other positives of the batch.
DRAWN = "drawn"
CATALOGUE = "catalogue"
BATCH = "batch"
CANDIDATES = (DRAWN, CATALOGUE, BATCH)


@dataclasses.dataclass(frozen=True)
class LossEntry:
    """A built-in loss.

    Attributes:
      candidates: Kind of candidates that a batch is scored against, one of `CANDIDATES`.
      parameters: Names of the loss's parameters, each with a flag of the same name.
      needs_uniform: Whether its negatives must be drawn uniformly.
    """

    candidates: str
    parameters: tuple[str, ...] = ()
    needs_uniform: bool = False


LOSSES: Mapping[str, LossEntry] = {
    "sampled_softmax": LossEntry(DRAWN, ("label_smoothing",)),
    "in_batch_softmax": LossEntry(BATCH),
    "full_softmax": LossEntry(CATALOGUE, ("label_smoothing",)),
    "bce": LossEntry(DRAWN, ("bce_calibration",), needs_uniform=True),
    "bpr": LossEntry(DRAWN),
    "hinge": LossEntry(DRAWN, ("hinge_margin", "spreadout_weight")),
}


def names_with(parameter: str) -> tuple[str, ...]:
    """The built-in losses that have a parameter."""
    return tuple(name for name, entry in LOSSES.items() if parameter in entry.parameters)


def names_against(candidates: str) -> tuple[str, ...]:
    """The built-in losses that score a batch against one of `CANDIDATES`."""
    return tuple(name for name, entry in LOSSES.items() if entry.candidates == candidates)
