"""Which items a private run may know of: those that enough users took, chosen with noise.

A catalogue that is read off the data tells who alone took an item: it has a row. Here each user
spreads a vector of length one evenly over a few of their items, noise is added to the sums, and an
item is in the catalogue if its noised sum passes a threshold that one user's items hardly ever pass
alone. This is partition selection with weights that do not look at others' items; the threshold is
that of Gopi et al. 2020, "Differentially private set union" (arXiv 2002.09745), for Gaussian noise.

Why it is private. Let neighbours differ in one user's data. On the items that both have, the sums
differ by a vector no longer than the sensitivity, so what is chosen of them costs the Gaussian
mechanism. The other items are the user's alone, s of them at most `items_per_user`, of weight
1 / sqrt(s) each; that any of these passes has a probability below `delta`, which is added to the
guarantee's.
"""

import math

import numpy as np
from scipy import special


def find_threshold(noise_stddev: float, delta: float, items_per_user: int) -> float:
    """The sum above which an item is chosen.

    Args:
      noise_stddev: Standard deviation of the noise on each item's sum, above 0.
      delta: The probability with which an item of one user alone may be chosen, in (0, 1).
      items_per_user: Number of items that a user counts for, at most; at least 1.

    Returns:
      The largest over s of 1 / sqrt(s) + noise_stddev * q, q being what s independent standard
      normal numbers all stay below with probability 1 - delta.
    """
    sizes = np.arange(1, items_per_user + 1)
    # For each of s numbers, such that all stay below with probability 1 - delta.
    passes = -np.expm1(math.log1p(-delta) / sizes)
    return float(np.max(1.0 / np.sqrt(sizes) - noise_stddev * special.ndtri(passes)))


def select(noised_sums: np.ndarray, threshold: float) -> np.ndarray:
    """The items whose noised sum passes the threshold.

    Args:
      noised_sums: float [num_items], noised sum of each item.
      threshold: Threshold from `find_threshold`.

    Returns:
      int64 [num_selected], ascending.
    """
    return np.flatnonzero(np.asarray(noised_sums) > threshold)
