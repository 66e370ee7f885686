"""k-anonymity and l-diversity: users who look alike, enough of them, and not all of one kind.

k-anonymity (Sweeney 2002, "k-anonymity: a model for protecting privacy"): every user shares all
quasi-identifiers with k - 1 others. l-diversity (Machanavajjhala et al. 2007): among users who look
alike there are l values of the sensitive attribute, counted (distinct), or as exp of their entropy.

Attributes are generalised until few enough users stand out (`level_search`), and these are
suppressed, whole classes at a time, so that the classes which stay are left as they were.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.anonymization import generalization, level_search

_MAX_COMBINATIONS = 2000  # of levels that are all tried; a million users take some 0.1 s for each


@dataclasses.dataclass(frozen=True)
class Requirement:
    """What every class of users who look alike must have.

    Attributes:
      k: Number of users of a class, at least.
      l: Diversity of the sensitive attribute, at least.
      diversity: Measure of diversity, "distinct" or "entropy".
      max_suppressed_fraction: Fraction of users who may be suppressed before attributes are
        generalised on.
      order: Attributes in the order of the steps, from the start again when through; None for the
        levels that cost least certainty.
    """

    k: int
    l: int = 1  # noqa: E741
    diversity: str = "distinct"
    max_suppressed_fraction: float = 0.0
    order: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Classes:
    """Users grouped by what they look like.

    Attributes:
      class_index: int64 [num_users], the class of each user.
      sizes: int64 [num_classes], number of users of each class.
      distinct: int64 [num_classes], number of different sensitive values of each class; None
        without a sensitive attribute.
      entropy: float64 [num_classes], exp of the entropy of the sensitive values of each class; None
        without a sensitive attribute.
    """

    class_index: np.ndarray
    sizes: np.ndarray
    distinct: np.ndarray | None
    entropy: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Generalized:
    """The attributes of all users at the levels chosen, and who may stay.

    Attributes:
      labels: Labels of the users, one column for each quasi-identifier, one row for each user.
      levels: The level of each attribute, 0 the finest, and the number of levels that it has.
      keep: bool [num_users]; False for users who are suppressed.
    """

    labels: pd.DataFrame
    levels: dict[str, tuple[int, int]]
    keep: np.ndarray


def find_classes(labels: pd.DataFrame, sensitive: np.ndarray | None) -> Classes:
    """Groups users, and measures each group.

    Args:
      labels: Labels of the users, one column for each quasi-identifier, one row for each user; at
        least one column.
      sensitive: The sensitive value of each user, or None.

    Returns:
      The groups.
    """
    class_index = labels.groupby(list(labels.columns), sort=False).ngroup().to_numpy()
    sizes = np.bincount(class_index)
    if sensitive is None:
        return Classes(class_index, sizes, None, None)
    codes, values = pd.factorize(sensitive)
    pairs, counts = np.unique(class_index * len(values) + codes, return_counts=True)
    class_of_pair = pairs // max(len(values), 1)
    share = counts / sizes[class_of_pair]
    entropy = np.bincount(class_of_pair, weights=-share * np.log(share), minlength=len(sizes))
    distinct = np.bincount(class_of_pair, minlength=len(sizes))
    return Classes(class_index, sizes, distinct, np.exp(entropy))


def generalize(
    hierarchies: Mapping[str, generalization.Hierarchy],
    sensitive: np.ndarray | None,
    requirement: Requirement,
) -> Generalized:
    """Generalises until few users stand out, and suppresses these.

    Args:
      hierarchies: Hierarchy of each quasi-identifier, by name; at least one.
      sensitive: The sensitive value of each user, object [num_users], or None.
      requirement: Requirement that every class must meet.

    Returns:
      Labels, levels and who stays: in every class of those who stay, the requirement holds.

    Raises:
      UserError: If the requirement asks for more users or values than there are, the order names
        an unknown attribute or ends too early, or nobody would stay.
    """
    num_users = len(next(iter(hierarchies.values())).raw)
    _check_possible(hierarchies, sensitive, requirement, num_users)
    codes = {
        name: [pd.factorize(labels)[0] for labels in hierarchy.levels]
        for name, hierarchy in hierarchies.items()
    }

    def stay_fn(levels: level_search.Levels) -> np.ndarray:
        frame = pd.DataFrame({name: codes[name][level] for name, level in levels.items()})
        return _find_users_who_stay(find_classes(frame, sensitive), requirement)

    max_suppressed = requirement.max_suppressed_fraction * num_users
    is_small = level_search.num_combinations(hierarchies) <= _MAX_COMBINATIONS
    if requirement.order is None and is_small:
        levels = level_search.search_all(hierarchies, stay_fn, max_suppressed)
    else:
        levels = level_search.search_step_by_step(
            hierarchies, stay_fn, max_suppressed, requirement.order
        )
    if levels is None:
        raise errors.UserError(_describe_failure(requirement))
    keep = stay_fn(levels)
    if not keep.any():
        raise errors.UserError(
            f"--k={requirement.k} --l={requirement.l} would suppress all {num_users:,} users: "
            "lower --max_suppressed_fraction, so that attributes are generalised instead, or "
            "demand less"
        )
    labels = pd.DataFrame({name: hierarchies[name].levels[levels[name]] for name in hierarchies})
    tops = {name: (level, len(hierarchies[name].levels)) for name, level in levels.items()}
    return Generalized(labels, tops, keep)


def _find_users_who_stay(classes: Classes, requirement: Requirement) -> np.ndarray:
    enough = classes.sizes >= requirement.k
    if classes.distinct is not None and requirement.l > 1:
        if requirement.diversity == "entropy":
            # As many equal shares have an entropy of log(l) but for the rounding.
            enough &= classes.entropy >= requirement.l * (1 - 1e-12)
        else:
            enough &= classes.distinct >= requirement.l
    return enough[classes.class_index]


def _check_possible(
    hierarchies: Mapping[str, generalization.Hierarchy],
    sensitive: np.ndarray | None,
    requirement: Requirement,
    num_users: int,
) -> None:
    if requirement.k > num_users:
        raise errors.UserError(
            f"--k={requirement.k}: there are {num_users:,} users only; choose less"
        )
    if requirement.l > 1 and sensitive is None:
        raise errors.UserError(f"--l={requirement.l} needs a --sensitive attribute: name one")
    if sensitive is not None and requirement.l > 1:
        values = len(pd.unique(sensitive))
        if requirement.l > values:
            raise errors.UserError(
                f"--l={requirement.l}: the sensitive attribute has {values} values only; choose "
                "less"
            )
    for name in requirement.order or ():
        if name not in hierarchies:
            raise errors.UserError(
                f"--generalize_order names {name!r}, which is no quasi-identifier; these are: "
                f"{', '.join(hierarchies)}"
            )


def _describe_failure(requirement: Requirement) -> str:
    way_out = "demand less, or raise --max_suppressed_fraction"
    if requirement.order is not None:
        way_out = f"leave out --generalize_order or name more in it, {way_out}"
    return (
        f"--k={requirement.k} --l={requirement.l} cannot be had: generalised as far as may be, "
        f"more than {100 * requirement.max_suppressed_fraction:g} % of the users would still be "
        f"suppressed; {way_out}"
    )
