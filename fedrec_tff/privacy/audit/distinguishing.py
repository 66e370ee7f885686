"""Telling two worlds apart by what whole runs released, and what that proves about epsilon.

A third of the runs of each world choose where to look: the direction in which the means differ,
weighted by how little each number varies (a linear discriminant with a diagonal covariance). A
third choose the threshold, and a third prove; see `lower_bound`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from fedrec_tff.privacy.audit import lower_bound

_NUM_PARTS = 3
# Of the largest variance: what does not vary at all must not divide by zero.
_SMALLEST_VARIANCE = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Distinction:
    """How well runs of two worlds were told apart.

    Attributes:
        first: floating [2 n / 3], scores of runs of the first world; higher means "the first".
        second: floating [2 n / 3], scores of runs of the second world.
        bound: Lower bound on epsilon that these scores prove.
    """

    first: np.ndarray
    second: np.ndarray
    bound: lower_bound.LowerBound


def distinguish(
    first: np.ndarray, second: np.ndarray, delta: float, confidence: float
) -> Distinction:
    """Tells runs of two neighbouring worlds apart.

    Args:
        first: floating [n, d], the release of each run of one world; runs independent of each
            other.
        second: floating [n, d], the release of each run of the other world.
        delta: Delta of the guarantee.
        confidence: Confidence level with which the bound must hold.

    Returns:
        Scores, and the bound on epsilon: at most about log(n / 11), however different the worlds.
    """
    choosing = np.arange(len(first)) % _NUM_PARTS == 0
    direction = _choose_direction(first[choosing], second[choosing])
    scores = [runs[~choosing].astype(np.float64) @ direction for runs in (first, second)]
    bound = lower_bound.bound_epsilon_from_samples(*scores, delta, confidence)
    return Distinction(*scores, bound)


def _choose_direction(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = first.astype(np.float64), second.astype(np.float64)
    difference = first.mean(axis=0) - second.mean(axis=0)
    variance = first.var(axis=0) + second.var(axis=0)
    floor = _SMALLEST_VARIANCE * max(float(variance.max()), float(np.max(difference**2)), 1e-300)
    return difference / (variance + floor)
