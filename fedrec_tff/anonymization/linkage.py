"""How easily a user is found by a few known items: what anonymisation of this kind cannot prevent.

Narayanan and Shmatikov (2008) named users of a published rating data set by a handful of titles
known from elsewhere; de Montjoye et al. (2013) call the share of people who stand out so "unicity".
The adversary here is a weak one: it knows some items of a user, neither times nor ratings, gives
all items the same weight, and links to whoever has most of them, if that is a single user. It comes
in two strengths: with the items alone, and with the user's quasi-identifiers, too.
"""

# Tested in tests/anonymization/test_anonymization_report.py.

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import scipy.sparse

from fedrec_tff.anonymization import pipeline

_SEED = 0  # which users and items are tried need not be secret
_CELLS_PER_BLOCK = 2**23  # of the users x targets table of matches


@dataclasses.dataclass(frozen=True)
class LinkageRisk:
    """Shares of the users tried who were found.

    Attributes:
      num_known_items: Number of items that the adversary knows of each user.
      num_targets: Number of users who were tried.
      by_items_before: Share found by the items, in the data as they were.
      by_items_after: Share found by the items, in the export.
      by_items_and_attributes_before: Share found by items and quasi-identifiers, in the data as
        they were; None without quasi-identifiers.
      by_items_and_attributes_after: Share found by items and quasi-identifiers, in the export; None
        without quasi-identifiers.
    """

    num_known_items: int
    num_targets: int
    by_items_before: float
    by_items_after: float
    by_items_and_attributes_before: float | None
    by_items_and_attributes_after: float | None


def measure(
    result: pipeline.Anonymized, num_known_items: int = 8, num_targets: int = 500
) -> LinkageRisk | None:
    """Tries to find users who were not suppressed.

    Args:
      result: Anonymised data to export, with the log that they were made of.
      num_known_items: Number of true items that the adversary knows, drawn at random.
      num_targets: Number of users who are tried, at most.

    Returns:
      The shares of users who were found; None if no user has as many different items.
    """
    log, rows = result.log, result.rows
    shape = (log.num_users, log.num_items)
    before = _matrix(log.user_index, log.item_index, shape)
    after = _matrix(rows.user_index, rows.item_index, shape)
    able = np.flatnonzero(result.keep_user & (before.getnnz(axis=1) >= num_known_items))
    if not len(able):
        return None
    generator = np.random.default_rng(_SEED)
    targets = generator.choice(able, min(num_targets, len(able)), replace=False)
    known = np.stack(
        [
            generator.choice(_items_of(before, user), num_known_items, replace=False)
            for user in targets
        ]
    )
    everyone, exported = np.ones(log.num_users, bool), result.keep_user
    alike = np.zeros(log.num_users, np.int64)
    with_attributes = [None, None]
    if result.generalized is not None:
        raw = pd.DataFrame({name: h.raw for name, h in result.chosen.hierarchies.items()})
        with_attributes = [
            _linked_share(before, everyone, _number_classes(raw), targets, known),
            _linked_share(
                after, exported, _number_classes(result.generalized.labels), targets, known
            ),
        ]
    return LinkageRisk(
        num_known_items,
        len(targets),
        _linked_share(before, everyone, alike, targets, known),
        _linked_share(after, exported, alike, targets, known),
        *with_attributes,
    )


def _linked_share(
    matrix: scipy.sparse.csr_matrix,
    is_candidate: np.ndarray,
    class_index: np.ndarray,
    targets: np.ndarray,
    known: np.ndarray,
) -> float:
    """Returns the share of targets who have more known items than any candidate of their class."""
    by_item = matrix.tocsc()
    found = 0
    block = max(1, _CELLS_PER_BLOCK // matrix.shape[0])
    for start in range(0, len(targets), block):
        users = targets[start : start + block]
        items = known[start : start + block]
        column = np.arange(len(users))
        query = scipy.sparse.csc_matrix(
            (np.ones(items.size, np.float32), (items.ravel(), np.repeat(column, items.shape[1]))),
            shape=(matrix.shape[1], len(users)),
        )
        matches = (by_item @ query).toarray()
        own = matches[users, column]
        is_rival = is_candidate[:, np.newaxis] & (class_index[:, np.newaxis] == class_index[users])
        is_rival[users, column] = False
        found += int(np.count_nonzero(own > np.where(is_rival, matches, -1).max(axis=0)))
    return found / len(targets)


def _number_classes(labels: pd.DataFrame) -> np.ndarray:
    return labels.groupby(list(labels.columns), sort=False).ngroup().to_numpy()


def _matrix(user: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> scipy.sparse.csr_matrix:
    matrix = scipy.sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)
    matrix.data[:] = 1.0  # repeats were summed
    return matrix


def _items_of(matrix: scipy.sparse.csr_matrix, user: int) -> np.ndarray:
    return matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]
