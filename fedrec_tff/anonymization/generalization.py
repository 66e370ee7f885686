"""Hierarchies of generalisation: for each attribute, from fine labels to a single "*".

Full-domain generalisation (Samarati 2001, Sweeney 2002): all users are at the same level of an
attribute, so a label means the same everywhere in the table.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedrec_tff import errors

ANYTHING = "*"
UNKNOWN = "unknown"
DEFAULT_AGE_CUTS = tuple(range(10, 100, 10))  # the oldest are one band: few, and so conspicuous


@dataclasses.dataclass(frozen=True, eq=False)
class Hierarchy:
    """What the users' values of one attribute look like at each level.

    Attributes:
      raw: object (str) [num_users], the values as the data have them.
      levels: Arrays like `raw`, finest first; the last one is "*" for everybody.
    """

    raw: np.ndarray
    levels: tuple[np.ndarray, ...]


def age_cuts(bands: Sequence[int] | None, known_cuts: Sequence[int] | None) -> tuple[int, ...]:
    """Finds the ages at which a new band begins.

    Args:
      bands: Width of a band in years, or the ages at which a new band begins; None for a default.
      known_cuts: Ages at which a new band begins in data that know bands only; None for data with
        ages in years.

    Returns:
      Increasing ages.

    Raises:
      UserError: If the data's own bands would have to be cut.
    """
    if bands is None:
        return tuple(known_cuts or DEFAULT_AGE_CUTS)
    cuts = tuple(range(bands[0], 100, bands[0])) if len(bands) == 1 else tuple(bands)
    if known_cuts is not None and not set(cuts) <= set(known_cuts):
        raise errors.UserError(
            f"--age_bands={','.join(map(str, bands))}: these data know ages in bands only, which "
            f"begin at {','.join(map(str, known_cuts))}; choose from these, or leave it out"
        )
    return cuts


def create_age_hierarchy(raw: np.ndarray, cuts: Sequence[int]) -> Hierarchy:
    """Puts ages into bands; every level joins two bands of the one before.

    Args:
      raw: object (str) [num_users], ages in whole years, or `UNKNOWN`.
      cuts: Ages at which a new band begins, increasing.

    Returns:
      Levels such as "<10", "10-19", ..., "90+"; then "<20", "20-39", ..., "80+"; and so on.

    Raises:
      UserError: If something is no age.
    """
    codes, values = pd.factorize(raw)
    years = np.array([_parse_age(value) for value in values])
    levels = []
    step = 1
    while step - 1 < len(cuts):
        levels.append(_band_labels(years, cuts[step - 1 :: step])[codes])
        step *= 2
    return Hierarchy(raw, (*levels, _everything(raw)))


def create_prefix_hierarchy(raw: np.ndarray, num_characters: int) -> Hierarchy:
    """Shortens codes of places, such as zip codes or geohashes, to fewer and fewer characters.

    Args:
      raw: object (str) [num_users], codes of places.
      num_characters: Number of leading characters that stay at the finest level; may be 0.

    Returns:
      Levels such as "48*", "4*", "*".
    """
    codes, values = pd.factorize(raw)
    levels = []
    for length in range(num_characters, 0, -1):
        labels = [
            value if value in (UNKNOWN, ANYTHING) else f"{value[:length]}{ANYTHING}"
            for value in values
        ]
        levels.append(np.array(labels, object)[codes])
    return Hierarchy(raw, (*levels, _everything(raw)))


def create_category_hierarchy(raw: np.ndarray) -> Hierarchy:
    """Keeps categories as they are, or drops them."""
    return Hierarchy(raw, (raw, _everything(raw)))


def _everything(raw: np.ndarray) -> np.ndarray:
    return np.full(len(raw), ANYTHING, object)


def _parse_age(value: str) -> int:
    """Returns years; -1 for an unknown age."""
    if value == UNKNOWN:
        return -1
    if not (value.isascii() and value.isdigit() and int(value) <= 150):
        raise errors.UserError(
            f"{value!r} is no age in whole years: mend it, or name the column of ages by "
            "--age_column"
        )
    return int(value)


def _band_labels(years: np.ndarray, cuts: Sequence[int]) -> np.ndarray:
    """Returns the label of each age, object (str)."""
    labels = [f"<{cuts[0]}"]
    for low, next_low in itertools.pairwise(cuts):
        labels.append(str(low) if next_low == low + 1 else f"{low}-{next_low - 1}")
    labels += [f"{cuts[-1]}+", UNKNOWN]
    band = np.where(years < 0, len(cuts) + 1, np.searchsorted(cuts, years, side="right"))
    return np.array(labels, object)[band]
