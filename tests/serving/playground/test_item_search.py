"""Items by what was typed, against an order worked out by hand."""

import pytest

from fedrec_tff.serving.playground import item_search

_TITLES = [
    "Toy Story (1995)",
    "Godfather, The (1972)",
    "Amélie (2001)",
    "The Story of Us (1999)",
    "Story",
    "History of the World (1981)",
    "STORY of Ö (1975)",
    "12 Monkeys (1995)",
]
_IDS = ["1", "12", "B00X", "4", "story", "6", "120", "8"]


@pytest.fixture(name="search", scope="module")
def _search():
    return item_search.ItemSearch(_IDS, _TITLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The title (its id, too), titles that begin so, words that begin so, then what contains it.
        ("story", [4, 6, 0, 3, 5]),
        ("  STORY  ", [4, 6, 0, 3, 5]),
        ("story toy", [0]),
        ("the godfather", [1]),
        ("amelie", [2]),
        ("AMÉLIE", [2]),
        ("o (1975", [6]),
        # An id before the title that begins with it, then ids that begin with it.
        ("12", [1, 7, 6]),
        ("b00x", [2]),
        ("b0", [2]),
        ("nothing of this", []),
        ("", []),
        ("   ", []),
    ],
)
def test_the_nearest_come_first(search, text, expected):
    assert search.find(text, 20) == (expected, len(expected))


def test_hits_are_bounded_and_counted(search):
    assert search.find("story", 2) == ([4, 6], 5)
