"""Synthetic users with taste and drifting interests, for demonstrations and quick tests.

A catalogue of genres, each with a popularity law of its own, in which items form series. A user
has a taste, so a distribution over genres, that moves from one distribution to another along the
sequence. A step goes on with the series of the last item, or else stays in the current genre, or
else draws a genre from the user's taste; inside a genre, popular items are drawn more often. No
user has an item twice. Head items are truly popular, so popularity is a fair opponent; but recent
history says much more.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets import titles
from fedrec_tff.datasets.interactions import Interactions

AGE_GROUPS = ("under 18", "18-24", "25-34", "35-44", "45-54", "55 and over")
_AGE_WEIGHTS = (0.06, 0.2, 0.3, 0.2, 0.14, 0.1)
_SECONDS_PER_DAY = 86_400
_FIRST_DAY = 1_577_836_800  # the first of January 2020, UTC
_LAST_START_DAYS = 730
_CELLS_PER_BLOCK = 2**26  # of the users x items table of what was seen
_ATTEMPTS = 6


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """What the synthetic users are like.

    Attributes:
      num_users: How many users.
      num_items: How many items; some may never be chosen.
      num_genres: How many genres.
      mean_length: The mean number of interactions of a user, near enough.
      min_length: The least number of interactions of a user.
      popularity_exponent: The exponent of the Zipf law inside a genre; 0 makes all items equal.
      taste_concentration: Small: a user likes few genres. Large: everyone likes what all like.
      drift: How far taste moves along a sequence, in [0, 1].
      series_length: How many items a series has.
      series_probability: How often the next step goes on with the series.
      genre_persistence: How often a step that does not go on with a series stays in the genre.
      seed: The seed of all that is random.
    """

    num_users: int = 2000
    num_items: int = 400
    num_genres: int = 16
    mean_length: float = 40.0
    min_length: int = 5
    popularity_exponent: float = 0.9
    taste_concentration: float = 3.0
    drift: float = 0.7
    series_length: int = 4
    series_probability: float = 0.35
    genre_persistence: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_users", "num_items", "num_genres", "min_length", "series_length"):
            if getattr(self, name) < 1:
                raise errors.UserError(f"synthetic data: {name} must be at least 1")
        for name in ("drift", "series_probability", "genre_persistence"):
            if not 0 <= getattr(self, name) <= 1:
                raise errors.UserError(f"synthetic data: {name} must be in [0, 1]")
        if self.popularity_exponent < 0 or self.taste_concentration <= 0:
            raise errors.UserError(
                "synthetic data: popularity_exponent must not be negative, and "
                "taste_concentration must be above 0"
            )
        if self.mean_length < self.min_length:
            raise errors.UserError("synthetic data: mean_length must be at least min_length")
        if self.num_items < max(self.num_genres, 2 * self.min_length):
            raise errors.UserError(
                "synthetic data: num_items must be at least num_genres and twice min_length"
            )
        interactions_lib.check_index_range(self.num_users, "users")
        interactions_lib.check_index_range(self.num_items, "items")


@dataclasses.dataclass(frozen=True, eq=False)
class _Catalogue:
    """The items. Items of a genre lie together, the genre's most popular first.

    Attributes:
      genre: int32 [num_items].
      first_item: int64 [num_genres + 1], where each genre begins.
      cumulative: float64 [num_items], genre number plus the cumulative probability inside it.
      weight: float64 [num_items], the probability inside the genre.
      successor: int32 [num_items], the next item of the series, -1 at its end.
      series: int32 [num_items], numbered through the genres.
      part: int32 [num_items], the place in the series, from 0.
      age_taste: float64 [num_age_groups, num_genres], the mean taste of each age group.
    """

    genre: np.ndarray
    first_item: np.ndarray
    cumulative: np.ndarray
    weight: np.ndarray
    successor: np.ndarray
    series: np.ndarray
    part: np.ndarray
    age_taste: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """What one block of users did, in the order of the users."""

    lengths: np.ndarray
    age_group: np.ndarray
    items: np.ndarray
    timestamp: np.ndarray
    value: np.ndarray


def generate_interactions(config: SyntheticConfig) -> Interactions:
    """Draws users and what they did. The same configuration gives the same log.

    Args:
      config: The description of the users.

    Returns:
      The log, with ratings from 1 to 5; item features `title` and `genres`; user feature
      `age_group`. Items that nobody chose are not in it.
    """
    return interactions_lib.drop_unused_ids(generate_with_all_items(config))


def generate_with_all_items(config: SyntheticConfig) -> Interactions:
    """Draws what `generate_interactions` does, and keeps the items that nobody chose."""
    catalogue = _create_catalogue(config)
    block_size = max(1, min(_CELLS_PER_BLOCK // config.num_items, 1 << 16))
    blocks = [
        _generate_block(
            config,
            catalogue,
            min(block_size, config.num_users - start),
            np.random.default_rng([config.seed, 1, start]),
        )
        for start in range(0, config.num_users, block_size)
    ]
    lengths = np.concatenate([block.lengths for block in blocks])
    age_group = np.concatenate([block.age_group for block in blocks])
    # A random permutation decouples an item's index from its genre and popularity.
    shuffle = np.random.default_rng([config.seed, 2]).permutation(config.num_items)
    shuffle = shuffle.astype(np.int32)
    return Interactions(
        user_index=np.repeat(np.arange(config.num_users, dtype=np.int32), lengths),
        item_index=shuffle[np.concatenate([block.items for block in blocks])],
        timestamp=np.concatenate([block.timestamp for block in blocks]),
        value=np.concatenate([block.value for block in blocks]),
        user_ids=_number_ids(config.num_users),
        item_ids=_number_ids(config.num_items),
        user_features=pd.DataFrame({"age_group": np.array(AGE_GROUPS, object)[age_group]}),
        item_features=_describe_items(catalogue).iloc[np.argsort(shuffle)].reset_index(drop=True),
    )


def _create_catalogue(config: SyntheticConfig) -> _Catalogue:
    rng = np.random.default_rng([config.seed, 0])
    num_genres, num_items = config.num_genres, config.num_items
    size_weight = rng.uniform(0.5, 1.5, num_genres)
    spare = rng.multinomial(num_items - num_genres, size_weight / size_weight.sum())
    first_item = np.concatenate([[0], np.cumsum(1 + spare)])
    genre = np.repeat(np.arange(num_genres), 1 + spare)
    size = (1 + spare)[genre]
    rank = np.arange(num_items) - first_item[genre]
    weight = (rank + 1.0) ** -config.popularity_exponent
    total = np.bincount(genre, weight)
    weight /= total[genre]
    through = np.cumsum(weight)
    cumulative = genre + through - np.concatenate([[0], through])[first_item[genre]]
    # Part p of a genre's series s has rank s + p * (number of series): sequels are less popular.
    num_series = -(-size // config.series_length)
    has_successor = rank + num_series < size
    successor = np.where(has_successor, np.arange(num_items) + num_series, -1)
    series_of_genre = np.concatenate([[0], np.cumsum(num_series[first_item[:-1]])])
    # Genres differ in popularity as well, and age groups in their mean taste.
    genre_weight = rng.permutation((1.0 + np.arange(num_genres)) ** -0.7)
    age_taste = genre_weight * rng.gamma(2.0, 0.5, (len(AGE_GROUPS), num_genres))
    return _Catalogue(
        genre=genre.astype(np.int32),
        first_item=first_item,
        cumulative=cumulative,
        weight=weight,
        successor=successor.astype(np.int32),
        series=(series_of_genre[genre] + rank % num_series).astype(np.int32),
        part=(rank // num_series).astype(np.int32),
        age_taste=age_taste / age_taste.sum(axis=1, keepdims=True),
    )


def _generate_block(
    config: SyntheticConfig, catalogue: _Catalogue, num_users: int, rng: np.random.Generator
) -> _Block:
    """Walks a block of users through their sequences, one step of all users at a time."""
    lengths = _draw_lengths(config, num_users, rng)
    by_length = np.argsort(-lengths, kind="stable")  # the users still active are a prefix
    lengths = lengths[by_length]
    age_group = rng.choice(len(AGE_GROUPS), num_users, p=np.array(_AGE_WEIGHTS))
    start_taste = _draw_taste(config, catalogue, age_group, rng)
    end_taste = _draw_taste(config, catalogue, age_group, rng)
    longest = int(lengths[0])
    items = np.full((num_users, longest), -1, np.int32)
    value = np.zeros((num_users, longest), np.float32)
    seen = np.zeros((num_users, config.num_items), bool)
    last_item = np.full(num_users, -1, np.int32)
    for step in range(longest):
        active = int(np.searchsorted(-lengths, -step))  # those with lengths > step
        rows = np.arange(active)
        at_end = rng.random(active) < config.drift * step / lengths[:active]
        taste = np.where(at_end[:, np.newaxis], end_taste[:active], start_taste[:active])
        chosen = _next_items(config, catalogue, taste, last_item[:active], seen, rng)
        seen[rows, chosen] = True
        items[:active, step] = last_item[:active] = chosen
        liking = _probability(taste, rows, catalogue.genre[chosen])
        value[:active, step] = np.clip(
            np.rint(2.2 + 2.4 * np.sqrt(liking) + rng.normal(0.5, 0.8, active)), 1, 5
        )
    timestamp = _draw_times(num_users, longest, rng)
    original = np.argsort(by_length)
    taken = (items >= 0)[original]
    return _Block(
        lengths=lengths[original],
        age_group=age_group[original],
        items=items[original][taken],
        timestamp=timestamp[original][taken],
        value=value[original][taken],
    )


def _draw_lengths(config: SyntheticConfig, num_users: int, rng: np.random.Generator) -> np.ndarray:
    """Draws skewed lengths, int64 [num_users]; nobody sees more than half of the catalogue."""
    spread = 0.8
    factor = rng.lognormal(-(spread**2) / 2, spread, num_users)
    extra = np.rint((config.mean_length - config.min_length) * factor)
    return np.minimum(config.min_length + extra.astype(np.int64), config.num_items // 2)


def _draw_taste(
    config: SyntheticConfig,
    catalogue: _Catalogue,
    age_group: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws cumulative distributions over genres, float32 [num_users, num_genres]."""
    mean = catalogue.age_taste[age_group].astype(np.float32)
    likes = rng.standard_gamma(config.taste_concentration * mean, dtype=np.float32) + 1e-6
    cumulative = np.cumsum(likes, axis=1, dtype=np.float32)
    return cumulative / cumulative[:, -1:]


def _probability(cumulative: np.ndarray, rows: np.ndarray, column: np.ndarray) -> np.ndarray:
    below = np.where(column > 0, cumulative[rows, column - 1], 0.0)
    return np.maximum(cumulative[rows, column] - below, 0.0)


def _next_items(
    config: SyntheticConfig,
    catalogue: _Catalogue,
    taste: np.ndarray,
    last_item: np.ndarray,
    seen: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws the next item of each active user, none that the user has seen, int32 [active]."""
    active = len(last_item)
    rows = np.arange(active)
    has_last = last_item >= 0
    successor = np.where(has_last, catalogue.successor[last_item], -1)
    go_on = (successor >= 0) & (rng.random(active) < config.series_probability)
    go_on &= ~seen[rows, successor]
    stay = has_last & (rng.random(active) < config.genre_persistence)
    drawn = (rng.random((active, 1), dtype=np.float32) >= taste).sum(axis=1)
    drawn = np.minimum(drawn, config.num_genres - 1)
    genre = np.where(stay, catalogue.genre[last_item], drawn)
    chosen = np.where(go_on, successor, -1)
    waiting = np.flatnonzero(~go_on)
    for _ in range(_ATTEMPTS):
        if not waiting.size:
            break
        candidate = _draw_in_genre(catalogue, genre[waiting], rng)
        is_new = ~seen[waiting, candidate]
        chosen[waiting[is_new]] = candidate[is_new]
        waiting = waiting[~is_new]
    if waiting.size:
        chosen[waiting] = _draw_unseen(catalogue, genre[waiting], seen[waiting], rng)
    return chosen.astype(np.int32)


def _draw_in_genre(
    catalogue: _Catalogue, genre: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    position = np.searchsorted(catalogue.cumulative, genre + rng.random(len(genre)), side="right")
    return np.clip(position, catalogue.first_item[genre], catalogue.first_item[genre + 1] - 1)


def _draw_unseen(
    catalogue: _Catalogue, genre: np.ndarray, seen: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws exactly, by Gumbel noise on the log weights; out of the genre only if it is used up."""
    noisy = np.log(catalogue.weight) + rng.gumbel(size=seen.shape)
    noisy -= 1e3 * (catalogue.genre != genre[:, np.newaxis])
    noisy[seen] = -np.inf
    return noisy.argmax(axis=1)


def _draw_times(num_users: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Draws increasing time stamps, int64 [num_users, longest]."""
    start = _FIRST_DAY + rng.integers(_LAST_START_DAYS * _SECONDS_PER_DAY, size=(num_users, 1))
    gaps = 60 + rng.standard_exponential((num_users, longest), dtype=np.float32) * _SECONDS_PER_DAY
    return start + np.cumsum(gaps.astype(np.int64), axis=1)


def _number_ids(count: int) -> np.ndarray:
    return np.arange(1, count + 1).astype(str).astype(object)


def _describe_items(catalogue: _Catalogue) -> pd.DataFrame:
    names = titles.name_genres(len(catalogue.first_item) - 1)
    genres = [names[index] for index in catalogue.genre]
    invented = titles.invent_titles(catalogue.series.tolist(), catalogue.part.tolist(), genres)
    return pd.DataFrame({"title": invented, "genres": genres})
