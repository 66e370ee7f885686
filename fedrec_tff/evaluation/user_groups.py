"""Groups of users: by what is known of them, or by how much of something they have."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

import numpy as np

UNKNOWN = "unknown"
# So many different numbers are values by themselves; more are cut into groups.
_MOST_VALUES = 12
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """A partition of users.

    Attributes:
      name: What it goes by.
      labels: Names of the groups, in their order.
      group: int64 [users], the position of each user's group in `labels`.
      pooled: Names of groups that were too small to stand alone.
    """

    name: str
    labels: tuple[str, ...]
    group: np.ndarray
    pooled: tuple[str, ...] = ()

    @property
    def sizes(self) -> np.ndarray:
        """The number of users of each group: int64 [groups]."""
        return np.bincount(self.group, minlength=len(self.labels))

    def members(self, position: int) -> np.ndarray:
        """Returns the users of a group, ascending: int64 [members]."""
        return np.flatnonzero(self.group == position)

    def take(self, users: np.ndarray) -> Grouping:
        """Returns the grouping of some users.

        Args:
          users: Integers [n], in the order wanted, or bool [users].
        """
        return dataclasses.replace(self, group=self.group[users])


def by_text(name: str, values: Sequence[str]) -> Grouping:
    """Groups users by equal values.

    Args:
      name: What the grouping goes by.
      values: Value of each user; an empty one is unknown.

    Returns:
      A group for each value, in the order of the numbers in them, and else of the alphabet; those
      of whom nothing is known last.
    """
    texts = np.array([value.strip() or UNKNOWN for value in values], object)
    labels = sorted(set(texts), key=_order_of)
    index = {label: position for position, label in enumerate(labels)}
    return Grouping(name, tuple(labels), np.array([index[text] for text in texts], np.int64))


def by_column(name: str, values: Sequence[str], num_groups: int) -> Grouping:
    """Groups users by a column of a table: numbers of which there are many by quantiles.

    Args:
      name: Name of the column.
      values: Value of each user, as text; empty where unknown.
      num_groups: Number of quantile groups.

    Returns:
      Groups as `by_text` or `by_quantile` make them.
    """
    texts = [value.strip() for value in values]
    known = {text for text in texts if text}
    if len(known) <= _MOST_VALUES or not all(_is_number(text) for text in known):
        return by_text(name, texts)
    numbers = np.array([float(text) if text else np.nan for text in texts])
    return by_quantile(name, numbers, num_groups)


def by_quantile(
    name: str,
    values: np.ndarray,
    num_groups: int,
    ends: tuple[str, str] | None = None,
    shows_cuts: bool = True,
) -> Grouping:
    """Cuts users into groups of about the same size; who has the same is in the same group.

    Args:
      name: What the grouping goes by.
      values: Number of each user, [users]; NaN where unknown.
      num_groups: Number of groups, at most: where many have the same, there are fewer.
      ends: Words for the lowest and the highest group; None for none.
      shows_cuts: Whether groups are named by where they were cut, and not by their rank.

    Returns:
      Groups from the lowest to the highest; those of whom nothing
      is known last.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return by_text(name, [""] * len(values))
    inner = np.arange(1, num_groups) / num_groups
    # Values of users, so that no cut falls between.
    cuts = np.unique(np.quantile(known, inner, method="lower"))
    cuts = cuts[cuts < known.max()]
    return _cut(name, values, cuts, _name_ranges(cuts, ends, shows_cuts))


def by_bounds(
    name: str,
    values: np.ndarray,
    bounds: Sequence[float],
    ends: tuple[str, str] | None = None,
) -> Grouping:
    """Cuts users into groups at numbers that were given beforehand, which tell nothing of anybody.

    Args:
      name: What the grouping goes by.
      values: Number of each user, [users]; NaN where unknown.
      bounds: Largest values of all groups but the last.
      ends: As in `by_quantile`.

    Returns:
      Groups from the lowest to the highest, empty ones left out.
    """
    cuts = np.unique(np.asarray(bounds, np.float64))
    return _cut(name, values, cuts, _name_ranges(cuts, ends))


def pool_small(grouping: Grouping, minimum: int) -> Grouping:
    """Puts small groups together, so that none is reported that has few users.

    Where all small groups together are still too small, the smallest of the others goes with them:
    a single group that is left out could be told from the rest and from all users.

    Args:
      grouping: The groups.
      minimum: Size below which no group stands alone.

    Returns:
      The groups that are large enough, and one of the others; nothing of users who are too few
      all together.
    """
    grouping = _drop_empty(grouping)
    sizes = grouping.sizes
    is_small = sizes < minimum
    if not is_small.any():
        return grouping
    for position in np.argsort(sizes, kind="stable"):
        if sizes[is_small].sum() >= minimum:
            break
        is_small[position] = True
    kept = np.flatnonzero(~is_small)
    pooled = tuple(label for label, small in zip(grouping.labels, is_small, strict=True) if small)
    position = np.full(len(sizes), len(kept))
    position[kept] = np.arange(len(kept))
    labels = (*(grouping.labels[index] for index in kept), f"others ({len(pooled)} groups)")
    group = position[grouping.group]
    return Grouping(grouping.name, labels, group, (*grouping.pooled, *pooled))


def _drop_empty(grouping: Grouping) -> Grouping:
    used, position = np.unique(grouping.group, return_inverse=True)
    labels = tuple(grouping.labels[index] for index in used)
    return dataclasses.replace(grouping, labels=labels, group=position.astype(np.int64))


def _cut(name: str, values: np.ndarray, cuts: np.ndarray, labels: Sequence[str]) -> Grouping:
    is_known = ~np.isnan(values)
    group = np.where(is_known, np.searchsorted(cuts, values, side="left"), len(cuts) + 1)
    return _drop_empty(Grouping(name, (*labels, UNKNOWN), group))


def _name_ranges(
    cuts: np.ndarray, ends: tuple[str, str] | None, shows_cuts: bool = True
) -> list[str]:
    if not len(cuts):
        return ["all"]
    count = len(cuts) + 1
    labels = [f"{rank} of {count}" for rank in range(1, count + 1)]
    if shows_cuts:
        told = _write_cuts(cuts)
        between = [f"over {low} up to {high}" for low, high in itertools.pairwise(told)]
        labels = [f"up to {told[0]}", *between, f"over {told[-1]}"]
    if ends is not None:
        labels[0] = f"{ends[0]}: {labels[0]}"
        labels[-1] = f"{ends[1]}: {labels[-1]}"
    return labels


def _write_cuts(cuts: np.ndarray) -> list[str]:
    """Numbers with as few digits as tell them apart."""
    for digits in (3, 6, 9, 17):
        told = [f"{cut:,.0f}" if cut.is_integer() else f"{cut:.{digits}g}" for cut in cuts]
        if len(set(told)) == len(told):
            break
    return told


def _order_of(label: str) -> tuple[bool, float, bool, str]:
    """Orders by the first number; of equal ones, words before it come first: under 18, 18-24."""
    number = _NUMBER.search(label)
    value = float(number[0]) if number else float("inf")
    return label == UNKNOWN, value, label[:1].isdigit(), label


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False
