"""Finds the level of each attribute at which few enough users stand out.

`search_all` tries every combination of levels and takes the one that costs least certainty: the
lattice of full-domain generalisation (Samarati 2001), small for a handful of attributes.
`search_step_by_step` goes up a level at a time: in an order that is given, or by the heuristic of
Datafly, the attribute with the most distinct values first (Sweeney 2002, "Achieving k-anonymity
privacy protection using generalization and suppression").
"""

# Tested in tests/anonymization/test_anonymization_k_anonymity.py.

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from fedrec_tff.anonymization import generalization, information_loss

Levels = dict[str, int]
# Takes levels, returns which users may stay: bool [num_users].
StayFn = Callable[[Levels], np.ndarray]


def num_combinations(hierarchies: Mapping[str, generalization.Hierarchy]) -> int:
    """Returns how many combinations of levels there are."""
    return math.prod(len(hierarchy.levels) for hierarchy in hierarchies.values())


def search_all(
    hierarchies: Mapping[str, generalization.Hierarchy], stay_fn: StayFn, max_suppressed: float
) -> Levels | None:
    """Tries all combinations.

    Args:
      hierarchies: Hierarchy of each attribute, by name.
      stay_fn: Function that tells who may stay.
      max_suppressed: Number of users who may be suppressed, at most.

    Returns:
      The levels with the least certainty penalty, suppressed users included; None if with every
      combination too many users would go.
    """
    penalties = {
        name: [
            information_loss.user_penalties(hierarchy, level)
            for level in range(len(hierarchy.levels))
        ]
        for name, hierarchy in hierarchies.items()
    }
    best, least = None, math.inf
    for combination in itertools.product(*(range(len(h.levels)) for h in hierarchies.values())):
        levels = dict(zip(hierarchies, combination, strict=True))
        chosen = {name: penalties[name][level] for name, level in levels.items()}
        everyone = np.ones(len(next(iter(chosen.values()))), bool)
        if information_loss.certainty_penalty(chosen, everyone) >= least:
            continue  # suppression only adds to it
        keep = stay_fn(levels)
        if np.count_nonzero(~keep) <= max_suppressed:
            penalty = information_loss.certainty_penalty(chosen, keep)
            if penalty < least:
                best, least = levels, penalty
    return best


def search_step_by_step(
    hierarchies: Mapping[str, generalization.Hierarchy],
    stay_fn: StayFn,
    max_suppressed: float,
    order: Sequence[str] | None,
) -> Levels | None:
    """Raises one attribute after the other.

    Args:
      hierarchies: Hierarchy of each attribute, by name.
      stay_fn: Function that tells who may stay.
      max_suppressed: Number of users who may be suppressed, at most.
      order: Attributes to raise, a step for each name, from the start again when through; None for
        Datafly's order.

    Returns:
      The first levels that suffice; None if at the end of all steps too many users would go.
    """
    levels = dict.fromkeys(hierarchies, 0)
    steps = _steps_by_distinct_values(hierarchies, levels)
    if order is not None:
        steps = _steps_in_order(hierarchies, levels, order)
    while np.count_nonzero(~stay_fn(levels)) > max_suppressed:
        name = next(steps, None)
        if name is None:
            return None
        levels[name] += 1
    return levels


def _can_rise(hierarchies: Mapping, levels: Levels, name: str) -> bool:
    return levels[name] + 1 < len(hierarchies[name].levels)


def _steps_in_order(hierarchies: Mapping, levels: Levels, order: Sequence[str]):
    """Yields the next attribute; sees in `levels` what has been raised."""
    while any(_can_rise(hierarchies, levels, name) for name in order):
        for name in order:
            if _can_rise(hierarchies, levels, name):
                yield name


def _steps_by_distinct_values(hierarchies: Mapping, levels: Levels):
    """Yields the next attribute; sees in `levels` what has been raised."""
    while can_rise := [name for name in levels if _can_rise(hierarchies, levels, name)]:
        yield max(can_rise, key=lambda name: len(pd.unique(hierarchies[name].levels[levels[name]])))
