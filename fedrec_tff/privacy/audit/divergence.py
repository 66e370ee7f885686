"""Whether samples of what is released with and without a user contradict a claim.

(epsilon, delta)-differential privacy limits every event S: `P(S) <= e^epsilon Q(S) + delta`, for
the laws P and Q of what is released about two neighbouring data sets, either way round. Here P and
Q are known by samples of a number each (any function of a release will do). The samples are put
into bins; half of them choose which bins make the event, the other half prove, by the limits of
Clopper and Pearson (1934), so that a claim that is true is contradicted with no more than the
stated probability, whatever the laws: they may have atoms, gaps or heavy tails.

That is a test of code, not of a proof: an event that no bin is fine enough for is not found. But
half of the noise, or a clip that is left out, moves whole bins.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fedrec_tff.privacy.audit import lower_bound

_NUM_BINS = 100


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """A claim that does not hold.

    Attributes:
        epsilon: Epsilon of the claim.
        delta: Delta of the claim.
        delta_found: Delta that some event exceeds at `epsilon`.
    """

    epsilon: float
    delta: float
    delta_found: float


def find_contradiction(
    present: np.ndarray,
    absent: np.ndarray,
    claims: Sequence[tuple[float, float]],
    confidence: float,
) -> Contradiction | None:
    """Tests claims about one pair of neighbours, in both directions.

    Args:
        present: floating [n], independent scores of releases about one of two neighbours, in an
            order that says nothing.
        absent: floating [m], independent scores of releases about the other neighbour.
        claims: Pairs of epsilon and delta that all are said to hold.
        confidence: Confidence level: true claims are contradicted with a probability of 1 -
            confidence at most.

    Returns:
        The claim that is farthest from true; None if none is contradicted.
    """
    each = 1.0 - (1.0 - confidence) / (2 * len(claims))
    found = [
        Contradiction(
            epsilon,
            delta,
            max(
                lower_bound_delta(present, absent, epsilon, each),
                lower_bound_delta(absent, present, epsilon, each),
            ),
        )
        for epsilon, delta in claims
    ]
    worst = max(found, key=lambda claim: claim.delta_found - claim.delta)
    return worst if worst.delta_found > worst.delta else None


def lower_bound_delta(
    positives: np.ndarray, negatives: np.ndarray, epsilon: float, confidence: float
) -> float:
    """Bounds the hockey-stick divergence of two laws from below.

    Args:
        positives: floating [n], samples of P.
        negatives: floating [m], samples of Q.
        epsilon: Epsilon at which the divergence is bounded, at least 0.
        confidence: Confidence level with which the bound must hold.

    Returns:
        A lower limit of the most that `P(S) - e^epsilon Q(S)` is for any S; at least 0.
    """
    edges = _choose_edges(np.concatenate([positives[0::2], negatives[0::2]]))
    chosen = _rates(positives[0::2], edges) > math.exp(epsilon) * _rates(negatives[0::2], edges)
    each = 1.0 - (1.0 - confidence) / 2.0
    rate = lower_bound.rate_at_least(*_count(positives[1::2], edges, chosen), each)
    false_rate = lower_bound.rate_at_most(*_count(negatives[1::2], edges, chosen), each)
    return max(0.0, rate - math.exp(epsilon) * false_rate)


def _choose_edges(scores: np.ndarray) -> np.ndarray:
    """Edges between bins of about as many scores each."""
    finite = scores[np.isfinite(scores)]
    return np.unique(np.quantile(finite, np.linspace(0.0, 1.0, _NUM_BINS + 1)))


def _bins(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    # What is not a number sorts behind everything, into the last bin.
    return np.searchsorted(edges, scores, side="right")


def _rates(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(_bins(scores, edges), minlength=len(edges) + 1) / len(scores)


def _count(scores: np.ndarray, edges: np.ndarray, chosen: np.ndarray) -> tuple[int, int]:
    """How many scores are in the chosen bins, and how many there are."""
    return int(np.count_nonzero(chosen[_bins(scores, edges)])), len(scores)
