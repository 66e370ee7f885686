"""Any table of interactions by its column names: delimited text, Parquet or JSON lines.

It may be compressed, and in parts. A part is read as a table of its own, and rows come in the order
of the parts.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from fedrec_tff import errors
from fedrec_tff.datasets import (
    compression,
    delimited,
    json_lines,
    parquet_tables,
    parts,
    text_pieces,
)
from fedrec_tff.datasets import interactions as interactions_lib
from fedrec_tff.datasets.cells import ParsedColumns
from fedrec_tff.datasets.delimited import TextFormat
from fedrec_tff.datasets.interactions import Interactions
from fedrec_tff.datasets.preparation import DataCounts

# RecBole's atomic files: interactions, items, users.
ATOMIC_SUFFIXES = (".inter", ".item", ".user")
_DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_DELIMITER_OF_SUFFIX |= dict.fromkeys(ATOMIC_SUFFIXES, "\t")
_DELIMITERS = ("::", "\t", ",", ";", "|", " ")  # in the order in which a first line is searched
# How a shell can write what it has trouble with.
_DELIMITER_OF_NAME = {"tab": "\t", "\\t": "\t", "space": " "}
_OF_SPREADSHEETS = ";"  # of `.csv` where the comma is for decimals
PARQUET_SUFFIXES = (".parquet", ".pq")
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclasses.dataclass(frozen=True)
class TableColumns:
    """Which columns of a table hold what.

    Attributes:
      user: The column of raw user ids.
      item: The column of raw item ids.
      time: The column of times, each kept to the nanosecond: whole numbers as they are, in any one
        unit; fractions, of seconds; or dates. None where the order of the rows is the order in
        time.
      value: The column of values, for example ratings; None where there is none.
      user_features: Columns that say in each row what is known of its user.
      item_features: Columns that say the same of its item.
    """

    user: str = "user"
    item: str = "item"
    time: str | None = None
    value: str | None = None
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()

    def kinds(self) -> dict[str, str]:
        """Returns the kind of each column that is named, as `delimited.read_columns` takes it."""
        named = [
            (self.user, "id"), (self.item, "id"), (self.time, "time"), (self.value, "number")
        ]  # fmt: skip
        kinds = {name: kind for name, kind in named if name is not None}
        if len(kinds) < sum(name is not None for name, _ in named):
            raise errors.UserError(
                f"user, item, time and value must be different columns, not {self}"
            )
        features = dict.fromkeys((*self.user_features, *self.item_features), "text")
        for name in features.keys() & kinds.keys():
            raise errors.UserError(
                f"the column {name!r} tells the user, item, time or value already, so it can be no "
                "feature: leave it out"
            )
        return kinds | features


@dataclasses.dataclass(frozen=True)
class TableLayout:
    """How the files of a table are laid out, as far as they don't tell it themselves.

    Attributes:
      column_names: Names for the columns of text without a header, one for each; empty for text
        whose first line is the header.
      delimiter: The character between two fields of text, or "::", "tab" or "space"; None to go by
        the suffix (`.csv`, `.tsv`), or else by the first line.
      encoding: The encoding of text.
      time_format: As `times.parse` takes it.
      quoting: Whether fields of text may stand in double quotes.
      isolates_rows: Whether no row may decide how others are read: the first of a file without a
        header doesn't tell the delimiter, and no value spans lines.
    """

    column_names: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str = "utf-8"
    time_format: str | None = None
    quoting: bool = True
    isolates_rows: bool = False


def read(
    place: str | pathlib.Path,
    columns: TableColumns,
    layout: TableLayout = TableLayout(),
    max_malformed_fraction: float = 0.0,
    user_features: pd.DataFrame | None = None,
    item_features: pd.DataFrame | None = None,
) -> tuple[Interactions, DataCounts]:
    """Reads a table with one interaction per row.

    Args:
      place: A file, a folder of files or a pattern, as `parts.find` takes it. By the suffix,
        beneath that of a compression, `.parquet` and `.pq` are Parquet, `.json`, `.jsonl` and
        `.ndjson` JSON lines, all others delimited text.
      columns: Which columns hold what.
      layout: The layout of the files.
      max_malformed_fraction: The fraction of a file's rows that may be malformed and skipped.
      user_features: A row of what is known per user, indexed by raw id; None for nothing, or for
        what the columns of user features say, each in the user's first row that says something.
      item_features: A row of what is known per item, likewise.

    Returns:
      The log, and what was dropped.

    Raises:
      UserError: If the file or a column is missing, or a row is malformed.
    """
    kinds = columns.kinds()
    parsed = _join(
        [_read_columns(path, kinds, layout, max_malformed_fraction) for path in parts.find(place)],
        place,
    )
    frame = parsed.frame
    if columns.user_features:
        user_features = _find_first(frame, columns.user, columns.user_features)
    if columns.item_features:
        item_features = _find_first(frame, columns.item, columns.item_features)
    log = interactions_lib.create_interactions(
        frame[columns.user].to_numpy(),
        frame[columns.item].to_numpy(),
        None if columns.time is None else frame[columns.time].to_numpy(),
        None if columns.value is None else frame[columns.value].to_numpy(),
        user_features,
        item_features,
        parsed.billionths.get(columns.time),
    )
    return log, DataCounts(
        rows_read=parsed.rows_read,
        malformed=parsed.malformed,
        duplicates=len(frame) - log.num_interactions,
    )


def read_ids(path: str | pathlib.Path, column: str) -> list[str]:
    """Reads one column of raw ids of a table whose columns have names.

    Args:
      path: As `read` takes it.
      column: The column's name.

    Returns:
      The id of each row, written as `read` would.

    Raises:
      UserError: If the file or the column is missing, or an id is.
    """
    parsed = _read_columns(pathlib.Path(path), {column: "id"}, TableLayout())
    return [str(raw_id) for raw_id in _join([parsed], path).frame[column]]


def read_names(path: pathlib.Path, layout: TableLayout = TableLayout()) -> list[str]:
    """Returns the names of a file's columns, or of the keys of its first object.

    Raises:
      UserError: If the file is missing or unreadable.
    """
    suffix = compression.find_suffix(path)
    if suffix in PARQUET_SUFFIXES:
        return parquet_tables.read_names(path)
    if suffix in JSON_SUFFIXES:
        return json_lines.read_names(path, layout.encoding)
    return list(layout.column_names) or delimited.read_names(path, find_text_format(path, layout))


def find_text_format(path: pathlib.Path, layout: TableLayout = TableLayout()) -> TextFormat:
    """Finds out how a text file is laid out.

    Args:
      path: The file.
      layout: The facts about it that are known.

    Returns:
      Its format.

    Raises:
      UserError: If a row of a file without a header would have to tell the delimiter, and may not.
    """
    delimiter = layout.delimiter
    if delimiter is None:
        delimiter = _guess_delimiter(path, layout)
    return TextFormat(
        _DELIMITER_OF_NAME.get(delimiter, delimiter),
        tuple(layout.column_names),
        layout.encoding,
        quoting=layout.quoting and compression.find_suffix(path) not in ATOMIC_SUFFIXES,
        isolates_rows=layout.isolates_rows,
        time_format=layout.time_format,
    )


def read_batches(
    path: pathlib.Path,
    kinds: dict[str, str],
    layout: TableLayout = TableLayout(),
    max_malformed_fraction: float = 0.0,
    count_fn: Callable[[int], None] = lambda num_bytes: None,
) -> Iterator[ParsedColumns]:
    """Reads columns of one file of a table, some of its rows at a time, as `read` reads them.

    Args:
      path: The file.
      kinds: The kind of each column asked for, as `delimited.read_columns` takes it.
      layout: The layout of the file.
      max_malformed_fraction: The fraction of the file's rows that may be malformed and skipped.
      count_fn: Told how many bytes of text were read each time, unpacked; of Parquet nothing is.

    Returns:
      The columns, batch by batch; a batch may have no rows.

    Raises:
      UserError: As `read`; what is only known at the end is told behind the last batch.
    """
    suffix = _find_suffix(path, layout)
    if suffix in PARQUET_SUFFIXES:
        return parquet_tables.read_batches(path, kinds, max_malformed_fraction, layout.time_format)
    if suffix in JSON_SUFFIXES:
        pieces = text_pieces.read(path, layout.encoding, count_fn=count_fn)
        return json_lines.read_pieces(
            path, pieces, kinds, max_malformed_fraction, layout.time_format
        )
    text_format = find_text_format(path, layout)
    # Cut by the rows that the reader will see.
    spans = text_format.quoting and delimited.spans_lines(text_format, max_malformed_fraction)
    quoted = text_format if spans else None
    pieces = text_pieces.read(path, text_format.encoding, quoted, count_fn=count_fn)
    return delimited.read_pieces(path, pieces, text_format, kinds, max_malformed_fraction)


def _find_suffix(path: pathlib.Path, layout: TableLayout) -> str:
    """What tells a file's kind; refuses a layout that is not for it."""
    delimited.check_is_file(path)
    suffix = compression.find_suffix(path)
    has_names = suffix in (*PARQUET_SUFFIXES, *JSON_SUFFIXES)
    if has_names and (layout.column_names or layout.delimiter):
        kind = "Parquet" if suffix in PARQUET_SUFFIXES else "JSON"
        raise errors.UserError(
            f"{path} is {kind}, which has names: drop --column_names and --delimiter"
        )
    return suffix


def _read_columns(
    path: pathlib.Path,
    kinds: dict[str, str],
    layout: TableLayout,
    max_malformed_fraction: float = 0.0,
) -> ParsedColumns:
    suffix = _find_suffix(path, layout)
    if suffix in PARQUET_SUFFIXES:
        return parquet_tables.read_columns(path, kinds, max_malformed_fraction, layout.time_format)
    if suffix in JSON_SUFFIXES:
        return json_lines.read_columns(
            path, kinds, layout.encoding, max_malformed_fraction, layout.time_format
        )
    text_format = find_text_format(path, layout)
    return delimited.read_columns(
        path, text_format, kinds, max_malformed_fraction, may_be_empty=True
    )


def _join(found: list[ParsedColumns], place: str | pathlib.Path) -> ParsedColumns:
    """Puts the parts of a table one after the other; parts without rows are nothing."""
    full = [part for part in found if len(part.frame)]
    if not full:
        raise errors.UserError(f"{place} has no rows of data")
    frames = [part.frame for part in full]
    for name in frames[0] if len(full) > 1 else ():
        if len({frame[name].dtype for frame in frames}) > 1:
            # Ids that are numbers in one part, and text in another.
            frames = [frame.assign(**{name: frame[name].map(str)}) for frame in frames]
    names = {name for part in full for name in part.billionths}
    billionths = {
        name: np.concatenate(
            [part.billionths.get(name, np.zeros(len(part.frame), np.int32)) for part in full]
        )
        for name in names
    }
    return ParsedColumns(
        pd.concat(frames, ignore_index=True) if len(full) > 1 else frames[0],
        sum(part.rows_read for part in found),
        sum(part.malformed for part in found),
        billionths,
    )


def _find_first(frame: pd.DataFrame, id_column: str, names: tuple[str, ...]) -> pd.DataFrame:
    """The first value of each id that is not empty: text by raw id."""
    known = frame[list(names)].where(frame[list(names)] != "")
    return known.groupby(frame[id_column].map(str), sort=False).first().fillna("")


def _guess_delimiter(path: pathlib.Path, layout: TableLayout) -> str:
    """By the suffix or, where it tells nothing, or nothing right, by the first line."""
    by_suffix = _DELIMITER_OF_SUFFIX.get(compression.find_suffix(path))
    if layout.column_names and by_suffix:
        return by_suffix
    if layout.column_names and layout.isolates_rows:
        raise errors.UserError(
            f"{path}: the first user's row would tell the delimiter of all, which no noise covers: "
            "add --delimiter, name the file .csv (commas) or .tsv (tabs), or give it a header in "
            "place of --column_names"
        )
    first = delimited.read_first_line(path, layout.encoding)
    if by_suffix and (by_suffix in first or _OF_SPREADSHEETS not in first):
        return by_suffix
    return next((delimiter for delimiter in _DELIMITERS if delimiter in first), ",")
