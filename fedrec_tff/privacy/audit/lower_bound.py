"""A lower bound on epsilon that holds with a stated confidence.

(epsilon, delta)-differential privacy limits every test for whether one given user took part:
`TPR <= e^epsilon FPR + delta`. So a test with a high rate of true and a low rate of false positives
proves that epsilon is at least `log((TPR - delta) / FPR)`. Rates are replaced by confidence limits
(Clopper and Pearson 1934), and a threshold that was chosen by looking at scores is evaluated on
other scores: half of them choose, half of them prove.

The one assumption is that the scores of different canaries are independent of each other. They are
nearly so: directions are drawn independently, and in many dimensions hardly overlap.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import special

# From a threshold to the logarithm of an upper limit of P(score >= threshold) of someone who did
# not take part.
LogFalsePositiveRateFn = Callable[[float], float]

_MAX_THRESHOLDS = 100
# A threshold that fewer of the choosing scores reach might be reached by none of the others.
_FEWEST_POSITIVES = 10


@dataclasses.dataclass(frozen=True)
class LowerBound:
    """What a test proves.

    Attributes:
        epsilon: Lower bound of epsilon, with the confidence asked for; 0 where nothing is proved.
        threshold: Lowest score that counts as positive.
        true_positive_rate: Lower confidence limit of the true positive rate.
        log_false_positive_rate: Logarithm of an upper limit of the false positive rate.
    """

    epsilon: float
    threshold: float
    true_positive_rate: float
    log_false_positive_rate: float


def rate_at_least(num_positive: int, num_trials: int, confidence: float) -> float:
    """The one-sided lower Clopper-Pearson limit of a rate."""
    if num_positive == 0:
        return 0.0
    if num_positive == num_trials:
        # Of SciPy 1.9, the general formula is wrong here at great confidence: 0.94 for 20,000.
        return (1.0 - confidence) ** (1.0 / num_trials)
    return float(special.betaincinv(num_positive, num_trials - num_positive + 1, 1.0 - confidence))


def rate_at_most(num_positive: int, num_trials: int, confidence: float) -> float:
    """The one-sided upper Clopper-Pearson limit of a rate."""
    return 1.0 - rate_at_least(num_trials - num_positive, num_trials, confidence)


def bound_epsilon(
    scores: np.ndarray,
    log_false_positive_rate_fn: LogFalsePositiveRateFn,
    delta: float,
    confidence: float,
    choosing_fn: LogFalsePositiveRateFn | None = None,
) -> LowerBound:
    """Bounds epsilon by scores whose law without participation is known.

    Args:
        scores: floating [n], scores of users who took part (as often as the sampler had it), in an
            order that says nothing.
        log_false_positive_rate_fn: Function that bounds the false positive rate of a threshold; see
            `LogFalsePositiveRateFn`.
        delta: Delta of the guarantee.
        confidence: Confidence level with which the bound must hold, such as 0.95.
        choosing_fn: Function by which the threshold is chosen. Where the limit comes from a sample,
            this function must come from another one; None for `log_false_positive_rate_fn` itself.

    Returns:
        The bound.
    """
    choose, prove = scores[0::2], scores[1::2]
    choosing_fn = choosing_fn or log_false_positive_rate_fn
    threshold = _choose_threshold(choose, choosing_fn, delta, confidence)
    return _bound_at(prove, threshold, log_false_positive_rate_fn, delta, confidence)


def bound_epsilon_from_samples(
    positives: np.ndarray, negatives: np.ndarray, delta: float, confidence: float
) -> LowerBound:
    """Bounds epsilon where the law of the negatives is known from a sample only.

    Args:
        positives: floating [n], scores of users who took part, in an order that says nothing.
        negatives: floating [m], scores of users who did not.
        delta: Delta of the guarantee.
        confidence: Confidence level with which the bound must hold; half of the doubt goes to
            either rate.

    Returns:
        The bound, at most about `log(m)`.
    """
    each = 1.0 - (1.0 - confidence) / 2.0
    return bound_epsilon(
        positives,
        _log_rate_of_sample(negatives[1::2], each),
        delta,
        each,
        choosing_fn=_log_rate_of_sample(negatives[0::2], each),
    )


def _choose_threshold(
    scores: np.ndarray, log_fpr_fn: LogFalsePositiveRateFn, delta: float, confidence: float
) -> float:
    """Of (some of) the scores the one from which most would be proved."""
    ranked = np.unique(scores)
    ranked = ranked[ranked <= np.sort(scores)[-min(_FEWEST_POSITIVES, len(scores))]]
    picked = np.unique(np.linspace(0, len(ranked) - 1, _MAX_THRESHOLDS).round().astype(int))
    bounds = [
        _bound_at(scores, float(threshold), log_fpr_fn, delta, confidence)
        for threshold in ranked[picked]
    ]
    return max(bounds, key=lambda bound: bound.epsilon).threshold


def _bound_at(
    scores: np.ndarray,
    threshold: float,
    log_fpr_fn: LogFalsePositiveRateFn,
    delta: float,
    confidence: float,
) -> LowerBound:
    num_positive = int(np.count_nonzero(scores >= threshold))
    rate = rate_at_least(num_positive, len(scores), confidence)
    log_fpr = log_fpr_fn(threshold)
    epsilon = 0.0
    if rate > delta:
        epsilon = max(0.0, math.log(rate - delta) - log_fpr)
    return LowerBound(epsilon, threshold, rate, log_fpr)


def _log_rate_of_sample(scores: np.ndarray, confidence: float) -> LogFalsePositiveRateFn:
    ranked = np.sort(scores)

    def log_fpr(threshold: float) -> float:
        above = len(ranked) - int(np.searchsorted(ranked, threshold, side="left"))
        return math.log(rate_at_most(above, len(ranked), confidence))

    return log_fpr
