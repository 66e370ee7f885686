"""Direct checks of a mechanism: what was measured beside what was claimed.

They complement canaries, which see only the end of the chain. Every statistical check is allowed
one false alarm in ten million, so that a sound run is not accused of anything in practice.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

FALSE_ALARM_PROBABILITY = 1e-7
_NORMAL_KURTOSIS = 3.0
# float32 sums are a little off.
_RELATIVE_SLACK = 1e-3


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was claimed, and what was found.

    Attributes:
        name: Name of the check.
        passed: Whether what was found agrees with the claim; False accuses.
        detail: Comparison of what was found with what was claimed, in a few words.
        p_value: Probability of something as bad by chance; None for a check without chance.
    """

    name: str
    passed: bool
    detail: str
    p_value: float | None = None


def from_p_value(name: str, p_value: float, detail: str) -> Check:
    """A check that fails where chance is no explanation."""
    return Check(name, p_value >= FALSE_ALARM_PROBABILITY, detail, p_value)


def check_noise_level(
    noise: np.ndarray, claimed_stddev: float, kurtosis: float = _NORMAL_KURTOSIS
) -> Check:
    """Whether the noise is at least as large as claimed; more is no fault.

    Args:
        noise: floating [d], an aggregate of updates that are all zero, scaled to the sum.
        claimed_stddev: Standard deviation that each of its elements must have at least.
        kurtosis: Fourth standardised moment of the claimed law: 3 for Gaussian noise, 6 for
            Laplace. The mean of d squares varies as a chi-square variable of
            2 d / (kurtosis - 1) degrees of freedom does.

    Returns:
        The check.
    """
    if not noise.size:
        return Check("noise level", True, "no weight was to have noise")
    found = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    detail = f"standard deviation {found:.4g}, claimed {claimed_stddev:.4g}"
    degrees = 2.0 * noise.size / (kurtosis - 1.0)
    if claimed_stddev == 0.0:
        return Check("noise level", True, detail)
    p_value = float(stats.chi2.cdf(degrees * (found / claimed_stddev) ** 2, degrees))
    return from_p_value("noise level", p_value, detail)


def check_noise_is_fresh(name: str, first: np.ndarray, second: np.ndarray) -> Check:
    """Whether two releases whose noise should be independent are uncorrelated.

    Args:
        name: Name of the check.
        first: floating [d], an aggregate of zero updates.
        second: floating [d], another one.

    Returns:
        The check.
    """
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    if norms == 0.0:
        return Check(name, True, "there is no noise")
    correlation = float(np.vdot(first, second) / norms)
    p_value = float(2.0 * stats.norm.sf(abs(correlation) * math.sqrt(first.size)))
    return from_p_value(name, p_value, f"correlation {correlation:.4f}, claimed 0")


def check_noise_is_renewed(name: str, releases: np.ndarray, claimed_stddev: float) -> Check:
    """Whether each release adds noise that does not follow from those before it.

    For noise that is correlated on purpose (trees, matrix factorisations): what is left of a
    release after regressing it on the earlier ones must still have the claimed noise.

    Args:
        name: Name of the check.
        releases: floating [n, d], consecutive aggregates of zero updates, scaled to the sum.
        claimed_stddev: Standard deviation, as claimed, of the noise that is drawn for each release.

    Returns:
        The check.
    """
    if claimed_stddev == 0.0:
        return Check(name, True, "no noise is claimed")
    last, before = releases[-1].astype(np.float64), releases[:-1].astype(np.float64)
    coefficients = np.linalg.lstsq(before.T, last, rcond=None)[0]
    rest = last - coefficients @ before
    degrees = last.size - len(before)
    p_value = float(stats.chi2.cdf(np.sum(rest**2) / claimed_stddev**2, degrees))
    found = math.sqrt(np.sum(rest**2) / degrees)
    detail = f"new noise of standard deviation {found:.4g}, claimed {claimed_stddev:.4g}"
    return from_p_value(name, p_value, detail)


def check_choice(num_chosen: int, num_rows: int, claimed_probability: float) -> Check:
    """Whether rows that nobody sent anything for are chosen by noise, each on its own.

    Were they left out because nobody touched them, a row that is there would tell of a user.

    Args:
        num_chosen: Number of rows that were chosen.
        num_rows: Number of rows, none of which was sent anything for.
        claimed_probability: Probability with which one is chosen, as claimed.

    Returns:
        The check.
    """
    detail = f"{num_chosen} of {num_rows} untouched rows, claimed {claimed_probability:.4g} of them"
    p_value = float(stats.binomtest(num_chosen, num_rows, claimed_probability).pvalue)
    return from_p_value("choice of rows", p_value, detail)


def check_sensitivity(
    contributions: Mapping[str, float], sensitivity: float, uncertainty: float = 0.0
) -> Check:
    """Whether no single client, whatever it sends, moves the sum by more than claimed.

    Args:
        contributions: Norm by which each kind of update that was tried moved the sum, by kind.
        sensitivity: The most that one client moves the sum, as claimed.
        uncertainty: Error that a measured contribution may have by chance: 0 where there was no
            noise.

    Returns:
        The check.
    """
    worst = max(contributions, key=lambda name: contributions[name])
    found = contributions[worst]
    passed = found <= sensitivity * (1.0 + _RELATIVE_SLACK) + uncertainty
    return Check(
        "clipping",
        bool(passed),
        f"one client moved the sum by up to {found:.4g} ({worst}), claimed {sensitivity:.4g}",
    )
