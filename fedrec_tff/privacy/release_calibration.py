"""Noise for a single release with a budget of its own: `calibration` for what is no run."""

import dp_accounting

from fedrec_tff.privacy import accounting, calibration, mechanisms, releases
from fedrec_tff.privacy.mechanisms import gaussian

RELATION = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE


def calibrate_popularity(
    target_epsilon: float, delta: float, num_users: int, items_per_user: int
) -> releases.PopularityRelease:
    """Finds the noise with which one release of popularity keeps within (target_epsilon, delta).

    Args:
        target_epsilon: Epsilon that the release may cost, positive.
        delta: Delta of the guarantee, in (0, 1).
        num_users: Number of users who are counted; it does not change the noise.
        items_per_user: Number of distinct items that one user counts for, at most.

    Returns:
        A release that costs no more by the accountant of runs, for users who are there or not.

    Raises:
        UserError: If a target is out of range, or no noise reaches it.
    """
    # One Gaussian sum over everybody: a round in which all users take part.
    mechanism = mechanisms.Mechanism(
        gaussian.GAUSSIAN.name,
        noise_multiplier=0.0,
        clip_norm=1.0,
        num_clients=num_users,
        clients_per_round=float(num_users),
    )
    noise_multiplier = calibration.calibrate_noise_multiplier(
        mechanism, target_epsilon, delta, rounds=1
    )
    release = releases.PopularityRelease(noise_multiplier, items_per_user)
    if bound_epsilon(release, delta) > target_epsilon:
        raise RuntimeError("the release costs more than the round that it was calibrated by")
    return release


def bound_epsilon(release: releases.PopularityRelease, delta: float) -> float:
    """Bounds the epsilon of one release, for users who are there or not."""
    return accounting.epsilon([(release.event(RELATION), 1)], delta, RELATION)
