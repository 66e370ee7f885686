"""Finds items by what somebody has typed of a title, or by id.

Upper case, accents and the order of words don't matter: "story toy" finds Toy Story, and "amelie"
Amélie. The nearest come first: the id itself, the title itself, titles that begin with the text,
then those of which a word begins with it, and among equals the order of the catalogue.
"""

import unicodedata
from collections.abc import Sequence

_IS_ID, _IS_TITLE, _BEGINS, _BEGINS_A_WORD, _CONTAINS = range(5)


class ItemSearch:
    """A catalogue that is searched while somebody types."""

    def __init__(self, ids: Sequence[str], titles: Sequence[str]) -> None:
        """Prepares the search.

        Args:
          ids: Raw ids.
          titles: What the items are called; their ids where they have no titles.
        """
        self._ids = [_fold(raw_id) for raw_id in ids]
        self._titles = [_fold(title) for title in titles]

    def find(self, text: str, limit: int) -> tuple[list[int], int]:
        """Finds items whose title has all words of a text, or whose id begins with it.

        Args:
          text: What was typed.
          limit: Number of items to return, at most.

        Returns:
          Indices, nearest first, and how many items were found in all.
        """
        typed = " ".join(_fold(text).split())
        if not typed:
            return [], 0
        # The longest word leaves the fewest to look at again.
        first, *others = sorted(typed.split(), key=len, reverse=True)
        titles = self._titles
        found = {index for index, title in enumerate(titles) if first in title}
        for word in others:
            found = {index for index in found if word in titles[index]}
        found.update(index for index, key in enumerate(self._ids) if key.startswith(typed))
        ranked = sorted((self._rank(index, typed), index) for index in found)
        return [index for _, index in ranked[:limit]], len(ranked)

    def _rank(self, index: int, typed: str) -> int:
        title = self._titles[index]
        if self._ids[index] == typed:
            return _IS_ID
        if title == typed:
            return _IS_TITLE
        if title.startswith(typed):
            return _BEGINS
        return _BEGINS_A_WORD if f" {typed}" in title else _CONTAINS


def _fold(text: str) -> str:
    """A text without upper case and accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in apart if not unicodedata.combining(char))
