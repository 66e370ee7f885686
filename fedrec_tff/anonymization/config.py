"""What anonymisation does, as plain data: imports nothing heavy, refuses contradictions at once."""

# Tested in tests/anonymization/test_anonymization_pipeline.py.

from __future__ import annotations

import dataclasses

from fedrec_tff import errors

TIME_GRANULARITIES = ("day", "week", "month", "none")
DIVERSITIES = ("distinct", "entropy")
RESPONSE_DOMAINS = ("catalogue", "genre")
DECOY_ITEMS = ("uniform", "popularity")
ITEM_IDS = ("keep", "pseudonym")
TOP_GENRE = "top_genre"
NOT_SENSITIVE = "none"
DEFAULT_K = 5
# Outside of these, a probability of 53 bits is too coarse to hold the promise; and beyond the upper
# one, there is nothing to it.
ITEM_EPSILONS = (0.01, 20.0)


@dataclasses.dataclass(frozen=True)
class AnonymizationConfig:
    """Which steps are taken, and how far. Names are those of the flags.

    Attributes:
      quasi_identifiers: Attributes that someone may know of a user from elsewhere; they are
        generalised, and k-anonymity holds over them. None for all that the data have, but for the
        sensitive one.
      sensitive: The attribute that l-diversity protects: one of the data's, "top_genre" (the genre
        a user took most often), or "none". None for top_genre where items have genres.
      k: Number of users who look alike in all quasi-identifiers, at least. None for 5.
      l: Diversity of the sensitive attribute among users who look alike, at least; 1 demands none.
      diversity: Measure of diversity: "distinct" counts values; "entropy" is exp of their entropy,
        which is stricter.
      generalize_order: The attributes to generalise further, a step for each name, from the start
        again when through; None for whatever costs least certainty.
      max_suppressed_fraction: Largest fraction of users who may be suppressed: attributes are
        generalised until no more must go.
      age_bands: Width of an age band in years, or the ages at which a new band begins; None for 10,
        or the data's own bands.
      age_column: The quasi-identifier that holds ages.
      zip_column: The quasi-identifier that holds codes of places, which are shortened.
      zip_digits: Number of leading characters of a place's code that stay, at most.
      time_granularity: Precision of times, one of `TIME_GRANULARITIES`: they become the start of
        their day, week or month (UTC), or are dropped. None for week, or none where the data have
        no times.
      keep_order: Whether a user's rows stay in order inside one period; else they are shuffled.
      keep_values: Whether values (ratings) are written; None to write them unless `item_epsilon` is
        given.
      item_epsilon: Epsilon of randomised response on each item; None for no randomised response.
      response_domain: Items that responses come from: the whole catalogue, or the item's first
        genre.
      decoys_per_user: Number of decoys that are added to each user's items.
      decoy_fraction: Number of decoys that are added to each user's items, as a fraction of the
        user's rows, rounded up.
      decoy_items: Distribution of decoys: uniform over the catalogue, or as popular as the items in
        the data.
      item_ids: Whether item ids are kept or become pseudonyms too.
      key_epoch: A name for the period in which pseudonyms stay the same.
    """

    quasi_identifiers: tuple[str, ...] | None = None
    sensitive: str | None = None
    k: int | None = None
    l: int = 1  # noqa: E741
    diversity: str = "distinct"
    generalize_order: tuple[str, ...] | None = None
    max_suppressed_fraction: float = 0.05
    age_bands: tuple[int, ...] | None = None
    age_column: str = "age"
    zip_column: str = "zip_code"
    zip_digits: int = 2
    time_granularity: str | None = None
    keep_order: bool = False
    keep_values: bool | None = None
    item_epsilon: float | None = None
    response_domain: str = "catalogue"
    decoys_per_user: int = 0
    decoy_fraction: float = 0.0
    decoy_items: str = "uniform"
    item_ids: str = "keep"
    key_epoch: str = "1"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise errors.UserError(f"--{name}={value}: choose one of {', '.join(choices)}")
        for name, least in {"k": 1, "l": 1, "zip_digits": 0, "decoys_per_user": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise errors.UserError(f"--{name}={value}: must be at least {least}")
        for name, most in {"k": _MOST, "zip_digits": 100, "decoys_per_user": 10_000}.items():
            value = getattr(self, name)
            if value is not None and value > most:
                raise errors.UserError(f"--{name}={value}: must be at most {most}")
        for name, most in {"max_suppressed_fraction": 1.0, "decoy_fraction": 100.0}.items():
            if not 0 <= getattr(self, name) <= most:  # NaN fails, too
                raise errors.UserError(f"--{name}={getattr(self, name)}: must be in 0 to {most:g}")
        self._check_age_bands()
        self._check_names()
        self._check_items()

    @property
    def effective_k(self) -> int:
        """The k that holds where there are quasi-identifiers."""
        return DEFAULT_K if self.k is None else self.k

    @property
    def writes_values(self) -> bool:
        """Whether values are written, where the data have any."""
        return self.item_epsilon is None if self.keep_values is None else self.keep_values

    def _check_age_bands(self) -> None:
        bands = self.age_bands
        if bands is not None and not (bands and bands[0] > 0 and list(bands) == sorted(set(bands))):
            raise errors.UserError(
                "--age_bands must be a width in years, or increasing ages at which a new band "
                f"begins, as in 18,25,35, not {','.join(map(str, bands))}"
            )

    def _check_names(self) -> None:
        for name in ("quasi_identifiers", "generalize_order"):
            if any(not part for part in getattr(self, name) or ()):
                raise errors.UserError(f"--{name} has an empty name between its commas")
        chosen = self.quasi_identifiers
        if chosen is not None and len(set(chosen)) < len(chosen):
            raise errors.UserError(f"--quasi_identifiers={','.join(chosen)} names one twice")
        if chosen is not None and self.sensitive in chosen:
            raise errors.UserError(
                f"--sensitive={self.sensitive} is one of --quasi_identifiers: an attribute is "
                "either known to others or to be kept from them; drop it from one"
            )
        if self.l > 1 and self.sensitive == NOT_SENSITIVE:
            raise errors.UserError(f"--l={self.l} needs a --sensitive attribute: name one")
        if self.l > self.effective_k:
            raise errors.UserError(
                f"--l={self.l} is more than --k={self.effective_k}: {self.l} different values take "
                f"as many users; raise --k to {self.l}"
            )
        if not self.key_epoch.strip():
            raise errors.UserError("--key_epoch is empty: name the period, for example 2026Q4")

    def _check_items(self) -> None:
        epsilon = self.item_epsilon
        low, high = ITEM_EPSILONS
        if epsilon is not None and not low <= epsilon <= high:
            raise errors.UserError(f"--item_epsilon={epsilon}: must be in {low:g} to {high:g}")
        if epsilon is None and self.response_domain != "catalogue":
            raise errors.UserError(
                f"--response_domain={self.response_domain} means nothing without --item_epsilon: "
                "drop it, or add that"
            )
        if epsilon is not None and self.keep_values:
            raise errors.UserError(
                "--keep_values voids --item_epsilon: a rating belongs to the true item and is not "
                "randomised; drop one of them"
            )
        if self.decoys_per_user and self.decoy_fraction:
            raise errors.UserError(
                "--decoys_per_user and --decoy_fraction contradict each other: give one of them"
            )
        if self.decoy_items != "uniform" and not (self.decoys_per_user or self.decoy_fraction):
            raise errors.UserError(
                f"--decoy_items={self.decoy_items} means nothing without --decoys_per_user or "
                "--decoy_fraction: drop it, or add one"
            )


_MOST = 2**31 - 1
_CHOICES = {
    "diversity": DIVERSITIES,
    "time_granularity": TIME_GRANULARITIES,
    "response_domain": RESPONSE_DOMAINS,
    "decoy_items": DECOY_ITEMS,
    "item_ids": ITEM_IDS,
}
