"""The first pass: rows of a table to files, in which each user's rows lie in one slot.

Raw ids become numbers in the order in which they first come; ids alone stay in memory. A file holds
some rows of one part of the table, a record batch a slot, so a slot is read without the others. A
part of the table that was read to its end is noted with its files' digests: a pass that was cut
short goes on with the next part.
"""

# Tested in tests/studies/disk_population/test_job.py.

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import feather

from fedrec_tff.datasets import compression, parquet_tables, tables
from fedrec_tff.datasets.cells import ParsedColumns
from fedrec_tff.datasets.prepared import arrow_tables
from fedrec_tff.datasets.prepared import folder as prepared_folder
from fedrec_tff.run.folder import whole_files
from fedrec_tff.studies.disk_population.clock import Clock
from fedrec_tff.studies.disk_population.id_numbers import FirstValues, IdNumbers

NUM_SLOTS = 256


@dataclasses.dataclass
class Ids:
    """The ids that were met, and what rows say of them.

    Attributes:
      users: Numbers of the users' ids.
      items: Numbers of the items' ids.
      user_values: What rows say of their users.
      item_values: What rows say of their items.
    """

    users: IdNumbers
    items: IdNumbers
    user_values: FirstValues
    item_values: FirstValues

    def named(self) -> tuple[tuple[str, IdNumbers | FirstValues], ...]:
        """Each with a name for its file."""
        return tuple((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True)
class PartFacts:
    """What became of one part of the table.

    Attributes:
      rows_read: Its rows, malformed ones included.
      malformed: How many of them were skipped.
      slot_rows: How many rows each slot got.
      digests: A SHA-256 of each file, by its name.
    """

    rows_read: int
    malformed: int
    slot_rows: list[int]
    digests: dict[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class SlotRows:
    """Rows of some slots, in the order of the table.

    Attributes:
      user: int32 [n], numbers of users' ids.
      item: int32 [n], numbers of items' ids.
      time: int64 [n], whole times or, without times, the row's place in the table.
      billionths: int32 [n], what times have beyond; None where nothing has.
      value: float32 [n]; None where the table has none.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    billionths: np.ndarray | None
    value: np.ndarray | None


class RowFiles:
    """The files of the first pass, in one folder."""

    def __init__(
        self,
        folder: pathlib.Path,
        columns: tables.TableColumns,
        layout: tables.TableLayout,
        max_malformed_fraction: float,
        roster: tuple[str, ...],
    ) -> None:
        """Begins, or goes on with what is in the folder.

        Args:
          folder: The folder, which exists.
          columns: Which columns hold what.
          layout: The layout of the table's files.
          max_malformed_fraction: As `tables.read` takes it.
          roster: The raw ids of listed users, who get the first numbers.
        """
        self._folder, self._columns, self._layout = folder, columns, layout
        self._max_malformed_fraction = max_malformed_fraction
        self.ids = Ids(
            IdNumbers("users"),
            IdNumbers("items"),
            FirstValues(columns.user_features),
            FirstValues(columns.item_features),
        )
        self.ids.users.number(roster)
        self.parts: list[PartFacts] = []

    @property
    def num_rows(self) -> int:
        """The rows that were understood so far."""
        return sum(sum(part.slot_rows) for part in self.parts)

    def read(
        self, paths: list[pathlib.Path], say_fn: Callable[[str], None], needs_rows: bool = True
    ) -> None:
        """Reads the parts of the table that were not read yet.

        Args:
          paths: The table's files, in order.
          say_fn: Takes lines of progress.
          needs_rows: Whether rows are still needed, and not just what is known of them.

        Raises:
          UserError: If a file is missing or malformed.
        """
        while len(self.parts) < len(paths) and self._restore_part(len(self.parts), needs_rows):
            pass
        if self.parts:
            say_fn(f"reading: {len(self.parts)} of {len(paths)} files were read before")
        for number in range(len(self.parts), len(paths)):
            self._read_part(number, paths, say_fn)

    def drop_rows(self) -> None:
        """Removes the rows from the disk; what is known of them stays."""
        for part in self.parts:
            for name in _find_row_files(part):
                (self._folder / name).unlink(missing_ok=True)

    def read_slots(self, slots: range) -> SlotRows:
        """Reads the rows of some slots.

        Args:
          slots: The slots.

        Returns:
          Their rows.
        """
        batches = []
        for part in self.parts:
            for name in _find_row_files(part):
                reader = pa.ipc.open_file(pa.memory_map(str(self._folder / name)))
                batches += [reader.get_batch(slot) for slot in slots]
        columns = {
            name: np.concatenate([batch[name].to_numpy() for batch in batches])
            for name in batches[0].schema.names
        }
        return SlotRows(**{name: columns.get(name) for name in SlotRows.__dataclass_fields__})

    def _read_part(
        self, number: int, paths: list[pathlib.Path], say_fn: Callable[[str], None]
    ) -> None:
        for leftover in self._folder.glob(f"{number:05d}*"):
            leftover.unlink()
        path = paths[number]
        phase = f"reading file {number + 1} of {len(paths)}"
        clock = Clock(say_fn, phase, "rows")
        counted = _BytesRead(path)
        num_users, num_items = len(self.ids.users), len(self.ids.items)
        slot_rows = np.zeros(NUM_SLOTS, np.int64)
        digests: dict[str, str] = {}
        rows_read = malformed = 0
        batches = tables.read_batches(
            path,
            self._columns.kinds(),
            self._layout,
            self._max_malformed_fraction,
            counted.add,
        )
        rows_before = self.num_rows
        for batch in batches:
            rows_read += batch.rows_read
            malformed += batch.malformed
            if len(batch.frame):
                name = f"{number:05d}-{len(digests):06d}.arrow"
                rows = rows_before + int(slot_rows.sum())
                counts, digests[name] = self._write_batch(self._folder / name, batch, rows)
                slot_rows += counts
            clock.tell(rows_read, counted.guess_rows(rows_read))
        for name, known in self.ids.named():
            file = f"{number:05d}-{name}.feather"
            if isinstance(known, IdNumbers):
                start = num_users if name == "users" else num_items
                table = pd.DataFrame({"id": known.list_from(start)}, dtype=object)
            else:
                table = known.to_table()
            content = _serialise_frame(table)
            digests[file] = _write(self._folder / file, content)
        facts = PartFacts(rows_read, malformed, slot_rows.tolist(), digests)
        self._write_facts(number, facts)
        self.parts.append(facts)

    def _write_batch(
        self, path: pathlib.Path, batch: ParsedColumns, rows_before: int
    ) -> tuple[np.ndarray, str]:
        """Writes rows by slot; returns how many each slot got, and the file's digest."""
        columns, frame = self._columns, batch.frame
        user = self.ids.users.number(frame[columns.user].to_numpy())
        item = self.ids.items.number(frame[columns.item].to_numpy())
        self.ids.user_values.add(frame[columns.user], frame)
        self.ids.item_values.add(frame[columns.item], frame)
        arrays: dict[str, np.ndarray] = {"user": user, "item": item}
        if columns.time is None:
            arrays["time"] = np.arange(rows_before, rows_before + len(frame), dtype=np.int64)
        else:
            nothing = np.zeros(len(frame), np.int32)
            arrays["time"] = frame[columns.time].to_numpy(np.int64)
            arrays["billionths"] = batch.billionths.get(columns.time, nothing)
        if columns.value is not None:
            arrays["value"] = frame[columns.value].to_numpy(np.float32)
        slot = user % NUM_SLOTS
        order = np.argsort(slot, kind="stable")
        counts = np.bincount(slot, minlength=NUM_SLOTS)
        ends = np.cumsum(counts)
        whole = pa.RecordBatch.from_pydict({name: a[order] for name, a in arrays.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, whole.schema) as writer:
            for end, count in zip(ends.tolist(), counts.tolist(), strict=True):
                writer.write_batch(whole.slice(end - count, count))
        return counts, _write(path, sink.getvalue())

    def _write_facts(self, number: int, facts: PartFacts) -> None:
        path = self._folder / f"{number:05d}.json"
        whole_files.write_json(path, dataclasses.asdict(facts))

    def _restore_part(self, number: int, needs_rows: bool) -> bool:
        """Takes what is known of a part that was read before; False if it wasn't, or is damaged."""
        path = self._folder / f"{number:05d}.json"
        if not path.exists():
            return False
        facts = PartFacts(**json.loads(path.read_text()))
        dropped = set() if needs_rows else set(_find_row_files(facts))
        for name in facts.digests.keys() - dropped:
            if prepared_folder.digest_file(self._folder / name) != facts.digests[name]:
                return False
        for name, known in self.ids.named():
            table = feather.read_table(self._folder / f"{number:05d}-{name}.feather").to_pandas()
            if isinstance(known, IdNumbers):
                known.number(table["id"].to_numpy())
            else:
                known.restore(table)
        self.parts.append(facts)
        return True


class _BytesRead:
    """Guesses a file's rows by how many bytes the first ones took, where the file tells sizes."""

    def __init__(self, path: pathlib.Path) -> None:
        self._bytes = 0
        self._size = None if compression.is_compressed(path) else path.stat().st_size
        self._rows = None
        if compression.find_suffix(path) in tables.PARQUET_SUFFIXES and self._size is not None:
            self._rows = parquet_tables.count_rows(path)

    def add(self, num_bytes: int) -> None:
        self._bytes += num_bytes

    def guess_rows(self, rows_read: int) -> float | None:
        if self._rows is not None:
            return self._rows
        if self._size is None or not self._bytes:
            return None
        return rows_read * self._size / self._bytes


def _find_row_files(part: PartFacts) -> Iterator[str]:
    return (name for name in part.digests if name.endswith(".arrow"))


def _serialise_frame(table: pd.DataFrame) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    feather.write_feather(pa.Table.from_pandas(table, preserve_index=False), sink)
    return sink.getvalue()


def _write(path: pathlib.Path, content: Any) -> str:
    """Writes a file; returns its digest."""
    with arrow_tables.open_private(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()
