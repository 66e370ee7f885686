"""Who was in the training data? Attacks on users, by how well a released model fits them.

Each attack gives every user a score that is higher for those it believes to be members. Losses are
means over a user's interactions, so that users with many do not stand out by that alone.

* `loss`: members have lower losses (Yeom et al. 2018, arXiv 1709.01604).
* `rank`: members' items rank higher: the mean reciprocal rank of what the user took.
* `loss_over_popularity`: the loss less what the user's items cost under popularity alone. Users of
  rare items have high losses whether they are members or not.
* `loss_over_shadows`: the loss less its mean over shadow models, each trained on a random half of
  the users, so that every user is in half of them: difficulty calibration (Watson et al. 2022,
  arXiv 2111.08440), which a handful of shadow models suffices for.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fedrec_tff.privacy.audit import lower_bound, roc

FALSE_POSITIVE_RATES = (0.01, 0.001)


@dataclasses.dataclass(frozen=True, eq=False)
class UserFit:
    """How well a model fits each user.

    Attributes:
        loss: float64 [users], mean negative log probability of what the user took.
        reciprocal_rank: float64 [users], mean reciprocal rank of what the user took.
    """

    loss: np.ndarray
    reciprocal_rank: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack achieved.

    Attributes:
        name: Name of the attack.
        curve: ROC curve of the attack.
        auc: Area under the ROC curve.
        auc_stderr: Standard error of `auc`.
        advantage: The largest difference of true and false positive rate, over all thresholds.
        true_positive_rates: True positive rate at each of `FALSE_POSITIVE_RATES`, by false positive
            rate.
        bound: Lower bound on epsilon that the attack proves.
    """

    name: str
    curve: roc.RocCurve
    auc: float
    auc_stderr: float
    advantage: float
    true_positive_rates: Mapping[float, float]
    bound: lower_bound.LowerBound


def create_scores(
    fit: UserFit, popularity_loss: np.ndarray, shadow_losses: Sequence[np.ndarray] = ()
) -> dict[str, np.ndarray]:
    """Computes the scores of all attacks.

    Args:
        fit: Fit of the audited model to all users.
        popularity_loss: float64 [users], loss of each user under popularity.
        shadow_losses: Loss of each user under each shadow model: for each model, float64 [users].

    Returns:
        float64 [users] by attack.
    """
    scores = {
        "loss": -fit.loss,
        "rank": fit.reciprocal_rank,
        "loss_over_popularity": popularity_loss - fit.loss,
    }
    if len(shadow_losses):
        scores["loss_over_shadows"] = np.mean(shadow_losses, axis=0) - fit.loss
    return scores


def evaluate_attack(
    name: str, scores: np.ndarray, is_member: np.ndarray, delta: float, confidence: float
) -> AttackResult:
    """Measures an attack.

    Args:
        name: Name of the attack.
        scores: floating [users], score of each user; users are in an order that says nothing.
        is_member: bool [users], whether a user was trained on; drawn at random before training.
        delta: Delta of the guarantee that the lower bound is about.
        confidence: Confidence level of the lower bound.

    Returns:
        The result of the attack.
    """
    members, non_members = scores[is_member], scores[~is_member]
    curve = roc.create_roc_curve(members, non_members)
    return AttackResult(
        name=name,
        curve=curve,
        auc=curve.auc,
        auc_stderr=roc.auc_stderr(curve.auc, len(members), len(non_members)),
        advantage=curve.advantage,
        true_positive_rates={
            rate: curve.true_positive_rate_at(rate) for rate in FALSE_POSITIVE_RATES
        },
        bound=lower_bound.bound_epsilon_from_samples(members, non_members, delta, confidence),
    )
