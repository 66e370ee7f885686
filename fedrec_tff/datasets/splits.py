"""Splits of a log into training, validation and test: the protocols that results are given under.

Whatever the protocol, a target is never in its row's history: it would be excluded from the
ranking, and no model could hit it. Repeat consumption, so an item that comes back, is therefore
removed from the targets; a row without targets, or without a history to rank from, is left out.
`EvaluationSet.num_dropped` counts the held-out interactions that were lost that way.

Which part a user is in, and what of theirs is held out, follows from the user's own raw id and
data; but for `global_time`, whose cuts all users make together.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import sequences as sequences_lib
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.keyed_draws import KeyedDraws
from fedrec_tff.datasets.sequences import Sequences

SPLITS = ("leave_last_out", "unseen_users", "global_time", "published")
# What is drawn.
_PART = "part of the split"
_VALIDATION_ITEM = "validation item"


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationSet:
    """What is shown to the model and what it should then rank high, one row per user.

    Attributes:
      user_index: int32 [m], into the log's users.
      history: m rows, oldest first: what may be shown to the model; excluded from the ranking.
      targets: m rows, at least one item each, none of them in the row's history.
      num_dropped: How many held-out interactions could not become targets.
    """

    user_index: np.ndarray
    history: Sequences
    targets: Sequences
    num_dropped: int = 0

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.user_index)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """All of the data that training and evaluation see.

    Attributes:
      num_items: The size of the catalogue.
      train_user_index: int32 [num_train_users], into the log's users.
      train: One row per training user, oldest first.
      validation: The rows for choices made while training.
      test: The rows for the numbers that are reported.
    """

    num_items: int
    train_user_index: np.ndarray
    train: Sequences
    validation: EvaluationSet
    test: EvaluationSet


def check_can_be_evaluated(split: Split, name: str) -> None:
    """Refuses a split that leaves nothing to measure: before anything is fitted, or spent.

    Args:
      split: The split to check.
      name: The name that `--split` gives it.

    Raises:
      UserError: If nothing is held out for validation, or for the test.
    """
    for part in ("validation", "test"):
        if not getattr(split, part).num_rows:
            raise errors.UserError(
                f"--split={name} leaves nothing to evaluate in its {part} part: choose another "
                "split, or more data"
            )


def leave_last_out(interactions: Interactions) -> Split:
    """Holds out each user's last interaction for the test and the one before for validation.

    The test history is the rest with the validation item. Targets may be items that no training
    sequence has: they count as misses, as is usual for this protocol.

    Args:
      interactions: A log in which every user has at least three interactions, or none.

    Returns:
      The split; every user is a training user, who without interactions has an empty row.

    Raises:
      UserError: If a user has one interaction, or two.
    """
    _check_lengths(interactions, 3, "leave_last_out")
    users = np.arange(interactions.num_users)
    sequences = sequences_lib.from_interactions(interactions)
    return Split(
        num_items=interactions.num_items,
        train_user_index=users.astype(np.int32),
        train=_without_last(sequences, 2),
        validation=_hold_out_last(_without_last(sequences, 1), users, interactions.num_items),
        test=_hold_out_last(sequences, users, interactions.num_items),
    )


def unseen_users(
    interactions: Interactions,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> Split:
    """Holds whole users out of training: the last interaction is theirs to predict.

    Each user's part is drawn from the user's own raw id, so it stays what it is whoever else comes
    or goes, and the sizes of the parts vary as those of coins do.

    Args:
      interactions: A log in which every user has at least two interactions, or none.
      validation_fraction: The expected fraction of users for validation, in (0, 1).
      test_fraction: The expected fraction of users for the test, in (0, 1).
      seed: Chooses the users.

    Returns:
      The split; no user is in more than one of its three parts.

    Raises:
      UserError: If a part has no users, or a user has one interaction.
    """
    parts = draw_parts(interactions.user_ids, validation_fraction, test_fraction, seed)
    check_parts(map(len, parts))
    return hold_out_users(interactions, parts)


def draw_parts(
    user_ids: Sequence[str] | np.ndarray,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws each user's part for `unseen_users`, from the user's own raw id.

    Args:
      user_ids: The raw ids of the users.
      validation_fraction: As `unseen_users` takes it.
      test_fraction: As `unseen_users` takes it.
      seed: Chooses the users.

    Returns:
      The users for training, validation and the test, int64 each, ascending; any may be empty.

    Raises:
      UserError: If the fractions are out of range.
    """
    if not (validation_fraction > 0 and test_fraction > 0):
        raise errors.UserError("validation_fraction and test_fraction must be above 0")
    if not validation_fraction + test_fraction < 1:
        raise errors.UserError("validation_fraction and test_fraction must add up to less than 1")
    draws = KeyedDraws(user_ids, seed)
    # Both from one number a user, so whoever is in validation is held out.
    is_held_out = draws.coins(validation_fraction + test_fraction, _PART)
    is_validation = draws.coins(validation_fraction, _PART)
    train, validation, test = (
        np.flatnonzero(part) for part in (~is_held_out, is_validation, is_held_out & ~is_validation)
    )
    return train, validation, test


def check_parts(sizes: Iterable[int]) -> None:
    """Refuses a part of `unseen_users` without users.

    Args:
      sizes: How many users are in training, validation and the test.

    Raises:
      UserError: If nobody is in one of them.
    """
    sizes = list(sizes)
    for size, name in zip(sizes, ("training", "validation", "the test"), strict=True):
        if not size:
            raise errors.UserError(
                f"unseen_users draws each user's part, and of {sum(sizes)} users none "
                f"is in {name}: take more users, another seed or another split"
            )


def hold_out_users(
    interactions: Interactions, parts: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Split:
    """Makes the split of `unseen_users` of parts that were drawn.

    Args:
      interactions: As `unseen_users` takes it.
      parts: The users of each part, from `draw_parts`.

    Returns:
      The split.

    Raises:
      UserError: If a user has one interaction.
    """
    _check_lengths(interactions, 2, "unseen_users")
    train, validation, test = parts
    num_items = interactions.num_items
    sequences = sequences_lib.from_interactions(interactions)
    return Split(
        num_items=num_items,
        train_user_index=train.astype(np.int32),
        train=sequences.take(train),
        validation=_hold_out_last(sequences.take(validation), validation, num_items),
        test=_hold_out_last(sequences.take(test), test, num_items),
    )


def global_time(
    interactions: Interactions, validation_quantile: float = 0.8, test_quantile: float = 0.9
) -> Split:
    """Cuts the log at two moments, the same for all users: training never sees the future.

    Training has what lies before the first cut; validation what lies between the two; the test
    the rest. Targets are a user's new items within the window, the history is everything before
    the window. Only items that training has seen count as targets, and only users with a history
    are evaluated.

    Args:
      interactions: A log with time stamps.
      validation_quantile: The quantile of the time stamps at which training ends.
      test_quantile: The quantile of the time stamps at which validation ends.

    Returns:
      The split.

    Raises:
      UserError: If the quantiles are out of order, or a part has no rows.
    """
    if not 0 < validation_quantile < test_quantile < 1:
        raise errors.UserError("global_time needs 0 < validation_quantile < test_quantile < 1")
    timestamp = interactions.time_rank
    times = np.sort(timestamp)
    first_cut, second_cut = (
        times[int(quantile * len(times))] if len(times) else 0
        for quantile in (validation_quantile, test_quantile)
    )
    sequences = sequences_lib.from_interactions(interactions)
    before = sequences.keep(timestamp < first_cut)
    train_users = np.flatnonzero(before.lengths)
    seen = np.zeros(interactions.num_items, bool)
    seen[before.items] = True

    def window(start: np.ndarray, inside: np.ndarray, name: str) -> EvaluationSet:
        evaluation_set = _evaluation_set(
            np.arange(interactions.num_users),
            history=sequences.keep(timestamp < start),
            targets=sequences.keep(inside & seen[sequences.items]),
            num_held_out=np.count_nonzero(inside),
            num_items=interactions.num_items,
        )
        if not evaluation_set.num_rows:
            raise errors.UserError(
                f"global_time leaves nobody for {name}: too few users are active on both sides of "
                "the cut; choose another --split"
            )
        return evaluation_set

    return Split(
        num_items=interactions.num_items,
        train_user_index=train_users.astype(np.int32),
        train=before.take(train_users),
        validation=window(
            first_cut, (timestamp >= first_cut) & (timestamp < second_cut), "validation"
        ),
        test=window(second_cut, timestamp >= second_cut, "the test"),
    )


def fixed(
    train: Interactions, test: Interactions, seed: int = 0, keeps_users: bool = False
) -> Split:
    """Takes a split as it was published, and draws a validation item per user from its training.

    Such sets have no order in time, so the validation item is one of the user's training items,
    chosen at random; a user with a single one keeps it for training. The test history is all of
    the published training data.

    Args:
      train: The published training data.
      test: The published test data, with the same user and item ids.
      seed: Chooses the validation items.
      keeps_users: Whether users without training items are training users all the same.

    Returns:
      The split.

    Raises:
      UserError: If the two logs number their ids differently.
    """
    for name in ("user_ids", "item_ids"):
        if not np.array_equal(getattr(train, name), getattr(test, name)):
            raise errors.UserError(f"the training and the test data have different {name}")
    users = np.arange(train.num_users)
    known = sequences_lib.from_interactions(train)
    lengths = known.lengths
    draws = KeyedDraws(train.user_ids, seed)
    chosen = known.offsets[:-1] + draws.integers(np.maximum(lengths, 1), _VALIDATION_ITEM)
    is_validation = np.zeros(len(known.items), bool)
    is_validation[chosen[lengths >= 2]] = True
    remaining = known.keep(~is_validation)
    train_users = users if keeps_users else np.flatnonzero(remaining.lengths)
    return Split(
        num_items=train.num_items,
        train_user_index=train_users.astype(np.int32),
        train=remaining.take(train_users),
        validation=_evaluation_set(
            users,
            history=remaining,
            targets=known.keep(is_validation),
            num_held_out=np.count_nonzero(is_validation),
            num_items=train.num_items,
        ),
        test=_evaluation_set(
            users,
            history=known,
            targets=sequences_lib.from_interactions(test),
            num_held_out=test.num_interactions,
            num_items=train.num_items,
        ),
    )


def fingerprint(split: Split, user_ids: Sequence[str] = (), item_ids: Sequence[str] = ()) -> str:
    """Digests all that a run makes of its data, so that a change is seen.

    Args:
      split: The data.
      user_ids: Raw ids of the log's users, from which cohorts are drawn.
      item_ids: Raw ids of the catalogue.

    Returns:
      A SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(f"num_items={split.num_items}".encode())
    for ids in (user_ids, item_ids):
        digest.update(repr(list(ids)).encode())
    _digest_rows(digest, split.train_user_index, split.train)
    for part in (split.validation, split.test):
        _digest_rows(digest, part.user_index, part.history, part.targets)
    return digest.hexdigest()


def _digest_rows(digest: Any, user_index: np.ndarray, *columns: Sequences) -> None:
    arrays = [user_index]
    for sequences in columns:
        arrays += [sequences.items, sequences.offsets]
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for sequences in columns:
        sequences.release()


def _check_lengths(interactions: Interactions, minimum: int, name: str) -> None:
    lengths = interactions.lengths
    short = np.flatnonzero((lengths > 0) & (lengths < minimum))
    if short.size:
        user = interactions.user_ids[short[0]]
        raise errors.UserError(
            f"{name} needs {minimum} interactions of every user, user {user} has "
            f"{lengths[short[0]]}: drop short users first"
        )


def _without_last(sequences: Sequences, count: int) -> Sequences:
    kept = np.maximum(sequences.lengths - count, 0)
    return sequences_lib.gather_ranges(sequences.items, sequences.offsets[:-1], kept)


def _hold_out_last(sequences: Sequences, users: np.ndarray, num_items: int) -> EvaluationSet:
    return _evaluation_set(
        users,
        history=_without_last(sequences, 1),
        targets=sequences.last(1),
        num_held_out=np.count_nonzero(sequences.lengths),
        num_items=num_items,
    )


def _evaluation_set(
    users: np.ndarray, history: Sequences, targets: Sequences, num_held_out: int, num_items: int
) -> EvaluationSet:
    """Removes targets that are in the history or repeated, then rows that cannot be evaluated."""
    target_keys = targets.row_index * num_items + targets.items
    history_keys = history.row_index * num_items + history.items
    new = np.zeros(len(target_keys), bool)
    new[np.unique(target_keys, return_index=True)[1]] = True
    targets = targets.keep(new & ~np.isin(target_keys, history_keys))
    rows = np.flatnonzero((targets.lengths > 0) & (history.lengths > 0))
    targets = targets.take(rows)
    return EvaluationSet(
        user_index=users[rows].astype(np.int32),
        history=history.take(rows),
        targets=targets,
        num_dropped=int(num_held_out - len(targets.items)),
    )
