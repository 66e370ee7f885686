"""What a method is that makes a model smaller, and what it may look at.

A model that was trained with differential privacy may be changed in any way that looks at nothing
but the model, public items, and what else was released with noise: that is post-processing, and
epsilon stays what it is (Dwork and Roth 2014, "The algorithmic foundations of differential
privacy", proposition 2.1). What looks at users' interactions again is another computation on them,
which no noise covers. Each method says which of the two it is, and `access` refuses the second kind
where users were promised something.
"""

# Tested in tests/serving/compression/test_access.py.

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets.sequences import Sequences
from fedrec_tff.serving.compression.coded import Coded, Plain

if TYPE_CHECKING:
    from fedrec_tff.serving.compression.compact_model import CompactModel

NO_WEIGHTING = "none"
SAMPLED = "sampled"
RELEASED = "released"
COUNTED = "counted"
WEIGHTINGS = (NO_WEIGHTING, SAMPLED, RELEASED, COUNTED)


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """What methods may look at besides the model.

    Attributes:
      seed: Seed of all that is drawn.
      released_counts: float [num_items], the noised counts of items that the run released; None
        where it released none.
      training: Histories of training users, a row for each; None unless methods that need them
        were allowed to have them.
      full: The model before anything was made smaller, which a smaller form is trained to follow;
        None for what a method is given.
      made_up: Function to histories that are sampled from that model; None where each method that
        trains samples its own.
    """

    seed: int = 0
    released_counts: np.ndarray | None = None
    training: Sequences | None = None
    full: CompactModel | None = None
    made_up: Callable[[], Sequences] | None = None

    def weigh_items(self, weighting: str, num_items: int) -> np.ndarray:
        """What the error of each item counts.

        Args:
          weighting: One of `WEIGHTINGS`.
          num_items: Size of the catalogue.

        Returns:
          float64 [num_items], positive, with a mean of one.

        Raises:
          UserError: If nothing of that kind was released.
        """
        if weighting == NO_WEIGHTING:
            return np.ones(num_items)
        if weighting == COUNTED:
            counts = np.bincount(self.training.items, minlength=num_items)
        elif weighting == SAMPLED:
            counts = np.bincount(self.made_up().items, minlength=num_items)
        elif self.released_counts is None:
            raise errors.UserError(
                f"--methods: weighting={RELEASED}: the run released no popularity "
                f"(--popularity_noise_multiplier): write weighting={NO_WEIGHTING}"
            )
        else:
            counts = self.released_counts
        raised = np.maximum(np.asarray(counts, np.float64), 1.0)
        return raised / raised.mean()


class Method(abc.ABC):
    """Makes a model smaller; a frozen dataclass of its parameters."""

    @property
    def touches_user_data(self) -> bool:
        """Whether it looks at users' interactions; if not, it is post-processing of the model."""
        return False

    @abc.abstractmethod
    def apply(self, model: CompactModel, inputs: Inputs) -> CompactModel:
        """Makes a model smaller.

        Args:
          model: The model, some of which may be coded already.
          inputs: What else may be looked at.

        Returns:
          The smaller model.

        Raises:
          UserError: If its parameters do not go with the model.
        """


class ArrayMethod(Method):
    """A method that codes the plain parts of a model one by one."""

    @abc.abstractmethod
    def code(self, plain: Plain, inputs: Inputs) -> Coded:
        """Codes a plain part, or gives it back as it is.

        Args:
          plain: The part.
          inputs: What else may be looked at.

        Returns:
          What takes its place.
        """

    def apply(self, model: CompactModel, inputs: Inputs) -> CompactModel:
        """See `Method`."""
        return model.map_plain(lambda plain: self.code(plain, inputs))


@dataclasses.dataclass(frozen=True)
class WeighingMethod(ArrayMethod):
    """A method whose errors count by item.

    Attributes:
      weighting: What the error of an item counts, one of `WEIGHTINGS`.
    """

    weighting: str

    @property
    def touches_user_data(self) -> bool:
        """See `Method`; counts that were not released are users' data."""
        return self.weighting == COUNTED


def is_item_matrix(plain: Plain) -> bool:
    """Whether the rows of a part are items."""
    return plain.of_items and plain.values.ndim == 2


def check_weighting(weighting: str) -> None:
    """Refuses a weighting that there is not.

    Args:
      weighting: What was written.

    Raises:
      UserError: If it is none of `WEIGHTINGS`.
    """
    if weighting not in WEIGHTINGS:
        raise errors.UserError(
            f"--methods: weighting={weighting}: choose one of {', '.join(WEIGHTINGS)}"
        )
