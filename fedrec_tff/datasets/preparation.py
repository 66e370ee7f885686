"""From a log as it was read to one that can be split: thresholds, short users, cores and caps.

Filters keep the indices of users and items. `prepare` applies them in the one order that keeps all
their promises, counts what each took, and then drops the users and items that have lost all their
interactions: but for those who are there whatever the data say.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.interactions import Interactions


@dataclasses.dataclass(frozen=True)
class DataCounts:
    """What became of the rows of a source; all but `short_users` count rows.

    Attributes:
      rows_read: Rows of the source, headers and blank lines aside.
      malformed: Rows that could not be understood and were skipped.
      duplicates: Rows that repeat an earlier one.
      off_roster: Rows of users who are not on the roster.
      outside_catalogue: Rows of items that are not in the catalogue.
      below_threshold: Rows whose value is below the minimum.
      short_users: Users who have interactions, and too few.
      short_user_rows: The rows of these users.
      k_core: Rows outside of the k-core.
      capped: Rows older than a user's newest that are kept.
    """

    rows_read: int = 0
    malformed: int = 0
    duplicates: int = 0
    off_roster: int = 0
    outside_catalogue: int = 0
    below_threshold: int = 0
    short_users: int = 0
    short_user_rows: int = 0
    k_core: int = 0
    capped: int = 0

    def __add__(self, other: DataCounts) -> DataCounts:
        fields = (field.name for field in dataclasses.fields(self))
        return DataCounts(**{name: getattr(self, name) + getattr(other, name) for name in fields})

    @property
    def kept(self) -> int:
        """The rows that are left."""
        return (
            self.rows_read
            - self.malformed
            - self.duplicates
            - self.off_roster
            - self.outside_catalogue
            - self.below_threshold
            - self.short_user_rows
            - self.k_core
            - self.capped
        )

    def summary(self) -> str:
        """Returns one line that names what was dropped, and only that."""
        dropped = [
            (self.malformed, "malformed"),
            (self.duplicates, "duplicates"),
            (self.off_roster, "of users who are not on the roster"),
            (self.outside_catalogue, "of items outside of the catalogue"),
            (self.below_threshold, "below the minimum value"),
            (self.short_user_rows, f"of {self.short_users:,} users with too few interactions"),
            (self.k_core, "outside of the k-core"),
            (self.capped, "beyond the cap per user"),
        ]
        parts = [f"{self.rows_read:,} rows read"]
        parts += [f"{count:,} {reason}" for count, reason in dropped if count]
        return f"{', '.join(parts)}; {self.kept:,} interactions kept"


@dataclasses.dataclass(frozen=True)
class PreparationConfig:
    """What `prepare` does to a log.

    Attributes:
      minimum_value: Keep rows with at least this value; None keeps all, and needs no values.
      min_interactions_per_user: Drop users with fewer; the splits need three.
      k_core_user: Every user keeps at least so many interactions; 0 for no such demand.
      k_core_item: Every item keeps at least so many interactions; 0 for no such demand.
      max_interactions_per_user: Keep each user's newest so many; None keeps all. Bounds what one
        user can contribute. Items may end below `k_core_item` by it.
    """

    minimum_value: float | None = None
    min_interactions_per_user: int = 3
    k_core_user: int = 0
    k_core_item: int = 0
    max_interactions_per_user: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_interactions_per_user", "k_core_user", "k_core_item"):
            if getattr(self, name) < 0:
                raise errors.UserError(f"{name} must not be negative, it is {getattr(self, name)}")
        if self.minimum_value is not None and not np.isfinite(self.minimum_value):
            raise errors.UserError(f"--minimum_value={self.minimum_value}: must be a number")
        least = max(1, self.min_interactions_per_user)
        cap = self.max_interactions_per_user
        if cap is not None and cap < least:
            raise errors.UserError(
                f"--max_interactions_per_user={cap}: must be at least {least}, "
                "the fewest interactions that a user may have"
            )


def prepare(
    interactions: Interactions,
    config: PreparationConfig,
    keeps_users: bool = False,
    keeps_items: bool = False,
    may_be_empty: bool = False,
) -> tuple[Interactions, DataCounts]:
    """Applies the threshold, drops short users' rows, takes the k-core, and caps each user.

    Args:
      interactions: The log as it was read.
      config: The steps to take.
      keeps_users: Whether users who are left without interactions stay, so that nobody's number
        depends on what others did.
      keeps_items: Whether items that are left without interactions stay.
      may_be_empty: Whether nothing may be left, as of a part of a log.

    Returns:
      The prepared log, and how many rows each step took (`rows_read` and what readers count are
      left at zero: add the reader's counts).

    Raises:
      UserError: If nothing is left.
    """
    counts = {}
    log = interactions
    refuse_fn = (lambda kept, cause: kept) if may_be_empty else _refuse_empty
    if config.minimum_value is not None:
        kept = threshold_values(log, config.minimum_value)
        counts["below_threshold"] = log.num_interactions - kept.num_interactions
        log = refuse_fn(kept, f"--minimum_value={config.minimum_value:g}")
    least = config.min_interactions_per_user
    if least > 1:
        kept = drop_short_users(log, least)
        counts["short_users"] = _count_users(log) - _count_users(kept)
        counts["short_user_rows"] = log.num_interactions - kept.num_interactions
        log = refuse_fn(kept, f"a split that needs {least} interactions of each user")
    if config.k_core_user > 1 or config.k_core_item > 1:
        # The core may shorten users again, so it takes over the demand on their length.
        kept = filter_k_core(log, max(config.k_core_user, least), config.k_core_item)
        counts["k_core"] = log.num_interactions - kept.num_interactions
        log = refuse_fn(
            kept,
            f"--k_core, with {config.k_core_user} interactions a user and {config.k_core_item} an "
            "item,",
        )
    if config.max_interactions_per_user is not None:
        kept = cap_contributions(log, config.max_interactions_per_user)
        counts["capped"] = log.num_interactions - kept.num_interactions
        log = kept
    return interactions_lib.drop_unused_ids(log, keeps_users, keeps_items), DataCounts(**counts)


def threshold_values(interactions: Interactions, minimum: float) -> Interactions:
    """Turns ratings into implicit feedback: keeps rows with a value of at least `minimum`.

    Raises:
      UserError: If the log has no values.
    """
    if interactions.value is None:
        raise errors.UserError(
            "--minimum_value needs data with values, these have none: name their --value_column, "
            "or drop it"
        )
    return interactions_lib.select_interactions(interactions, interactions.value >= minimum)


def drop_short_users(interactions: Interactions, minimum: int = 3) -> Interactions:
    """Drops the rows of users with fewer than `minimum` interactions, as they are now."""
    is_long = interactions.lengths >= minimum
    return interactions_lib.select_interactions(interactions, is_long[interactions.user_index])


def filter_k_core(interactions: Interactions, k_user: int, k_item: int) -> Interactions:
    """Takes the largest log in which every user and every item has enough interactions.

    Args:
      interactions: The log.
      k_user: The least number of interactions of a user.
      k_item: The least number of interactions of an item.

    Returns:
      The log after users and items with too few are dropped, again and again until all have
      enough. It may be empty.
    """
    rows = np.arange(interactions.num_interactions)
    while True:
        user_index, item_index = interactions.user_index[rows], interactions.item_index[rows]
        enough = (np.bincount(user_index, minlength=interactions.num_users) >= k_user)[user_index]
        enough &= (np.bincount(item_index, minlength=interactions.num_items) >= k_item)[item_index]
        if enough.all():
            return interactions_lib.select_interactions(interactions, rows)
        rows = rows[enough]


def cap_contributions(interactions: Interactions, latest: int) -> Interactions:
    """Keeps each user's newest `latest` interactions, which bounds what one user contributes."""
    ends = np.cumsum(interactions.lengths)
    age = ends[interactions.user_index] - np.arange(interactions.num_interactions)
    return interactions_lib.select_interactions(interactions, age <= latest)


def _count_users(interactions: Interactions) -> int:
    """How many users have a row."""
    return np.count_nonzero(interactions.lengths)


def _refuse_empty(interactions: Interactions, cause: str) -> Interactions:
    if not interactions.num_interactions:
        raise errors.UserError(f"{cause} leaves no interactions: demand less of the data")
    return interactions
