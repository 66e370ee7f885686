"""How well a score tells members from non-members: the ROC curve, and what DP allows of it."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class RocCurve:
    """True and false positive rates of all thresholds, from the strictest to the laxest.

    Attributes:
        false_positive_rate: float64 [n], from 0 to 1.
        true_positive_rate: float64 [n], from 0 to 1.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray

    @property
    def auc(self) -> float:
        """The area under the curve: how often a member scores higher; ties count half."""
        return float(np.trapz(self.true_positive_rate, self.false_positive_rate))

    @property
    def advantage(self) -> float:
        """The largest difference of true and false positive rate (Yeom et al. 2018)."""
        return float(np.max(self.true_positive_rate - self.false_positive_rate))

    def true_positive_rate_at(self, false_positive_rate: float) -> float:
        """The best true positive rate with at most so many false positives."""
        return float(
            np.max(self.true_positive_rate[self.false_positive_rate <= false_positive_rate])
        )


def create_roc_curve(members: np.ndarray, non_members: np.ndarray) -> RocCurve:
    """Computes the curve.

    Args:
        members: floating [n], scores of members; higher means "member".
        non_members: floating [m], scores of others.

    Returns:
        The curve; scores that tie are one step of it.
    """
    scores = np.concatenate([members, non_members])
    is_member = np.concatenate([np.ones(len(members)), np.zeros(len(non_members))])
    order = np.argsort(-scores, kind="stable")
    scores, is_member = scores[order], is_member[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true_positives = np.cumsum(is_member)[last_of_tie]
    false_positives = np.cumsum(1.0 - is_member)[last_of_tie]
    return RocCurve(
        np.concatenate([[0.0], false_positives / len(non_members)]),
        np.concatenate([[0.0], true_positives / len(members)]),
    )


def auc_stderr(auc: float, num_members: int, num_non_members: int) -> float:
    """The standard error of an AUC by Hanley and McNeil 1982, equations 1 and 2."""
    q1, q2 = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    variance = (
        auc * (1.0 - auc)
        + (num_members - 1) * (q1 - auc**2)
        + (num_non_members - 1) * (q2 - auc**2)
    ) / (num_members * num_non_members)
    return math.sqrt(max(0.0, variance))


def largest_true_positive_rate(
    false_positive_rate: np.ndarray, epsilon: float, delta: float
) -> np.ndarray:
    """What (epsilon, delta)-differential privacy allows at most, to any test whatever.

    `TPR <= e^epsilon FPR + delta`, and the same for the two kinds of being right:
    `1 - FPR <= e^epsilon (1 - TPR) + delta` (Kairouz et al. 2015, arXiv 1311.0776).

    Args:
        false_positive_rate: floating [n], rates at which to bound the true positive rate.
        epsilon: Epsilon of the guarantee; infinite where there is none.
        delta: Delta of the guarantee.

    Returns:
        float64 [n].
    """
    if not math.isfinite(epsilon):
        return np.ones(np.shape(false_positive_rate))
    with np.errstate(over="ignore"):
        by_first = np.exp(epsilon) * false_positive_rate + delta
    by_second = 1.0 - np.exp(-epsilon) * (1.0 - delta - false_positive_rate)
    return np.minimum(np.minimum(by_first, by_second), 1.0)
