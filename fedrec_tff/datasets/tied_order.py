"""Interactions of a user that share their time: which of them is the last one is anybody's guess.

What is held out hangs on it. Files that order such interactions by item, say, make that guess for
all users alike, and a model may learn it.
"""

from __future__ import annotations

import numpy as np

from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.keyed_draws import KeyedDraws

FILE, RANDOM = "file", "random"
ORDERS = (FILE, RANDOM)
_ORDER = "order of interactions at the same time"


def count_users(interactions: Interactions) -> int:
    """Counts the users whose last interaction shares its time with the one before.

    Args:
      interactions: The log; where it has no times, nothing shares one.

    Returns:
      The number of users.
    """
    shares = _find_repeats(interactions)
    ends = np.cumsum(interactions.lengths)[interactions.lengths > 0]
    return int(np.count_nonzero(shares[ends - 1]))


def shuffle(interactions: Interactions, seed: int) -> Interactions:
    """Puts each user's interactions of the same time in a random order.

    A draw follows from the seed and the raw ids of the user and the item alone, so neither the
    order of the file nor other users have a say.

    Args:
      interactions: The log.
      seed: The key of the draws.

    Returns:
      The same rows, sorted by user and time.
    """
    repeats = _find_repeats(interactions)
    tied = np.flatnonzero(repeats | np.append(repeats[1:], False))
    users = interactions.user_ids[interactions.user_index[tied]]
    items = interactions.item_ids[interactions.item_index[tied]]
    # With its length, a user's id ends where an item's begins, whatever is in them.
    pairs = [f"{len(user)}:{user}{item}" for user, item in zip(users, items, strict=True)]
    drawn = np.zeros((interactions.num_interactions, 2), np.uint64)
    drawn[tied] = KeyedDraws(pairs, seed).blocks(_ORDER)
    keys = (drawn[:, 1], drawn[:, 0], interactions.time_rank, interactions.user_index)
    return interactions_lib.select_interactions(interactions, np.lexsort(keys))


def _find_repeats(interactions: Interactions) -> np.ndarray:
    """Which rows have the user and the time of the row before: bool [num_interactions]."""
    repeats = np.zeros(interactions.num_interactions, bool)
    for_both = np.diff(interactions.user_index) | np.diff(interactions.time_rank)
    repeats[1:] = for_both == 0
    return repeats
