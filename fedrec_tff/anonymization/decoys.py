"""Decoys: items that a user never took, put among those that they did, and not marked.

Each one gives its user some deniability, no guarantee: uniform decoys are mostly items that few
take and are the easier to spot; popular ones blend in, but follow counts of the data.
"""

# Tested in tests/anonymization/test_anonymization_perturbation.py.

from __future__ import annotations

import dataclasses

import numpy as np

from fedrec_tff.anonymization import randomness as randomness_lib

_ATTEMPTS = 50


@dataclasses.dataclass(frozen=True, eq=False)
class Decoys:
    """What is added to the rows of users.

    Attributes:
      anchor_row: int64 [n], the row of the same user that the decoy goes next to.
      item_index: int32 [n], no two alike for a user, none that the user has.
    """

    anchor_row: np.ndarray
    item_index: np.ndarray


def num_decoys(lengths: np.ndarray, per_user: int, fraction: float) -> np.ndarray:
    """Returns how many decoys each user gets, int64 [num_users]; none for users without rows.

    Args:
      lengths: int64 [num_users], number of rows of each user.
      per_user: Number of decoys for every user, where `fraction` is 0.
      fraction: Number of decoys as a fraction of a user's rows, rounded up.
    """
    wanted = np.ceil(fraction * lengths).astype(np.int64) if fraction else per_user
    return np.where(lengths > 0, wanted, 0)


def draw_decoys(
    user_index: np.ndarray,
    item_index: np.ndarray,
    wanted: np.ndarray,
    num_items: int,
    by_popularity: bool,
    randomness: randomness_lib.Randomness,
) -> Decoys:
    """Draws decoys, each next to a row of its user that is drawn too.

    Args:
      user_index: int32 [num_rows], the user of each row, ascending.
      item_index: int32 [num_rows], the item of each row.
      wanted: int64 [num_users], number of decoys that each user should get.
      num_items: Size of the catalogue.
      by_popularity: Whether to draw an item as often as the rows have it; otherwise uniformly.
      randomness: The source of randomness.

    Returns:
      The decoys, by user. Fewer than wanted where a user has nearly the whole catalogue.
    """
    taken = np.unique(user_index.astype(np.int64) * num_items + item_index)
    added = np.zeros(0, np.int64)
    missing = np.repeat(np.arange(len(wanted)), wanted)
    for _ in range(_ATTEMPTS):
        if not len(missing):
            break
        if by_popularity:
            drawn = item_index[randomness.below(np.full(len(missing), len(item_index)))]
        else:
            drawn = randomness.below(np.full(len(missing), num_items))
        keys = missing * num_items + drawn
        is_new = np.zeros(len(keys), bool)
        is_new[np.unique(keys, return_index=True)[1]] = True
        is_new &= ~np.isin(keys, taken)
        taken = np.concatenate([taken, keys[is_new]])
        added = np.concatenate([added, keys[is_new]])
        missing = missing[~is_new]
    added = np.sort(added)
    user, item = np.divmod(added, num_items)
    lengths = np.bincount(user_index, minlength=len(wanted))
    first_row = np.cumsum(lengths) - lengths
    anchor_row = first_row[user] + randomness.below(lengths[user])
    return Decoys(anchor_row, item.astype(np.int32))
