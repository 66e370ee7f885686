"""How sure a mean over users is: bootstrap intervals, and paired tests of two models.

Users are the units: they are drawn with replacement, each with everything of theirs (Efron and
Tibshirani 1993, "An introduction to the bootstrap": percentile intervals). Two models that were
measured on the same users are compared by differences within each user: the interval of the
difference resamples the same users for both, and the p-value is that of a randomisation test that
swaps the two models' values of a user by a fair coin (Smucker, Allan and Carterette 2007, "A
comparison of statistical significance tests for information retrieval evaluation"). What they say
is about other users like these, for these two models; nothing about training again.
"""

import numpy as np

from fedrec_tff.evaluation import user_values
from fedrec_tff.evaluation.user_values import UserValues

_CELLS_PER_BLOCK = 2**22
# Distinguishes the streams of two purposes that share a seed.
_BOOTSTRAP, _RANDOMISATION = 0, 1


def bootstrap(values: UserValues, num_resamples: int, seed: int) -> np.ndarray:
    """Draws users again and again, and averages each draw.

    Args:
      values: Values of the users, at least one.
      num_resamples: Number of draws, each of as many users as there are.
      seed: Seed of the draws; of as many users, the same draws whatever was measured.

    Returns:
      float64 [metrics, num_resamples]; NaN where a metric cannot be told of those drawn.
    """
    rng = np.random.default_rng([seed, _BOOTSTRAP])
    num_users = values.num_users
    parts = []
    for size in _block_sizes(num_resamples, num_users):
        counts = np.empty((size, num_users))
        for row in range(size):
            drawn = rng.integers(0, num_users, num_users)
            counts[row] = np.bincount(drawn, minlength=num_users)
        parts.append(user_values.divide(values.totals @ counts.T, values.weights @ counts.T))
    return np.concatenate(parts, axis=1)


def interval(samples: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the tails off what was drawn.

    Args:
      samples: float64 [metrics, samples]; NaN is left out.
      confidence: Share that is kept, half of the rest on either side.

    Returns:
      Lower and upper ends, float64 [metrics]; NaN where nothing is left, and where all samples
      are the same: users who do not differ tell nothing of how others may.
    """
    tail = (1.0 - confidence) / 2.0
    lowest, highest = np.fmin.reduce(samples, axis=1), np.fmax.reduce(samples, axis=1)
    is_told = lowest < highest
    ends = np.full((2, len(samples)), np.nan)
    if is_told.any():
        ends[:, is_told] = np.nanquantile(samples[is_told], [tail, 1.0 - tail], axis=1)
    return ends[0], ends[1]


def randomisation_p_values(
    one: UserValues, other: UserValues, num_resamples: int, seed: int
) -> np.ndarray:
    """Tests whether two models differ, by swapping their values of each user.

    Args:
      one: Values of the first model.
      other: Values of the second, of the same metrics and users.
      num_resamples: Number of random swappings.
      seed: Seed of the coins.

    Returns:
      Two-sided p-values, float64 [metrics], of the sum of the users' differences; never below
      1 / (num_resamples + 1), for what was observed counts as one of the swappings. Users of whom
      a metric cannot be told for both are left out of it.
    """
    rng = np.random.default_rng([seed, _RANDOMISATION])
    is_told = (one.weights > 0) & (other.weights > 0)
    difference = np.where(is_told, one.totals - other.totals, 0.0)
    # Less a trace, so that a swapping that gives the same sum is not lost to rounding.
    observed = np.abs(difference.sum(axis=1)) * (1.0 - 1e-9)
    num_extreme = np.ones(len(difference))
    for size in _block_sizes(num_resamples, one.num_users):
        signs = rng.integers(0, 2, (size, one.num_users), dtype=np.int8) * 2.0 - 1.0
        num_extreme += (np.abs(difference @ signs.T) >= observed[:, np.newaxis]).sum(axis=1)
    return num_extreme / (num_resamples + 1)


def _block_sizes(num_resamples: int, num_users: int) -> list[int]:
    size = max(1, min(num_resamples, _CELLS_PER_BLOCK // max(num_users, 1)))
    whole, rest = divmod(num_resamples, size)
    return [size] * whole + ([rest] if rest else [])
