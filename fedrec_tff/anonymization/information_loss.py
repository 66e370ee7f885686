"""What generalisation and suppression cost, in certainty and in discernibility."""

# Tested in tests/anonymization/test_anonymization_generalization.py.

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fedrec_tff.anonymization import generalization


def user_penalties(hierarchy: generalization.Hierarchy, level: int) -> np.ndarray:
    """Returns the certainty penalty of each user's label, float64 [num_users] (Xu et al. 2006).

    For categories, that is the share of the attribute's values that the label stands for, and 0
    for a single one.

    Args:
      hierarchy: Hierarchy of the attribute.
      level: Index of a level of the hierarchy, 0 the finest.
    """
    pairs = pd.DataFrame({"raw": hierarchy.raw, "label": hierarchy.levels[level]})
    num_values = pairs["label"].map(pairs.groupby("label")["raw"].nunique()).to_numpy()
    return np.where(num_values > 1, num_values / pairs["raw"].nunique(), 0.0)


def certainty_penalty(penalties: Mapping[str, np.ndarray], keep: np.ndarray) -> float:
    """Returns the mean penalty over users and attributes; a suppressed user's is 1.

    Args:
      penalties: Result of `user_penalties` for each attribute.
      keep: bool [num_users], whether a user stays; False for suppressed ones.
    """
    return float(np.mean([np.where(keep, penalty, 1.0).mean() for penalty in penalties.values()]))


def discernibility(class_sizes: np.ndarray, num_users: int) -> float:
    """Returns the discernibility metric (Bayardo and Agrawal 2005).

    Each user who stays costs the size of their class, each suppressed one the number of all users.

    Args:
      class_sizes: int64 [num_classes], sizes of the classes of the users who stay.
      num_users: Number of all users, suppressed ones included.
    """
    sizes = class_sizes.astype(np.float64)
    return float(np.sum(sizes**2) + (num_users - sizes.sum()) * num_users)
