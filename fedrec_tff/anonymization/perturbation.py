"""Randomised response: an item is told truthfully with some probability, else another one is.

k-ary randomised response (Warner 1965; Kairouz, Oh and Viswanath 2014, section 4): over n possible
items, the true one is kept with probability e^epsilon / (e^epsilon + n - 1), and any other one
comes with probability 1 / (e^epsilon + n - 1). That is epsilon-local differential privacy for which
item an interaction was with, and for nothing else: how many interactions there are, and when, is
told as it is. A user with m interactions composes to m * epsilon.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from fedrec_tff.anonymization import randomness as randomness_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Responses:
    """What was answered.

    Attributes:
      item_index: int32 [n], the item that is told.
      mean_keep_probability: The mean probability of the truth, over the rows.
      num_unprotected: Number of rows whose item is alone in its group, and so is always told.
    """

    item_index: np.ndarray
    mean_keep_probability: float
    num_unprotected: int


def respond(
    item_index: np.ndarray,
    group: np.ndarray,
    epsilon: float,
    randomness: randomness_lib.Randomness,
) -> Responses:
    """Answers for each interaction within its item's group.

    Args:
      item_index: int32 [n], the true items.
      group: int [num_items], the group of each item. Epsilon holds between items of one group;
        the group itself is told exactly. One group for all gives the plain mechanism.
      epsilon: Epsilon of each answer, positive.
      randomness: The source of randomness.

    Returns:
      The answers.
    """
    members = np.argsort(group, kind="stable")
    group_size = np.bincount(group)
    group_start = np.cumsum(group_size) - group_size
    rank_in_group = np.empty(len(group), np.int64)
    rank_in_group[members] = np.arange(len(group)) - group_start[group[members]]

    group_of_row = group[item_index]
    num_others = group_size[group_of_row] - 1
    # Of something else: (n - 1) / (e^epsilon + n - 1), written so that nothing overflows.
    weight = num_others * np.exp(-epsilon)
    change_probability = weight / (1 + weight)
    rows = np.flatnonzero(randomness.happens(change_probability))
    other = randomness.below(num_others[rows])
    other += other >= rank_in_group[item_index[rows]]
    told = item_index.copy()
    told[rows] = members[group_start[group_of_row[rows]] + other]
    return Responses(
        item_index=told,
        mean_keep_probability=float(np.mean(1 - change_probability)) if len(told) else 1.0,
        num_unprotected=int(np.count_nonzero(num_others == 0)),
    )
