"""Cohorts to which users of some groups come less often; see `config.group_attendance`."""

import dataclasses

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config import group_attendance
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import keyed_draws, loading
from fedrec_tff.privacy import sampling
from fedrec_tff.run import privacy_plan

_MOST_VALUES_NAMED = 12


def find_shares(config: RunConfig, dataset: loading.LoadedDataset) -> np.ndarray | None:
    """Finds the share of rounds of each training user, by that user's own row of the table.

    Args:
      config: The run's flags.
      dataset: The data.

    Returns:
      float64 [num_training_users]; None where everybody comes to all rounds.

    Raises:
      UserError: If the users' table has no such column, or without differential privacy if no user
        has one of the values.
    """
    if config.group_attendance is None:
        return None
    asked = group_attendance.parse(config.group_attendance)
    table = dataset.interactions.user_features
    if table is None or asked.column not in table:
        known = "none" if table is None else ", ".join(map(str, table.columns))
        raise errors.UserError(
            f"--group_attendance: nothing is known of users by the name {asked.column!r} (their "
            f"columns: {known}); add --user_table, or name another column"
        )
    values = table[asked.column].to_numpy()[dataset.split.train_user_index]
    texts = np.array(["" if value is None else str(value).strip() for value in values], object)
    shares = np.ones(len(texts))
    for value, share in asked.shares:
        has_value = texts == value
        # Whether anybody has it is, under differential privacy, nobody's business.
        if not config.is_private and not has_value.any():
            raise errors.UserError(
                f"--group_attendance: no training user has {asked.column}={value!r}; there are "
                f"{', '.join(sorted(set(texts))[:_MOST_VALUES_NAMED])}"
            )
        shares[has_value] = share
    return shares


def thin(
    plan: privacy_plan.PrivacyPlan, draws: keyed_draws.KeyedDraws, shares: np.ndarray | None
) -> privacy_plan.PrivacyPlan:
    """Lets users stay away from a part of their rounds.

    The plan's probability and mechanism stay: they hold for those who come to all of theirs, and
    the others lose no more. What an update is divided by stays, too, for how many come is nobody's
    business.

    Args:
      plan: The run's plan, with a sampler.
      draws: Keyed draws of the population, those of its cohorts.
      shares: As `find_shares` finds them.

    Returns:
      The plan with such a sampler.
    """
    if shares is None:
        return plan
    return dataclasses.replace(plan, sampler=sampling.ThinnedSampler(plan.sampler, draws, shares))
