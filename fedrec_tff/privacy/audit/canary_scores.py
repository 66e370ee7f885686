"""What an attacker computes for a canary from what a run releases, and the law of it by chance.

A canary is a client that sends a fixed random direction instead of training. Three scores look for
it, in the spirit of Andrew et al. 2023 (arXiv 2302.03098):

* `final_model`: the cosine of the direction with initial minus final model (section 4 there);
* `best_round`: the highest cosine with the aggregate of any round (section 5 there);
* `all_rounds`: the logarithm of the likelihood ratio between taking part in each round with the
  claimed probability and not taking part, the best test there is against sampled Gaussian noise.

The aggregates may be looked at because the guarantee covers them: they follow from the models of
all rounds.

The direction of a canary that did *not* take part is independent of all that was released. So the
law of its scores follows from the law of the direction alone, whatever the run did, and false
positive rates need not be measured:

* The cosine of a uniform direction in d dimensions with any vector has a square that is
  Beta(1/2, (d - 1) / 2) distributed. For the highest of T of them the union bound counts T times.
* For `all_rounds` the aggregates are made orthogonal first, each to those before it, which gives T
  coordinates of the direction. Moments of these are at most those of independent normal variables,
  so the expected likelihood ratio is at most 1, and Markov's inequality bounds the chance of a
  score of `s` or more by `exp(-s)`. Simulated directions give a sharper limit where it is not tiny.
"""

import dataclasses
import math

import numpy as np
from scipy import special

from fedrec_tff.privacy.audit import lower_bound

FINAL_MODEL = "final_model"
BEST_ROUND = "best_round"
ALL_ROUNDS = "all_rounds"
SCORES = (FINAL_MODEL, BEST_ROUND, ALL_ROUNDS)

# Below this a probability is bounded in logarithms.
_SMALLEST_PROBABILITY = 1e-290
# An aggregate whose part that is new is smaller than this, relative to it, is rounding error.
_RELATIVE_RESOLUTION = 1e-6
_SIMULATED_PER_BLOCK = 1_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class RoundBasis:
    """What a run released, in the form that scores are computed from.

    Attributes:
        num_dimensions: Number of weights of the model, d.
        final_model: float32 [d], initial minus final model, of norm 1 (or zero).
        aggregates: float32 [T, d], aggregates of norm 1 (or zero).
        innovations: float32 [T, d], orthonormal: the part of each aggregate that is new. Zero where
            that is nothing but rounding error.
        strength: float64 [T], number of standard deviations of chance by which a canary that takes
            part is expected to stand out in a round.
    """

    num_dimensions: int
    final_model: np.ndarray
    aggregates: np.ndarray
    innovations: np.ndarray
    strength: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class CanaryScores:
    """Scores of some canaries; float64 [k] each."""

    final_model: np.ndarray
    best_round: np.ndarray
    all_rounds: np.ndarray


def create_basis(
    final_model: np.ndarray, aggregates: np.ndarray, signal_norms: np.ndarray
) -> RoundBasis:
    """Normalises and orthogonalises what a run released.

    Args:
        final_model: floating [d], initial minus final model.
        aggregates: floating [T, d], the aggregate that the server got in each round; T at most d.
        signal_norms: floating [T], the norm that a canary has in a round's aggregate.

    Returns:
        The basis.

    Raises:
        ValueError: If there are more rounds than weights.
    """
    num_rounds, num_dimensions = aggregates.shape
    if num_rounds > num_dimensions:
        raise ValueError(f"{num_rounds} rounds cannot be told apart by {num_dimensions} weights")
    norms = np.linalg.norm(aggregates.astype(np.float64), axis=1)
    q, r = np.linalg.qr(aggregates.astype(np.float64).T)
    residual = np.diag(r).copy()
    innovations = (q * np.sign(residual)).T
    is_new = np.abs(residual) > _RELATIVE_RESOLUTION * np.maximum(norms, 1e-300)
    innovations[~is_new] = 0.0
    strength = np.zeros(num_rounds)
    strength[is_new] = math.sqrt(num_dimensions) * signal_norms[is_new] / np.abs(residual[is_new])
    return RoundBasis(
        num_dimensions=num_dimensions,
        final_model=_normalize(final_model[np.newaxis])[0],
        aggregates=_normalize(aggregates),
        innovations=innovations.astype(np.float32),
        # No canary stands out by more: a cosine is at most 1.
        strength=np.minimum(strength, math.sqrt(num_dimensions)),
    )


def score(
    basis: RoundBasis, directions: np.ndarray, participation_probability: float
) -> CanaryScores:
    """Scores canaries.

    Args:
        basis: Basis of what the run released, from `create_basis`.
        directions: float32 [k, d], directions of the canaries, of norm 1.
        participation_probability: Probability, as claimed, with which a user is in a round.

    Returns:
        The scores of the canaries.
    """
    coordinates = math.sqrt(basis.num_dimensions) * (directions @ basis.innovations.T)
    return CanaryScores(
        final_model=(directions @ basis.final_model).astype(np.float64),
        best_round=(directions @ basis.aggregates.T).max(axis=1).astype(np.float64),
        all_rounds=_log_likelihood_ratio(basis, coordinates, participation_probability),
    )


def concatenate(parts: list[CanaryScores]) -> CanaryScores:
    """Puts the scores of blocks of canaries one after the other."""
    return CanaryScores(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in SCORES}
    )


def simulate_all_rounds(
    basis: RoundBasis,
    participation_probability: float,
    num_simulated: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws `all_rounds` scores of canaries that did not take part, from their law.

    Args:
        basis: Basis of what the run released, from `create_basis`.
        participation_probability: Probability, as claimed, with which a user is in a round.
        num_simulated: Number of scores to draw.
        rng: Source of randomness.

    Returns:
        float64 [num_simulated], sorted.
    """
    num_rounds, num_dimensions = len(basis.strength), basis.num_dimensions
    block = max(1, _SIMULATED_PER_BLOCK // num_rounds)
    scores = []
    for start in range(0, num_simulated, block):
        size = min(block, num_simulated - start)
        normal = rng.standard_normal((size, num_rounds))
        rest = (
            rng.chisquare(num_dimensions - num_rounds, size) if num_dimensions > num_rounds else 0
        )
        norm = np.sqrt(np.sum(normal**2, axis=1) + rest)
        coordinates = math.sqrt(num_dimensions) * normal / norm[:, np.newaxis]
        scores.append(_log_likelihood_ratio(basis, coordinates, participation_probability))
    return np.sort(np.concatenate(scores))


def log_tail_of_cosine(cosine: float, num_dimensions: int) -> float:
    """The logarithm of `P(<c, v> >= cosine)` for a uniform unit vector c and any unit vector v.

    `P = I_x(a, 1/2) / 2` with `x = 1 - cosine^2` and `a = (d - 1) / 2`. Where that is too small to
    compute, `I_x(a, 1/2) <= x^a` bounds it: the integrand's factor `(1 - y)^(-1/2)` increases.
    """
    if cosine >= 1.0:
        return -math.inf
    if cosine < 0.0:
        return math.log1p(-math.exp(log_tail_of_cosine(-cosine, num_dimensions)))
    a, x = 0.5 * (num_dimensions - 1), 1.0 - cosine**2
    probability = float(special.betainc(a, 0.5, x))
    if probability > _SMALLEST_PROBABILITY:
        return math.log(0.5 * probability)
    return math.log(0.5) + a * math.log1p(-(cosine**2))


def log_false_positive_rate_of_cosine(
    num_dimensions: int, num_rounds: int = 1
) -> lower_bound.LogFalsePositiveRateFn:
    """The law of `final_model`, or of `best_round` over so many rounds."""

    def log_fpr(threshold: float) -> float:
        return min(0.0, math.log(num_rounds) + log_tail_of_cosine(threshold, num_dimensions))

    return log_fpr


def log_false_positive_rate_of_all_rounds(
    simulated: np.ndarray, confidence: float
) -> lower_bound.LogFalsePositiveRateFn:
    """The law of `all_rounds`: Markov's inequality, or simulated scores, whichever says more.

    Args:
        simulated: floating [n], scores from `simulate_all_rounds`, sorted; drawn anew for each
            bound.
        confidence: Confidence level of the simulated rate's upper limit.

    Returns:
        An upper limit of the rate, by threshold.
    """

    def log_fpr(threshold: float) -> float:
        above = len(simulated) - int(np.searchsorted(simulated, threshold, side="left"))
        limit = lower_bound.rate_at_most(above, len(simulated), confidence)
        return min(-threshold, math.log(limit))

    return log_fpr


def _log_likelihood_ratio(
    basis: RoundBasis, coordinates: np.ndarray, participation_probability: float
) -> np.ndarray:
    """float64 [k]: in each round a mixture of N(strength, 1) and N(0, 1), against N(0, 1)."""
    strength = basis.strength[np.newaxis]
    exponent = coordinates.astype(np.float64) * strength - 0.5 * strength**2
    in_round = math.log(participation_probability) + exponent
    if participation_probability >= 1.0:
        return exponent.sum(axis=1)
    return np.logaddexp(math.log1p(-participation_probability), in_round).sum(axis=1)


def _normalize(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(norms > 0.0, norms, 1.0)).astype(np.float32)
