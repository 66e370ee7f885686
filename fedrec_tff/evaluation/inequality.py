"""How unevenly something is shared out: the Gini coefficient."""

import numpy as np


def gini(amounts: np.ndarray) -> float:
    """Computes the Gini coefficient: half the mean difference of two holders, over their mean.

    Args:
      amounts: Amounts of the holders, not negative, [holders].

    Returns:
      0 where all have the same, nothing included; (n - 1) / n where one of n has all.
    """
    ordered = np.sort(np.asarray(amounts, np.float64))
    total, count = ordered.sum(), len(ordered)
    if not total:
        return 0.0
    rank = np.arange(1, count + 1)
    return float(np.sum((2 * rank - count - 1) * ordered) / (count * total))
