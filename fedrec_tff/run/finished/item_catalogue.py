"""The items of a run by raw id and title, as people name them."""

# Tested in tests/notebook/test_front_door.py.

import dataclasses
import difflib
import functools
import numbers
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedrec_tff import errors

_NUM_SHOWN = 3
# Beyond so many names, only those that contain the text are looked for.
_MOST_COMPARED = 50_000


@dataclasses.dataclass(frozen=True, eq=False)
class ItemCatalogue:
    """The items that a model knows, by their index.

    Attributes:
      ids: object (str) [num_items], raw ids.
      titles: object (str) [num_items]; None where items have none.
      has_integer_ids: Whether the data had numbers for ids, so that recommendations have them too.
      genres: object (str) [num_items], genres joined by `|`; None where they are not known.
    """

    ids: np.ndarray
    titles: np.ndarray | None = None
    has_integer_ids: bool = False
    genres: np.ndarray | None = None

    def find(self, names: Iterable[Any]) -> np.ndarray:
        """The indices of items.

        Args:
          names: Raw ids, text or whole numbers, or titles; an id goes before a title.

        Returns:
          int32 [names].

        Raises:
          UserError: If a name is unknown, or a title that several items have.
        """
        return np.array([self._find(name) for name in names], np.int32)

    def describe(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Columns about items.

        Args:
          index: int32 [n].

        Returns:
          `item`, raw ids, int64 where the data had numbers and else object (str) [n]; and `title`,
          object (str) [n], where there are titles.
        """
        ids = self.ids[index]
        columns = {"item": ids.astype(np.int64) if self.has_integer_ids else ids}
        if self.titles is not None:
            columns["title"] = self.titles[index]
        return columns

    def _find(self, name: Any) -> int:
        text = _write(name)
        if text in self._index_of_id:
            return self._index_of_id[text]
        found = self._indices_of_title.get(text, [])
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(map(str, self.ids[found[: _NUM_SHOWN + 1]]))
            raise errors.UserError(
                f"history: {len(found)} items are called {text!r}: name one by its id ({ids})"
            )
        close = self._find_similar(text)
        hint = f"ids are like {self.ids[0]!r}"
        if close:
            hint = f"did you mean {' or '.join(map(repr, close))}?"
        raise errors.UserError(f"history: the model knows no item {text!r}: {hint}")

    def _find_similar(self, text: str) -> list[str]:
        """Titles that contain a text, or else names that are written nearly like it."""
        folded = text.casefold()
        similar = [title for title in self._indices_of_title if folded in title.casefold()]
        names = [*self._indices_of_title, *self._index_of_id]
        if not similar and len(names) <= _MOST_COMPARED:
            similar = difflib.get_close_matches(text, names, _NUM_SHOWN)
        return similar[:_NUM_SHOWN]

    @functools.cached_property
    def _index_of_id(self) -> dict[str, int]:
        return {raw_id: index for index, raw_id in enumerate(self.ids)}

    @functools.cached_property
    def _indices_of_title(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, title in enumerate(() if self.titles is None else self.titles):
            found.setdefault(title, []).append(index)
        return found


def read(path: pathlib.Path, has_integer_ids: bool = False) -> ItemCatalogue:
    """Reads what a run has written about its items.

    Args:
      path: `ids/item_ids.csv` of the run.
      has_integer_ids: Whether the data had numbers for ids, as in `ItemCatalogue`.

    Returns:
      The items.

    Raises:
      UserError: If it cannot be read.
    """
    try:
        # No text is taken for a missing one: NA is an id as any other. Nor does a title's carriage
        # return end a line, of which pandas would make a million.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator="\n")
        titles, genres = (
            table[name].to_numpy(object) if name in table else None for name in ("title", "genres")
        )
        return ItemCatalogue(table["id"].to_numpy(object), titles, has_integer_ids, genres)
    except (OSError, ValueError, KeyError) as error:
        raise errors.UserError(
            f"{path}, which tells items apart, cannot be read: restore it"
        ) from error


def split_histories(history: Any) -> tuple[Sequence[Any], list[list[Any]]] | None:
    """Tells one history from several.

    Args:
      history: Items, oldest first; or several such histories, in a list or by name in a mapping.

    Returns:
      The histories' names, which are their numbers in a list, and the histories; None for what is
      one history.
    """
    if isinstance(history, dict):
        return list(history), [_to_list(part) for part in history.values()]
    histories = _to_list(history)
    if histories and all(_is_collection(part) for part in histories):
        return range(len(histories)), [_to_list(part) for part in histories]
    return None


def _to_list(history: Any) -> list[Any]:
    if not _is_collection(history):
        raise errors.UserError(
            f"history={history!r}: a list of items is needed, oldest first: raw ids or titles"
        )
    return list(history)


def _is_collection(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes)


def _write(name: Any) -> str:
    """A raw id as files have it: whole numbers are often stored as fractions."""
    if isinstance(name, numbers.Real) and not isinstance(name, numbers.Integral):
        return str(int(name)) if float(name).is_integer() else str(name)
    return str(name).strip()
