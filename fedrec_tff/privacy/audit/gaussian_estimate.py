"""Epsilon between two normal distributions: what the one-shot estimate of epsilon is made of.

Andrew et al. 2023, "One-shot Empirical Privacy Estimation for Federated Learning" (arXiv
2302.03098), fit one normal distribution to the scores of canaries that took part and one to those
of canaries that did not, and report the epsilon at which the two are indistinguishable. That is an
estimate: it extrapolates to tails that no canary has been in, and proves nothing. `lower_bound`
does.
"""

import math

import numpy as np
from scipy import stats

# Above this an estimate says no more than "no privacy".
_MAX_EPSILON = 1e6
_NUM_BISECTIONS = 100


def fit(scores: np.ndarray) -> tuple[float, float]:
    """Fits a normal distribution.

    Args:
        scores: floating [n], the sample to fit; n at least 2.

    Returns:
        Mean and standard deviation (of the sample, so without bias in its square).
    """
    return float(np.mean(scores)), float(np.std(scores, ddof=1))


def epsilon(first: tuple[float, float], second: tuple[float, float], delta: float) -> float:
    """The smallest epsilon for which two normal distributions are (epsilon, delta)-close.

    Args:
        first: Mean and standard deviation of one distribution.
        second: Mean and standard deviation of the other; the order of the two does not matter.
        delta: Delta at which epsilon is asked for, in (0, 1).

    Returns:
        Epsilon, 0 or more; infinite above a million.
    """
    low, high = 0.0, 1.0
    while max(log_delta(first, second, high), log_delta(second, first, high)) > math.log(delta):
        low, high = high, 2.0 * high
        if high > _MAX_EPSILON:
            return math.inf
    if low == 0.0 and _is_enough(first, second, 0.0, delta):
        return 0.0
    for _ in range(_NUM_BISECTIONS):
        middle = 0.5 * (low + high)
        if _is_enough(first, second, middle, delta):
            high = middle
        else:
            low = middle
    return high


def log_delta(p: tuple[float, float], q: tuple[float, float], epsilon: float) -> float:
    """The logarithm of the hockey-stick divergence `sup_A P(A) - e^epsilon Q(A)`.

    The best `A` is where `log p - log q > epsilon`, a quadratic inequality: an interval, the
    complement of one, or a half line.

    Args:
        p: Mean and standard deviation of P.
        q: Mean and standard deviation of Q.
        epsilon: Epsilon of the divergence, not negative.

    Returns:
        At most 0; minus infinity where there is no such set.
    """
    intervals = _where_p_is_larger(p, q, epsilon)
    log_p, log_q = _log_mass(p, intervals), epsilon + _log_mass(q, intervals)
    if log_p <= log_q:
        return -math.inf
    return log_p + math.log1p(-math.exp(log_q - log_p))


def _is_enough(
    first: tuple[float, float], second: tuple[float, float], epsilon: float, delta: float
) -> bool:
    worst = max(log_delta(first, second, epsilon), log_delta(second, first, epsilon))
    return worst <= math.log(delta)


def _where_p_is_larger(
    p: tuple[float, float], q: tuple[float, float], epsilon: float
) -> list[tuple[float, float]]:
    """Solves `log p(x) - log q(x) > epsilon`."""
    (mean_p, std_p), (mean_q, std_q) = p, q
    # In units of q and from its mean: rounding then does not depend on where zero is.
    shift, ratio = (mean_p - mean_q) / std_q, std_p / std_q
    a = 0.5 - 0.5 / ratio**2
    b = shift / ratio**2
    c = -0.5 * (shift / ratio) ** 2 - math.log(ratio) - epsilon

    def to_x(z: float) -> float:
        return mean_q + std_q * z

    if abs(a) < 1e-12:
        if b == 0.0:
            return [(-math.inf, math.inf)] if c > 0 else []
        edge = to_x(-c / b)
        return [(edge, math.inf)] if b > 0 else [(-math.inf, edge)]
    discriminant = b * b - 4.0 * a * c
    if discriminant <= 0.0:
        return [(-math.inf, math.inf)] if a > 0 else []
    # Without the cancellation of the school formula.
    s = -0.5 * (b + math.copysign(math.sqrt(discriminant), b))
    low, high = sorted((to_x(s / a), to_x(c / s)))
    return [(-math.inf, low), (high, math.inf)] if a > 0 else [(low, high)]


def _log_mass(distribution: tuple[float, float], intervals: list[tuple[float, float]]) -> float:
    """The logarithm of the probability of some intervals, exact far out in the tails."""
    parts = [_log_interval(distribution, low, high) for low, high in intervals]
    return float(np.logaddexp.reduce(parts)) if parts else -math.inf


def _log_interval(distribution: tuple[float, float], low: float, high: float) -> float:
    mean, std = distribution
    a, b = (low - mean) / std, (high - mean) / std
    if a > 0:
        a, b = -b, -a
    upper, lower = stats.norm.logcdf(b), stats.norm.logcdf(a)
    return float(upper + np.log1p(-np.exp(lower - upper))) if upper > lower else -math.inf
