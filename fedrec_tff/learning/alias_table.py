"""Draws from a discrete distribution in time that does not depend on its size."""

import dataclasses

import numpy as np

# A draw compares 31 random bits with a threshold.
NUM_STEPS = 2**31 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class AliasTable:
    """A distribution over n outcomes, as n columns of two outcomes each.

    A draw takes a column, all being as likely, and then its own outcome or its alias (Walker 1977;
    built as in Vose 1991).

    Attributes:
      threshold: int32 [n], the number of `NUM_STEPS` equal steps in which a column gives its own
        outcome.
      alias: int32 [n], the outcome that a column gives in the other steps.
    """

    threshold: np.ndarray
    alias: np.ndarray


def create_alias_table(probabilities: np.ndarray) -> AliasTable:
    """Builds the columns of a distribution.

    Args:
      probabilities: float [n], not negative; their sum, which is positive, is taken for one.

    Returns:
      The table, by which each outcome's probability is right to 1 / `NUM_STEPS` of 1 / n.
    """
    heights = np.asarray(probabilities, np.float64)
    heights = heights * (len(heights) / heights.sum())
    alias = np.arange(len(heights), dtype=np.int32)
    own = heights.tolist()
    low = np.flatnonzero(heights < 1.0).tolist()
    high = np.flatnonzero(heights >= 1.0).tolist()
    while low and high:
        column, donor = low.pop(), high[-1]
        alias[column] = donor
        own[donor] -= 1.0 - own[column]
        if own[donor] < 1.0:
            low.append(high.pop())
    # What rounding has left over is as good as full.
    filled = np.array(own)
    filled[low + high] = 1.0
    return AliasTable(np.rint(filled * NUM_STEPS).astype(np.int32), alias)
