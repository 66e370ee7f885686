"""Histories of nobody, drawn from the public catalogue, to try what is shipped.

Held-out histories would tell what users did, so nothing here reads them. Items are drawn with equal
probability: a quantised model or an index is tried on the whole catalogue, and not where most users
are.
"""

# Tested in tests/serving/test_item_index.py.

import numpy as np

from fedrec_tff.datasets import sequences
from fedrec_tff.datasets.sequences import Sequences

_SEED = 0x5E121E
COUNT = 100


def create(num_items: int, history_length: int, count: int = COUNT) -> Sequences:
    """Draws histories; the same for the same numbers.

    Args:
      num_items: Size of the catalogue.
      history_length: Length of the longest.
      count: Number of histories.

    Returns:
      Histories of 1 to `history_length` items, all different within one; at least one item of the
      catalogue is in none of a history's.
    """
    rng = np.random.default_rng(_SEED)
    longest = max(1, min(history_length, num_items - 1))
    lengths = rng.integers(1, longest + 1, count)
    return sequences.from_rows([rng.choice(num_items, length, False) for length in lengths])


def measure_overlap(found: np.ndarray, exact: np.ndarray) -> float:
    """The part of the exact lists that was found, over all histories.

    Args:
      found: Integers [rows, k], items; negative ones are none.
      exact: Integers [rows, k], items of the exact lists; negative ones are none.

    Returns:
      A number in [0, 1]: never above what it is measured against.
    """
    hits = sum(
        len(np.intersect1d(one[one >= 0], other[other >= 0]))
        for one, other in zip(found, exact, strict=True)
    )
    return hits / max(1, int((exact >= 0).sum()))
