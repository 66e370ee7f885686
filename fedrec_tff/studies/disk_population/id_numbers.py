"""Numbers for raw ids, and the first of what is said of them, while rows stream by."""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from fedrec_tff.datasets import interactions


class IdNumbers:
    """Numbers ids in the order in which they first come: memory is linear in ids, not in rows."""

    def __init__(self, what: str) -> None:
        """Begins with none.

        Args:
          what: What the ids are of, for errors.
        """
        self._what = what
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, raw: np.ndarray | Collection[str]) -> np.ndarray:
        """Returns the number of each raw id, int32 [n]; new ids get the next ones."""
        raw = np.asarray(raw)
        codes, unique = pd.factorize(raw if raw.dtype.kind in "iu" else raw.astype(object))
        found = self._numbers
        numbers = [found.setdefault(str(raw_id), len(found)) for raw_id in unique.tolist()]
        interactions.check_index_range(len(found), self._what)
        return np.array(numbers, np.int32)[codes]

    def list_from(self, start: int = 0) -> np.ndarray:
        """Returns the ids from a number on, in the order of numbers: object (str)."""
        ids = np.empty(len(self._numbers), object)
        ids[:] = list(self._numbers)
        return ids[start:]


class FirstValues:
    """The first value of each id that is not empty, for columns that say something of ids."""

    def __init__(self, columns: Iterable[str]) -> None:
        """Begins with none.

        Args:
          columns: The names of the columns.
        """
        self._known: dict[str, dict[str, str]] = {column: {} for column in columns}

    def add(self, ids: pd.Series, frame: pd.DataFrame) -> None:
        """Takes what rows say.

        Args:
          ids: The id of each row.
          frame: The rows, with every column.
        """
        for column, known in self._known.items():
            said = frame[column] != ""
            values = pd.Series(frame.loc[said, column].to_numpy(), ids[said].map(str))
            first = values[~values.index.duplicated()]
            for raw_id, value in first.items():
                known.setdefault(raw_id, value)

    def to_frame(self, ids: Collection[str]) -> pd.DataFrame | None:
        """Returns a row for each of the ids, empty text where nothing is known; None without any.

        Args:
          ids: The raw ids.
        """
        if not self._known:
            return None
        return pd.DataFrame(
            {
                column: [known.get(raw_id, "") for raw_id in ids]
                for column, known in self._known.items()
            },
            index=list(ids),
            dtype=object,
        )

    def to_table(self) -> pd.DataFrame:
        """Returns all that is known, a row for each value."""
        rows = [
            (column, raw_id, value)
            for column, known in self._known.items()
            for raw_id, value in known.items()
        ]
        return pd.DataFrame(rows, columns=["column", "id", "value"], dtype=object)

    def restore(self, table: pd.DataFrame) -> None:
        """Takes what `to_table` returned of what was known before."""
        for column, raw_id, value in table.itertuples(index=False, name=None):
            self._known[column][raw_id] = value
