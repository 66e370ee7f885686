"""Made-up titles for synthetic items, all different and easy to read aloud."""

from __future__ import annotations

from collections.abc import Sequence

_GENRES = (
    "Drama Comedy Thriller Romance Adventure Mystery Fantasy Documentary Western Animation "
    "Musical History Horror Crime Sport Travel"
)
_ADJECTIVES = (
    "Quiet Crimson Hidden Broken Golden Distant Silent Burning Frozen Gentle Hollow Iron "
    "Lonely Midnight Narrow Open Painted Restless Scarlet Tender Velvet Wandering Winter "
    "Yellow Amber Borrowed Clever Daring Electric Forgotten Glass Honest Invisible Jade Kind "
    "Last Marble Northern Ordinary Patient"
)
_NOUNS = (
    "Harbour Lantern Orchard River Letters Garden Mirror Station Island Compass Meadow Bridge "
    "Tower Shadow Promise Voyage Canyon Theatre Kitchen Library Summer Engine Circus Forest "
    "Anchor Bakery Castle Desert Echo Falcon Glacier Horizon Inn Journey Kingdom Lighthouse "
    "Market Nightingale Ocean Parade"
)
_PAIR_STEP = 7  # has no divisor in common with the number of adjective-noun pairs


def name_genres(num_genres: int) -> list[str]:
    """Returns different names for that many genres."""
    words = _GENRES.split()
    return [
        words[index % len(words)] + (f" {index // len(words) + 1}" if index >= len(words) else "")
        for index in range(num_genres)
    ]


def invent_titles(series: Sequence[int], part: Sequence[int], genre: Sequence[str]) -> list[str]:
    """Invents titles such as "Quiet Harbour 2 (Drama)".

    Args:
      series: The number of each item's series.
      part: Each item's place in its series, from 0. No two items have the same series and part.
      genre: The name of each item's genre.

    Returns:
      A title per item, no two the same. Once the pairs of words are used up, they come again with
      higher numbers.
    """
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    num_pairs = len(adjectives) * len(nouns)
    parts_per_edition = max(part) + 1
    titles = []
    for series_number, part_number, genre_name in zip(series, part, genre, strict=True):
        edition, pair = divmod(series_number, num_pairs)
        noun, adjective = divmod(pair * _PAIR_STEP % num_pairs, len(adjectives))
        number = edition * parts_per_edition + part_number + 1
        suffix = f" {number}" if number > 1 else ""
        titles.append(f"{adjectives[adjective]} {nouns[noun]}{suffix} ({genre_name})")
    return titles
